#!/usr/bin/env bash
# Feeds damaged files to the readers for as long as one likes (tests/fuzz says what is tried):
#
#   scripts/fuzz.sh --minutes 30                  every reader, one after the other
#   scripts/fuzz.sh --minutes 5 --seed 7 pdb sdf  these, with other inputs than by default
#
# Prints a line for each: inputs, findings, largest memory. A finding ends with code 1 and names the
# file, kept in target/tmp/fuzz, that shows it.
set -euo pipefail
. "$(dirname "$0")/env.sh"

minutes=1 seed=$RANDOM readers=()
while [ $# -gt 0 ]; do
    case $1 in
    --minutes) minutes=${2:-} && shift ;;
    --seed) seed=${2:-} && shift ;;
    --*)
        echo "usage: scripts/fuzz.sh [--minutes M] [--seed S] [READER...]" >&2
        exit 2
        ;;
    *) readers+=("$1") ;;
    esac
    shift
done

cargo=${CARGO:-cargo}
mapfile -t known < <("$cargo" test --release --test fuzz -- --list 2>/dev/null |
    sed -n 's/: test$//p' | grep -v -e '^reading$' -e '::')
[ ${#known[@]} -gt 0 ] || "$cargo" test --release --test fuzz --no-run
[ ${#readers[@]} -gt 0 ] || readers=("${known[@]}")
export HOLOSIG_FUZZ_SEED=$seed
HOLOSIG_FUZZ_SECONDS=$(awk -v m="$minutes" -v n=${#readers[@]} 'BEGIN { s = int(60 * m / n); print (s > 0 ? s : 1) }')
export HOLOSIG_FUZZ_SECONDS
echo "seed $seed, $HOLOSIG_FUZZ_SECONDS s each"

status=0
for reader in "${readers[@]}"; do
    if ! printf '%s\n' "${known[@]}" | grep -qx -- "$reader"; then
        echo "scripts/fuzz.sh: no reader $reader; there are ${known[*]}" >&2
        exit 2
    fi
    # That of the test counts, not that of grep.
    codes=(0)
    "$cargo" test --release --test fuzz -- --exact "$reader" --nocapture 2>&1 |
        grep -E " inputs, |^thread|$reader/[0-9]|panicked|died|no end" || codes=("${PIPESTATUS[@]}")
    [ "${codes[0]}" -eq 0 ] || status=1
done
exit $status
