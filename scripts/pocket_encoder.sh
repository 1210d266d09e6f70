#!/usr/bin/env bash
# Makes jobs/models/pocket-encoder.h5 again: the encoder with channels for protein and ligand.
#
#   scripts/pocket_encoder.sh STRUCTURES COMPLEXES.csv FOLDER [--set KEY=VALUE ...]
#
# STRUCTURES: files, a folder or @LIST as for `holosig prepare structures`. COMPLEXES.csv: as for
# `holosig pockets`, with a column split; those of the split test are left to the end. More options go to
# `holosig train`. $RANKS ranks (1 by default).
set -euo pipefail
. "$(dirname "$0")/env.sh"
home=$PWD
cd "$OLDPWD"
if [ $# -lt 3 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
structures=$1 complexes=$2 out=$3
shift 3
launch() { mpirun -np "${RANKS:-1}" "$holosig" "$@"; }
# Files that cannot be used are named and left out: exit code 3.
some() { "$@" || [ $? -eq 3 ]; }

mkdir -p "$out"
some launch prepare structures "$structures" --validation 0.02 --test 0 --out "$out/structures.h5"
some launch prepare complexes --complexes "$complexes" --with "$out/structures.h5" --out "$out/complexes.h5"
launch train "$home/jobs/pocket-encoder.toml" --out "$out/run" --set data.dataset="$out/complexes.h5" "$@"
"$holosig" export "$out/run" "$out/pocket-encoder.h5"
