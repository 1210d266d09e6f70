#!/usr/bin/env bash
# Trains fixed jobs of every model for 40 steps and compares the hashes of the trained parameters
# with those in tests/fixtures/golden (README there). Exit code 0: all the same; 1: a hash differs;
# 77: none is stored for the vector instructions of this processor.
#
#   scripts/golden.sh            compares
#   scripts/golden.sh --print    prints `name hash` lines only (to compare two programs, see HOLOSIG)
#   scripts/golden.sh --store    replaces the stored hashes of this processor's instructions
#
# HOLOSIG names another program than target/release/holosig; RANKS=2 trains on two ranks.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"

action=${1:---compare}
case $action in
--compare | --print | --store) ;;
*)
    echo "usage: scripts/golden.sh [--print | --store]" >&2
    exit 2
    ;;
esac

holosig=$(realpath "$holosig")
jobs=$PWD/tests/fixtures/golden
stored=$jobs/hashes.txt
scratch golden

# The instructions that the program picks: the rule of `isa` in src/ops.
has() {
    local flag
    for flag; do grep -qm1 "^flags.*\b$flag\b" /proc/cpuinfo || return 1; done
}
if has fma avx512f avx512vl avx512dq avx512bw; then
    instructions=avx512
elif has fma avx2; then
    instructions=avx2
else
    instructions=portable
fi

# NAME JOB DATASET OPTION…: trains, and prints the name and the hash.
golden() {
    local name=$1 job=$2 dataset=$3 launch=()
    shift 3
    [ "${RANKS:-1}" = 1 ] || launch=(mpirun -np "$RANKS")
    bounded 300 "${launch[@]}" "$holosig" train "$job" --out "$here/$name" \
        --set data.dataset="$dataset" "$@" >"$here/$name.log" 2>&1
    echo "$name $("$holosig" hash "$here/$name/checkpoints/last.h5")"
}

all() {
    local structures=$PWD/jobs/quickstart.h5 grd=$here/grd.h5
    bounded 120 "$holosig" prepare grd --nodes 30 --trajectories 60 --seed 5 --out "$grd" \
        >"$here/grd.log" 2>&1
    golden hae "$jobs/hae.toml" "$structures"
    golden hvae "$jobs/hvae.toml" "$structures"
    golden deep-signature "$jobs/ds.toml" "$grd"
    golden deep-signature-published "$jobs/ds.toml" "$grd" --set model.variant=published
    local method
    for method in graph-lstm head graph-transformer; do
        golden $method "$jobs/ds.toml" "$grd" --set model.method=$method
    done
    golden quickstart jobs/quickstart.toml "$structures" \
        --set train.steps=40 --set train.seed=77 --set train.slices=4
}

if [ $action = --print ]; then
    all
    exit
fi
all | tee "$here/hashes"

if [ $action = --store ]; then
    {
        grep -v "^$instructions " "$stored"
        sed "s/^/$instructions /" "$here/hashes"
    } >"$here/new"
    cp "$here/new" "$stored"
    echo "golden: stored for $instructions"
    exit
fi

grep -q "^$instructions " "$stored" ||
    not_tested "golden hashes" "none is stored for $instructions; --store writes them"
if ! diff <(sed -n "s/^$instructions //p" "$stored") "$here/hashes" >"$here/differences"; then
    echo "golden: stored hashes (<) and those of this program (>), $instructions:" >&2
    cat "$here/differences" >&2
    exit 1
fi
echo "golden: $(wc -l <"$here/hashes") models have the same bits as stored ($instructions)"
