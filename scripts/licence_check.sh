#!/usr/bin/env bash
# Licences, sources and known faults of all crates (.ci/deny.toml), where cargo deny is installed
# (`cargo install --locked cargo-deny`); without a network all but the known faults.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"
cargo deny --version >/dev/null 2>&1 || not_tested "licences" "cargo deny is missing: cargo install --locked cargo-deny"
deny() { cargo deny "$@"; }
deny --offline --config .ci/deny.toml check licenses bans sources 2>/dev/null ||
    deny --config .ci/deny.toml check licenses bans sources
if ! bounded 300 cargo deny --config .ci/deny.toml fetch db; then
    not_tested "known faults of crates" "the list of advisories cannot be fetched"
fi
deny --config .ci/deny.toml check advisories
