#!/usr/bin/env bash
# What pretraining is worth (docs/pretraining.md):
#
#   scripts/pretraining.sh prepare RMD17_FOLDER   datasets of rMD17 with 100, 300 and 950 frames
#   scripts/pretraining.sh one NUMBER             one network and objective, all that follows
#   scripts/pretraining.sh all                    one after another
#   scripts/pretraining.sh table                  the page, of what is finished
#
# Settings of the environment, with their defaults: RUNS=runs (datasets qm9.h5 and others are there),
# OUT=$RUNS/pretraining, NETWORKS="schnet painn", OBJECTIVES="none supervised ...",
# LABELLED=$RUNS/qm9.h5 (what targets are learned from; it needs test molecules),
# TARGETS=mu,alpha,gap,u0, FRAMES="100 300 950", MOLECULES="ethanol aspirin", REPEATS=3;
# MODEL: options of every run, such as "--set model.width=64"; PRETRAIN, TUNE, TUNE_FORCES: more
# options of the pretraining, of the sweeps on QM9 and of those on rMD17, such as
# "--set train.epochs=5". HOLOSIG names the program, HOLOSIG_LAUNCH what starts it on several ranks.
set -euo pipefail
. "$(dirname "$0")/env.sh"
home=$PWD
cd "$OLDPWD"

runs=$(realpath -m "${RUNS:-runs}")
out=${OUT:-$runs/pretraining}
read -ra networks <<<"${NETWORKS:-schnet painn}"
read -ra objectives <<<"${OBJECTIVES:-none supervised atom-type distance angle infograph geossl-rr \
    geossl-infonce geossl-ebm-nce geossl-ddm geossl-ddm1l emgp graphmvp infomax moleculesde}"
read -ra frames <<<"${FRAMES-100 300 950}"
read -ra molecules <<<"${MOLECULES-ethanol aspirin}"
read -ra launch <<<"${HOLOSIG_LAUNCH:-}"
read -ra pretrain <<<"${PRETRAIN:-}"
read -ra tune <<<"${TUNE:-}"
read -ra tune_forces <<<"${TUNE_FORCES:-}"
labelled=${LABELLED:-$runs/qm9.h5}
# A network is the same in all of its runs; jobs differ.
declare -A sizes=([schnet]="--set model.cutoff=10.0" [painn]="--set model.width=128")

run() { "${launch[@]}" "$holosig" "$@"; }

prepare() {
    local molecule count
    for molecule in "${molecules[@]}"; do
        for count in "${frames[@]}"; do
            "$holosig" prepare systems "$1/rmd17_${molecule}_train_01.npz" \
                "$1/rmd17_${molecule}_test_01.npz" --order files --validation $((1000 - count)) \
                --out "$runs/$molecule-$count.h5"
        done
    done
}

one() {
    local network=${networks[$(($1 / ${#objectives[@]}))]}
    local objective=${objectives[$(($1 % ${#objectives[@]}))]}
    local folder=$out/$network/$objective model start=() molecule count
    read -ra model <<<"${MODEL:-${sizes[$network]:-}}"
    mkdir -p "$out/$network"
    if [ "$objective" != none ]; then
        # The job's own objective may have keys that others lack.
        sed '/^\[objective\]/,/^$/d' "$home/jobs/pretrain-$network.toml" >"$folder.toml"
        run train "$folder.toml" --set objective.name="$objective" \
            --set data.dataset="$runs/qm9.h5" "${model[@]}" "${pretrain[@]}" --restart auto \
            --out "$folder/pretrain"
        start=(--set train.init="$folder/pretrain/checkpoints/last.h5")
    fi
    run sweep "$home/jobs/$network-qm9.toml" "${start[@]}" "${model[@]}" "${tune[@]}" \
        --set data.dataset="$labelled" \
        --grid data.target="${TARGETS:-mu,alpha,gap,u0}" --repeats "${REPEATS:-3}" \
        --out "$folder/qm9"
    for molecule in "${molecules[@]}"; do
        for count in "${frames[@]}"; do
            run sweep "$home/jobs/$network-rmd17.toml" "${start[@]}" "${model[@]}" \
                "${tune_forces[@]}" --set data.dataset="$runs/$molecule-$count.h5" --repeats "${REPEATS:-3}" \
                --out "$folder/$molecule-$count"
        done
    done
}

case ${1:-} in
prepare) prepare "${2:?a folder of rMD17}" ;;
one) one "${2:?a number}" ;;
all)
    for ((i = 0; i < ${#networks[@]} * ${#objectives[@]}; i++)); do one "$i"; done
    ;;
table) python3 "$home/scripts/pretraining_table.py" "$out" ;;
*)
    sed -n '2,15s/^# \?//p' "$0" >&2
    exit 2
    ;;
esac
