#!/usr/bin/env bash
# holosig against other programs for the same computations, timed in turn: see run.py, --help.
# HOLOSIG names the program (target/release/holosig), HOLOSIG_PEERS_VENV the folder that
# scripts/peers/setup.sh made.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${HOLOSIG_PEERS_VENV:-$here/venv}
if [ ! -x "$venv/bin/python" ]; then
    echo "peers: no virtual environment $venv: run scripts/peers/setup.sh first" >&2
    exit 2
fi
exec "$venv/bin/python" "$here/run.py" "$@"
