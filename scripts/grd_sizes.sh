#!/usr/bin/env bash
# Deep Signature on gene regulation over network size N and number of beads K, with coarse-grainings
# that are fixed in advance and the strongest baseline beside it: grd_sizes.sh FOLDER [N...]
#
# Every size has a sweep of its own, FOLDER/N: accuracy and time in results.csv and report.html. All
# methods are tuned alike, by the learning rate that validates best. A sweep that was stopped goes on.
# HOLOSIG: the program; RANKS: how many share the runs.
set -euo pipefail
. "$(dirname "$0")/env.sh"
home=$PWD
cd "$OLDPWD"
out=${1:?grd_sizes.sh FOLDER [N...]}
shift
sizes=("$@")
[ ${#sizes[@]} -gt 0 ] || sizes=(100 400 2000)
mkdir -p "$out"

for n in "${sizes[@]}"; do
    data=$out/grd-$n.h5
    [ -e "$data" ] || "$holosig" prepare grd --nodes "$n" --out "$data"
    sweep() { # name, options...
        local name=$1
        shift
        mpirun -np "${RANKS:-2}" "$holosig" sweep "$home/jobs/deep-signature-grd.toml" --out "$out/$n/$name" \
            --set data.dataset="$data" --folds all --grid train.learning_rate=1e-3,3e-3 "$@"
    }
    beads=()
    for k in 10 30 50 100 200; do
        [ "$k" -gt "$n" ] || beads+=("$k")
    done
    sweep beads --grid model.clusters="$(IFS=,; echo "${beads[*]}")" --set model.projection=24
    sweep coarse-grainings --grid model.coarse_graining=learned,spectral,communities,random
    sweep methods --grid \
        model.method=deep-signature,head,tail,head-and-tail,graph-lstm,graph-transformer,space-time-transformer
    sweep depth-segments --set model.projection=24 --grid model.depth=1,2,3 --grid model.segments=2,4,8
done
