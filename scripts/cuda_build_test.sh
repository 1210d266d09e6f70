#!/usr/bin/env bash
# Builds the GPU program where no GPU is at hand, and looks at what can be seen there: that it and
# its tests compile without a warning, that it fits in 60 MiB, and that without a driver it says
# one clear line. Needs scripts/setup.sh --cuda; scripts/gpu_suite.sh does the rest, on a GPU.
set -euo pipefail
. "$(dirname "$0")/env.sh"

limit=$((60 << 20)) # bytes of the stripped program
target=${CARGO_TARGET_DIR:-$PWD/target}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Lints first: they find faults without linking, and run the kernels' compiler for the build, too.
cargo clippy --release --locked --features cuda,nccl --all-targets -- -D warnings
cargo build --release --locked --features cuda,nccl --bin holosig-cuda

strip -o "$scratch/program" "$target/release/holosig-cuda"
size=$(stat -c %s "$scratch/program")
mib() { awk -v n="$1" 'BEGIN { printf "%.1f MiB", n / 1048576 }'; }
if [ "$size" -gt "$limit" ]; then
    echo "cuda_build_test: stripped, holosig-cuda has $(mib "$size"), $(mib $((size - limit))) more than $(mib $limit)" >&2
    exit 1
fi

# What stands in for the driver while linking answers that there is no GPU.
home=${CUDA_HOME:-$(dirname "$(dirname "$(command -v nvcc)")")}
ln -s "$home/lib64/stubs/libcuda.so" "$scratch/libcuda.so.1"
status=0
told=$(LD_LIBRARY_PATH=$home/lib64:$scratch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$scratch/program" \
    train jobs/quickstart.toml --device cuda --out "$scratch/run" 2>&1) || status=$?
if [ $status -ne 2 ] || [[ $told != *"no GPU on "* ]] || [ "$(wc -l <<<"$told")" -ne 1 ]; then
    echo "cuda_build_test: without a GPU, one line and exit code 2 were expected, not $status and:" >&2
    echo "$told" >&2
    exit 1
fi
echo "cuda_build_test: stripped, holosig-cuda has $(mib "$size") of $(mib $limit); without a GPU it says:"
echo "  $told"
