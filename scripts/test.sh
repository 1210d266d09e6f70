#!/usr/bin/env bash
# Sets up and runs every test (release profile; those of several ranks start mpirun themselves).
# Arguments go to `cargo test`, e.g. `scripts/test.sh --test embed`. With CI set in the
# environment the output is plain.
set -euo pipefail
. "$(dirname "$0")/env.sh"
scripts/setup.sh

if [ -n "${CI:-}" ]; then
    scripts/setup.sh --with-browser
    export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
cargo test --release --locked --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

echo
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
     /^test .* FAILED$/ { names = names "\n  " $2 }
     END { printf "tests: %d passed, %d failed, %d ignored%s\n", passed, failed, ignored, names }' "$log"

# Every bench once, so that none rots.
if [ $# -eq 0 ] && [ $status -eq 0 ]; then
    cargo test --release --locked --bench hvae --bench zernike --bench signature || status=$?
fi

# What needs more than one program: a real Slurm, two hosts, a run that is killed over and over.
if [ $# -eq 0 ] && [ $status -eq 0 ]; then
    scripts/slurm_test.sh || status=$?
    scripts/two_hosts_test.sh || status=$?
    scripts/fault_campaign.sh --minutes 1 --seed 1 || status=$?
fi
exit "$status"
