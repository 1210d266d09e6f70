#!/usr/bin/env bash
# The paper's experiment on single amino acids (section A.5.4, Table S5): H-AE and H-VAE with a
# latent space of two dimensions, trained on 400 to 20,000 residues, three repeats each, evaluated
# on 10,000 residues of other structures, and a page that puts the figures beside the paper's.
#
#   scripts/amino_acids.sh STRUCTURES [OUT]
#
# STRUCTURES: PDB or mmCIF files, a folder of them, or @LIST (some 800 chains suffice). SIZES,
# KINDS, REPEATS, RESIDUES and RANKS choose a part of the experiment; what is finished is not run again, what
# was interrupted goes on.
set -euo pipefail
. "$(dirname "$0")/env.sh"
home=$PWD
cd "$OLDPWD"
structures=${1:?usage: scripts/amino_acids.sh STRUCTURES [OUT]}
out=${2:-amino-acids}
sizes=${SIZES:-400:4 1000:10 2000:20 5000:50 20000:20}
kinds=${KINDS:-hae hvae-0.025 hvae-0.1}
repeats=${REPEATS:-3}
residues=${RESIDUES:-10000}
ranks=${RANKS:-1}
launch() { if [ "$ranks" -gt 1 ]; then mpirun -np "$ranks" "$@"; else "$@"; fi; }

mkdir -p "$out"
data=$out/residues.h5
# Half of the structures train; large parts for validation and test, whose rarest residue type
# must give an equal share.
[ -e "$data" ] || launch "$holosig" prepare structures "$structures" \
    --validation 0.25 --test 0.25 --out "$data"

train() { # NAME SEED [--set KEY=VALUE...]
    local name=$1 seed=$2 resume=()
    shift 2
    [ -e "$out/$name/scores.json" ] && return
    [ -d "$out/$name/checkpoints" ] && resume=(--resume)
    launch "$holosig" train "$home/jobs/amino-acids.toml" --out "$out/$name" "${resume[@]}" \
        --set data.dataset="$data" --set train.seed="$seed" "$@"
}

for seed in $(seq "$repeats"); do
    for kind in $kinds; do
        kl=${kind#hvae-}
        model=(--set model.variational=false)
        [ "$kind" = hae ] || model=(--set model.variational=true --set loss.kl.weight="$kl")
        train "untrained-$kind-$seed" "$seed" "${model[@]}" --set train.steps=1 \
            --set train.learning_rate=0.0
        for size in $sizes; do
            n=${size%:*}
            # Some 800 chains have no more tryptophans for an equal share of the validation.
            validation=$((n < 5000 ? n : 5000))
            train "$kind-$n-$seed" "$seed" "${model[@]}" --set train.batch="${size#*:}" \
                --set data.residues.train="$n" --set data.residues.validation="$validation"
        done
    done
done

"$holosig" evaluate "$out"/*/checkpoints/best.h5 --dataset "$data" --labels residue --balanced \
    --residues "$residues" --out "$out/evaluation"
"$holosig" report "$out/evaluation" --beside "$home/jobs/amino-acids-paper.csv" \
    --out "$out/report.html"
