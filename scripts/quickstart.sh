#!/usr/bin/env bash
# From nothing to a trained model; everything it makes is in one folder, ending with a page.
#
#   scripts/quickstart.sh                  H-(V)AE on the structures that come with the source:
#       prepare -> train on two MPI ranks -> killed midway -> resumed -> embed -> report;
#       quickstart/report.html
#   scripts/quickstart.sh deep-signature   Deep Signature on simulated gene regulation:
#       simulate -> train on two MPI ranks -> killed midway -> resumed -> embed -> the same splits
#       for all baselines; quickstart-deep-signature/methods/report.html
#   scripts/quickstart.sh molecules        PaiNN on energies and forces of small molecules in a Morse
#       potential: prepare -> train on two MPI ranks -> killed midway -> resumed, with the same bits as
#       a run that was left alone -> predict -> report; quickstart-molecules/report.html
#   scripts/quickstart.sh affinity         the pocket encoder on complexes cut out of the structures that
#       come with the source, with made-up affinities (scripts/made_complexes.sh): pockets -> regress,
#       whole proteins kept together -> predict -> report; quickstart-affinity/affinity/report.html
#   scripts/quickstart.sh images           H-VAE on glyphs drawn for it, projected onto the sphere:
#       prepare -> train on two MPI ranks -> killed midway -> resumed -> evaluate -> generate;
#       quickstart-images/generated/generated.html
#   scripts/quickstart.sh motion           holographic signatures: which way a peptide moves, from
#       the invariants of an encoder: train the encoder -> generate -> embed every frame on two MPI
#       ranks -> descriptors and their page -> five methods; quickstart-motion/methods/report.html
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"

part=${1:-structures}
case $part in
structures) here=quickstart ;;
deep-signature) here=quickstart-deep-signature ;;
molecules) here=quickstart-molecules ;;
affinity) here=quickstart-affinity ;;
images) here=quickstart-images ;;
motion) here=quickstart-motion ;;
*)
    echo "quickstart: $part: nothing, deep-signature, molecules, affinity, images or motion is needed" >&2
    exit 2
    ;;
esac
scripts/setup.sh

say() { printf '\n== %s\n' "$*"; }

say "build"
cargo build --release --locked
holosig=${CARGO_TARGET_DIR:-target}/release/holosig

run=$here/run
rm -rf "$here"
mkdir "$here"

ranks=2
cores=$(nproc)
export RAYON_NUM_THREADS=$((cores > ranks ? cores / ranks : 1))
launch() { mpirun -np "$ranks" "$@"; }

# Starts a run, waits for a checkpoint and some seconds more, and kills the ranks without a word,
# as a lost node would.
launch_and_kill() { # checkpoint, seconds, command...
    local checkpoint=$1 seconds=$2
    shift 2
    mpirun -np "$ranks" "$@" &
    local launcher=$!
    under_way() { [ -e "$checkpoint" ] || none_running "$launcher"; }
    within 1800 under_way
    sleep "$seconds"
    kill -KILL $(cat "/proc/$launcher/task/$launcher/children") || true
    within 120 none_running "$launcher"
    if wait $launcher 2>/dev/null; then
        echo "quickstart: the run ended before it could be killed" >&2
        exit 1
    fi
}

structures() {
    say "prepare: structures to one dataset file"
    launch "$holosig" prepare structures tests/structures \
        --validation 0.1 --test 0.15 --out "$here/dataset.h5"

    say "an untrained model, to compare with: one step at learning rate 0"
    "$holosig" train jobs/quickstart.toml --out "$here/untrained" \
        --set train.steps=1 --set train.learning_rate=0.0 --set data.dataset="$here/dataset.h5"

    say "train on $ranks ranks, and kill them midway, as a lost node would"
    launch_and_kill "$run/checkpoints/step-1000.h5" 2 \
        "$holosig" train jobs/quickstart.toml --out "$run" --set data.dataset="$here/dataset.h5"

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
}

deep_signature() {
    say "simulate gene regulation: two kinds of decay on random networks"
    launch "$holosig" prepare grd --trajectories 300 --out "$here/grd.h5"

    job=(jobs/deep-signature-grd.toml --set data.dataset="$here/grd.h5")
    say "train on $ranks ranks, and kill them midway, as a lost node would"
    launch_and_kill "$run/checkpoints/step-50.h5" 1 \
        "$holosig" train "${job[@]}" --out "$run" --set train.checkpoint_every=25

    say "resume from the last whole checkpoint"
    launch "$holosig" train "${job[@]}" --out "$run" --set train.checkpoint_every=25 --resume

    say "embed: log-signatures, predictions, and the bead of every gene"
    launch "$holosig" embed "$run/checkpoints/best.h5" --trajectories "$here/grd.h5" \
        --out "$here/embeddings.h5" --plots "$here/plots"
    "$holosig" report "$run"

    say "the same splits for Deep Signature and every baseline"
    launch "$holosig" sweep "${job[@]}" --out "$here/methods" --folds 0,1 \
        --grid model.method=deep-signature,head,tail,head-and-tail,graph-lstm,graph-transformer
}

