#!/usr/bin/env bash
# From nothing to a trained model on the structures that come with the source: sets up, builds,
# then prepare -> train on two MPI ranks -> killed midway -> resumed -> embed -> report.
# Everything it makes is in quickstart/; the page to look at is quickstart/report.html.
set -euo pipefail
. "$(dirname "$0")/env.sh"
scripts/setup.sh

say() { printf '\n== %s\n' "$*"; }

say "build"
cargo build --release --locked
holosig=${CARGO_TARGET_DIR:-target}/release/holosig

here=quickstart
run=$here/run
rm -rf "$here"
mkdir "$here"

ranks=2
cores=$(nproc)
export RAYON_NUM_THREADS=$((cores > ranks ? cores / ranks : 1))
launch() { mpirun -np "$ranks" "$@"; }

say "prepare: structures to one dataset file"
launch "$holosig" prepare structures tests/structures \
    --validation 0.1 --test 0.15 --out "$here/dataset.h5"

say "an untrained model, to compare with: one step at learning rate 0"
"$holosig" train jobs/quickstart.toml --out "$here/untrained" \
    --set train.steps=1 --set train.learning_rate=0.0 --set data.dataset="$here/dataset.h5"

say "train on $ranks ranks, and kill them midway, as a lost node would"
mpirun -np "$ranks" "$holosig" train jobs/quickstart.toml --out "$run" \
    --set data.dataset="$here/dataset.h5" &
launcher=$!
until [ -e "$run/checkpoints/step-1000.h5" ] || ! kill -0 $launcher 2>/dev/null; do sleep 0.1; done
sleep 2
kill -KILL $(cat "/proc/$launcher/task/$launcher/children") || true
if wait $launcher 2>/dev/null; then
    echo "quickstart: the run ended before it could be killed" >&2
    exit 1
fi

say "resume from the last whole checkpoint"
launch "$holosig" train jobs/quickstart.toml --out "$run" --resume \
    --set data.dataset="$here/dataset.h5"

say "embed the test structures with both models"
for model in untrained run; do
    launch "$holosig" embed "$here/$model/checkpoints/best.h5" --dataset "$here/dataset.h5" \
        --split test --reconstruct --out "$here/$model.h5"
done

say "report"
"$holosig" report "$run" --embeddings "$here/run.h5" --untrained "$here/untrained.h5" \
    --out "$here/report.html"
