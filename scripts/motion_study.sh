#!/usr/bin/env bash
# Is a label in the motion? From simulation to one table: motion_study.sh FOLDER [OPTIONS of ensembles.py]
#
#   simulate two classes of a peptide from one start -> pack -> embed with an H-AE -> descriptors and
#   their page -> Deep Signature and all baselines, on invariants and on superposed coordinates, true
#   labels beside dealt ones, on the same folds of whole trajectories -> fixed coarse-grainings -> which
#   residues decide -> FOLDER/table.md, with what so many trajectories can show
#
# A study that was stopped goes on where it was. The example of docs/motion.md, which two cores can
# afford, and the same at another size:
#   scripts/motion_study.sh runs/torsion --classes torsion --solvent vacuum --frames 24 --every 0.4 --relax 4
#   REPEATS=3 EPOCHS=40 scripts/motion_study.sh runs/barrier --classes barrier --sequence AAAAAAAAAA \
#       --trajectories 200 --frames 500
# HOLOSIG: the program; PYTHON: one with OpenMM; ENCODER: a checkpoint of an H-(V)AE (else a small one is
# trained); RANKS, REPEATS (seeds), EPOCHS, CLUSTERS; METHODS: those to compare.
set -euo pipefail
. "$(dirname "$0")/env.sh"
home=$PWD
cd "$OLDPWD"
out=${1:?motion_study.sh FOLDER [OPTIONS of ensembles.py]}
shift
launch() { mpirun -np "${RANKS:-2}" "$holosig" "$@"; }
methods=${METHODS:-deep-signature,head,tail,head-and-tail,graph-lstm,graph-transformer,space-time-transformer}
mkdir -p "$out"

"${PYTHON:-python3}" "$home/scripts/ensembles.py" "$out/ensemble" "$@"
coordinates=$out/coordinates.h5 holographic=$out/holographic.h5
[ -e "$coordinates" ] ||
    launch prepare trajectories --manifest "$out/ensemble/manifest.csv" --segments 1x1 --out "$coordinates"

encoder=${ENCODER:-$out/encoder}
[ -n "${ENCODER:-}" ] || [ -e "$out/encoder/checkpoints/best.h5" ] ||
    launch train "$home/jobs/quickstart.toml" --out "$out/encoder" --set train.steps=400
[ -e "$holographic" ] ||
    launch embed "$encoder" --trajectories "$coordinates" --holographic --out "$holographic"
[ -e "$out/motion.html" ] ||
    launch motion "$holographic" --out "$out/motion.h5" --page "$out/motion.html" \
        --trajectories "$coordinates" --pdb "$out/structures"

job=("$home/jobs/deep-signature-holographic.toml"
    --set train.epochs="${EPOCHS:-20}" --set model.clusters="${CLUSTERS:-5}")
for features in holographic coordinates; do
    sweep() { # name, options...
        local name=$1
        shift
        launch sweep "${job[@]}" --out "$out/$features-$name" --folds all --repeats "${REPEATS:-1}" \
            --set data.dataset="$out/$features.h5" --set data.features="$features" "$@"
    }
    sweep methods --grid model.method="$methods" --grid data.shuffle_labels=false,true
    sweep beads --grid model.coarse_graining=spectral,communities,residues,random
done

[ -e "$out/plots" ] || {
    launch train "${job[@]}" --set data.dataset="$holographic" --out "$out/model"
    launch embed "$out/model" --trajectories "$holographic" --out "$out/decisions.h5" --plots "$out/plots"
}
python3 "$home/scripts/motion_table.py" "$out" | tee "$out/table.md"
