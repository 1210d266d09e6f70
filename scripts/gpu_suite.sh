#!/usr/bin/env bash
# What needs a GPU, on a machine that has one: the tests of tests/gpu.rs, benchmarks against the
# device's own copy and matrix rates and against PyTorch, and the paper's pretraining projected
# from 1,000 steps. The table goes to docs/performance.md, with the date and the device.
#
#   scripts/gpu_suite.sh                 builds here (cargo, nvcc)
#   scripts/gpu_suite.sh --pack DIR      builds, without a GPU, what a machine without compilers
#                                        needs, into DIR; carry DIR there
#   DIR/scripts/gpu_suite.sh --carried   runs it there
#
# HOLOSIG_PEERS_VENV: a Python environment with a PyTorch for GPUs and e3nn (scripts/peers), or
# `python3` if it has them; without, PyTorch is left out, and said to be.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/env.sh
. scripts/lib.sh
target=${CARGO_TARGET_DIR:-$root/target}/cuda

build() {
    # A target folder of its own: with the feature, cargo would replace the CPU program.
    export CARGO_TARGET_DIR=$target
    cargo build --release --locked --features cuda,nccl --bin holosig-cuda
    tests=$(cargo test --release --locked --features cuda,nccl --test gpu --no-run \
        --message-format=json | sed -n 's/.*"executable":"\([^"]*\/gpu-[^"]*\)".*/\1/p' | tail -1)
    program=$target/release/holosig-cuda
}

case ${1:-} in
--pack)
    to=${2:?a folder is needed}
    build
    mkdir -p "$to"
    cp -r --parents jobs scripts tests/structures docs/performance.md "$to"
    cp "$program" "$to/holosig-cuda"
    cp "$tests" "$to/gpu-tests"
    strip "$to/holosig-cuda" "$to/gpu-tests"
    echo "what holosig-cuda needs there:"
    readelf -d "$to/holosig-cuda" | sed -n 's/.*NEEDED.*\[\(.*\)\]/  \1/p'
    du -sh "$to"
    exit
    ;;
--carried)
    program=$root/holosig-cuda tests=$root/gpu-tests
    ;;
"") build ;;
*)
    echo "usage: $0 [--pack DIR | --carried]" >&2
    exit 2
    ;;
esac

command -v nvidia-smi >/dev/null || {
    echo "$(hostname) has no NVIDIA driver (nvidia-smi): nothing can be measured here" >&2
    exit 2
}
lacking=$(ldd "$program" | awk '/not found/ { print $1 }' | tr '\n' ' ')
if [ -n "$lacking" ]; then
    echo "$program lacks ${lacking% }: 'module load cuda', or LD_LIBRARY_PATH" >&2
    exit 2
fi
out=$(mktemp -d "${TMPDIR:-/tmp}/holosig-gpu-XXXXXX")
echo "gpu_suite: results in $out"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/device"

echo "gpu_suite: tests"
failed=0
export HOLOSIG=$program HOLOSIG_GPU_REQUIRED=1
logged "$out/tests" 3600 "$tests" --test-threads=1 --nocapture || failed=1
kill_left_behind

echo "gpu_suite: benchmarks"
logged "$out/bench" 3600 "$program" bench --device cuda --json zernike hae signature deep-signature

echo "gpu_suite: PyTorch"
python=${HOLOSIG_PEERS_VENV:+$HOLOSIG_PEERS_VENV/bin/}python3
if "$python" -c 'import torch, e3nn' 2>/dev/null; then
    logged "$out/peers" 3600 "$python" scripts/peers/gpu.py
else
    echo "$python has no torch and e3nn: no comparison" | tee "$out/peers-missing"
fi

echo "gpu_suite: 1,000 steps of the paper's z 128, lmax 6 model"
bounded 600 "$program" prepare structures tests/structures --validation 0.1 --out "$out/dataset.h5"
bounded 3600 "$program" train jobs/hae-z128-l6.toml --device cuda --out "$out/run" \
    --set data.dataset="$out/dataset.h5" --set train.slices=1 --set train.steps=1000 \
    --set train.checkpoint_every=1000 --set train.evaluations_per_epoch=1 --set train.log_every=100

python3 - "$out" docs/performance.md <<'P'
import datetime, json, pathlib, statistics, sys

out, page = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
lines = lambda name: [json.loads(l) for l in (out / name).read_text().splitlines()
                      if l.startswith("{")]
peers = {}
if (out / "peers").exists():
    for line in lines("peers"):
        peers.setdefault(line["case"], []).append(line)
device = (out / "device").read_text().splitlines()[0]
tests = [l for l in (out / "tests").read_text().splitlines() if l.startswith("test result:")]
text = [f"Measured on {datetime.date.today()}: {device}. Batches from memory, f32 products, one rank. "
        f"GPU tests: {tests[-1][13:].split('; 0 ignored')[0] if tests else 'did not finish'}.", "",
        "| case | per second | of the limit | limited by | memory in use, MB | PyTorch per second | times |",
        "|---|---|---|---|---|---|---|"]
for f in lines("bench"):
    best = max((p["per_second"] for p in peers.get(f["case"], [])), default=None)
    against = ("", "") if best is None else (f"{best:,.0f}", f"{f['per_second'] / best:.1f}")
    text.append(f"| {f['case']} | {f['per_second']:,.0f} {f['unit'].split('/')[0]} | "
                f"{100 * f['fraction_of_limit']:.0f}% | {f['limited_by']} | "
                f"{f['peak_memory_mb']:,.0f} | {against[0]} | {against[1]} |")
if not peers:
    text += ["", "PyTorch was not at hand for a comparison."]
speeds = [l["samples_per_second"] for l in map(json.loads, (out / "run/metrics.jsonl").read_text().splitlines())
          if l["event"] == "train"][1:]
speed = statistics.median(speeds)
text += ["", f"`holosig-cuda train` of the z 128, lmax 6 model, batch 512, atoms from the dataset file, 1,000 steps: "
         f"{speed:,.0f} neighborhoods/s. The paper's pretraining (2.7 million neighborhoods, 10 epochs; "
         f"6.0 hours on an A40 in its Table S2) would take {2.7e7 / speed / 60:.1f} minutes (projected)."]
begin, end = "<!-- gpu_suite -->", "<!-- end of gpu_suite -->"
old = page.read_text()
head, rest = old.split(begin)
page.write_text(head + begin + "\n" + "\n".join(text) + "\n" + end + rest.split(end)[1])
print("\n".join(text))
P
echo "gpu_suite: written to docs/performance.md"
if [ $failed -ne 0 ]; then
    echo "gpu_suite: TESTS FAILED, see $out/tests" >&2
    exit 1
fi