molecules() {
    say "prepare: small molecules in a Morse potential"
    launch "$holosig" prepare systems --quickstart --out "$here/systems.h5"

    job=(jobs/quickstart-molecules.toml --set data.dataset="$here/systems.h5")
    say "train on one rank, and leave it alone"
    "$holosig" train "${job[@]}" --out "$here/alone"

    say "train on $ranks ranks, and kill them midway, as a lost node would"
    launch_and_kill "$run/checkpoints/step-300.h5" 1 "$holosig" train "${job[@]}" --out "$run"

    say "resume from the last whole checkpoint"
    launch "$holosig" train "${job[@]}" --out "$run" --resume
    alone=$("$holosig" hash "$here/alone/checkpoints/last.h5")
    resumed=$("$holosig" hash "$run/checkpoints/last.h5")
    if [ "$alone" != "$resumed" ]; then
        echo "quickstart: the resumed run has other parameters than the one that was left alone" >&2
        exit 1
    fi
    echo "the same parameters, bit by bit: $resumed"

    say "predict energies and forces of the test molecules"
    for out in "$run/predictions.h5" "$here/test.xyz"; do
        launch "$holosig" predict "$run/checkpoints/best.h5" --systems "$here/systems.h5" \
            --split test --out "$out"
    done

    say "report"
    "$holosig" report "$run" --out "$here/report.html"
}

affinity() {
    say "complexes: pieces of chains cut out of structures, with made-up affinities"
    scripts/made_complexes.sh "$here/complexes"

    say "pockets: with and without the ligand, beside baselines"
    launch "$holosig" pockets jobs/models/pocket-encoder.h5 --centres ligand \
        --complexes "$here/complexes/complexes.csv" --out "$here/pockets.h5"

    say "regress: every protein in one fold"
    launch "$holosig" regress "$here/pockets.h5" --split k-fold:4 --model ridge,knn \
        --out "$here/affinity"
    "$holosig" predict "$here/affinity" "$here/pockets.h5" --out "$here/predictions.csv"

    say "report"
    "$holosig" report "$here/affinity"
}

images() {
    say "prepare: glyphs, projected onto the sphere; those of the test in random rotations"
    launch "$holosig" prepare images --quickstart --bandwidth 16 --lmax 6 --out "$here/glyphs.h5"

    job=(jobs/quickstart-images.toml --set data.dataset="$here/glyphs.h5")
    say "train on $ranks ranks, and kill them midway, as a lost node would"
    launch_and_kill "$run/checkpoints/step-200.h5" 1 "$holosig" train "${job[@]}" --out "$run"

    say "resume from the last whole checkpoint"
    launch "$holosig" train "${job[@]}" --out "$run" --resume

    say "evaluate: what the latent space knows of the classes"
    launch "$holosig" evaluate "$run" --dataset "$here/glyphs.h5" --out "$here/evaluation"

    say "generate: samples, interpolations, canonical frames"
    "$holosig" generate "$run" --dataset "$here/glyphs.h5" --out "$here/generated"
    "$holosig" report "$run" --out "$here/report.html"
}

motion() {
    say "an encoder: a small H-AE on the structures that come with the source"
    launch "$holosig" train jobs/quickstart.toml --out "$here/encoder" --set train.steps=400

    say "peptides of two classes: the same swing, forwards and backwards"
    launch "$holosig" prepare peptides --trajectories 100 --out "$here/peptides.h5"

    say "embed every residue of every frame: paths of invariants"
    launch "$holosig" embed "$here/encoder" --trajectories "$here/peptides.h5" --holographic \
        --out "$here/paths.h5"

    say "descriptors of motion, their page, and structures coloured by it"
    launch "$holosig" motion "$here/paths.h5" --out "$here/motion.h5" --page "$here/motion.html" \
        --trajectories "$here/peptides.h5" --pdb "$here/structures"

    say "which way do they move? Deep Signature and four baselines on the invariants"
    job=(jobs/deep-signature-holographic.toml --set data.dataset="$here/paths.h5")
    launch "$holosig" sweep "${job[@]}" --out "$here/methods" --folds 0,1 \
        --grid model.method=deep-signature,head,tail,head-and-tail,graph-lstm
}

${part//-/_}
