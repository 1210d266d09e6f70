#!/usr/bin/env bash
# The tests of the Python package, in an environment of their own, with files that the program
# writes. Where Python 3.11 or its packages cannot be had, nothing is tested, and it says so.
#
# HOLOSIG_PYTHON names an environment to use instead (one with PyTorch tests its data set too).
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"
scratch python

python=${HOLOSIG_PYTHON:-}
if [ -z "$python" ]; then
    python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        not_tested "the Python package" "python3 of 3.11 or later with venv is needed"
    python3 -m venv "$here/venv"
    python=$here/venv/bin/python
    "$python" -m pip install --quiet --disable-pip-version-check 'scripts/python[test]' \
        >"$here/pip.log" 2>&1 || not_tested "the Python package" "pip: $(tail -n 1 "$here/pip.log")"
    # Building leaves files beside the source.
    rm -rf scripts/python/build scripts/python/*.egg-info
fi

cargo build --release --locked --bin holosig --test features
HOLOSIG=$(realpath "${CARGO_TARGET_DIR:-target}/release/holosig")
export HOLOSIG
"$python" -m pytest -q -p no:cacheprovider scripts/python
