#!/usr/bin/env bash
# Makes the virtual environment with the programs that holosig is compared with (Python 3.10 or
# newer; iisignature is compiled). PyTorch comes from its index of CPU wheels, or from the
# package registry where that cannot be reached (larger, and as fast on a CPU).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${HOLOSIG_PEERS_VENV:-$here/venv}
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "peers: Python 3.10 or newer is needed; PYTHON names another one" >&2
    exit 2
fi
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet)
torch=$(grep '^torch==' "$here/requirements.txt")
"${pip[@]}" --retries 0 --index-url https://download.pytorch.org/whl/cpu "$torch" 2>/dev/null ||
    "${pip[@]}" "$torch"
grep -v '^iisignature' "$here/requirements.txt" | "${pip[@]}" -r /dev/stdin
# It is built against the numpy that is there now.
"${pip[@]}" --no-build-isolation "$(grep '^iisignature' "$here/requirements.txt")" ||
    echo "peers: iisignature could not be built; it is left out of the comparison" >&2
echo "$venv"
