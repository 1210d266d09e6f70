#!/usr/bin/env bash
# Sets up and runs every test (release profile; those of several ranks start mpirun themselves).
# Arguments go to `cargo test`, e.g. `scripts/test.sh --test embed`. With CI set in the
# environment the output is plain. It always ends: every part has a time limit, far above what it
# takes, and what a part leaves behind is killed. The last line holds the totals.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"

passed=0 failed=0 notes=() # notes: what failed, or was not tested

# The last line, alone on its own. A part that is a script counts as one test.
totals() {
    kill_left_behind
    printf '\n'
    [ ${#notes[@]} -eq 0 ] || printf '%s\n' "${notes[@]}"
    printf 'tests: %d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ] || exit 1
    exit 0
}

# Runs a part: name, most seconds, command.
part() {
    local name=$1 status=0
    printf '\n== %s\n' "$name"
    bounded "${@:2}" || status=$?
    kill_left_behind
    case $status in
    0) passed=$((passed + 1)) ;;
    77) notes+=("not tested: $name") ;;
    *)
        failed=$((failed + 1))
        notes+=("failed: $name (exit code $status)")
        ;;
    esac
}

# The tests of cargo, counted one by one.
cargo_tests() {
    local log=$here/cargo.txt status=0 counts
    logged "$log" 14400 cargo test --release --locked --no-fail-fast "$@" || status=$?
    kill_left_behind
    counts=$(awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END { print passed + 0, failed + 0, ignored + 0 }' "$log")
    read -r passed failed ignored <<<"$counts"
    [ "$ignored" -eq 0 ] || notes+=("ignored: $ignored")
    mapfile -t -O ${#notes[@]} notes < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/failed: \1/p' "$log")
    # It did not compile, or a test program died.
    if [ $status -ne 0 ] && [ "$failed" -eq 0 ]; then
        failed=1
        notes+=("failed: cargo test (exit code $status)")
    fi
}

scratch test
if ! scripts/setup.sh; then
    failed=1 notes=("failed: scripts/setup.sh")
    totals
fi
if [ -n "${CI:-}" ]; then
    scripts/setup.sh --with-browser || notes+=("no browser")
    export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never
fi

cargo_tests "$@"
if [ $# -eq 0 ] && [ "$failed" -eq 0 ]; then
    # Every bench once, so that none rots.
    part "benches" 7200 cargo test --release --locked --bench hvae --bench zernike --bench signature
    # What needs more than one program: a real Slurm, two hosts, a run that is killed again and again.
    part "scripts that end" 300 scripts/lib_test.sh
    part "Python package" 1200 scripts/python_test.sh
    # Two builds, each with a limit of its own; where neither tool works it takes a second.
    part "container recipes" 15000 scripts/containers_test.sh
    # Of the program that the tests have built: cargo would build it anew without what they need.
    part "archive" 600 scripts/package_test.sh --program "${CARGO_TARGET_DIR:-target}/release/holosig"
    part "licences" 600 scripts/licence_check.sh
    part "golden hashes" 1200 scripts/golden.sh
    part "Slurm" 1800 scripts/slurm_test.sh
    part "two hosts" 1800 scripts/two_hosts_test.sh
    part "faults" 1800 scripts/fault_campaign.sh --minutes 1 --seed 1
fi
totals
