#!/usr/bin/env bash
# Makes a CUDA toolkit to build with, without root and without a GPU, from NVIDIA's packages on
# PyPI, in the folder .cuda of the repository (or $HOLOSIG_CUDA_DIR); about 1.2 GB. Called by
# scripts/setup.sh --cuda where there is no nvcc; scripts/env.sh finds the result. Safe to run again.
set -euo pipefail
. "$(dirname "$0")/env.sh"

dir=${HOLOSIG_CUDA_DIR:-$PWD/.cuda}
home=$dir/toolkit
# 13.0: its PTX loads with driver 580 and later. The runtime libraries are for the linker.
wheels=(
    nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88
    nvidia-curand==10.4.0.35 nvidia-cublas==13.0.2.14
)
libraries=(cudart:13 cublas:13 cublasLt:13 curand:10 nvrtc:13)

if [ ! -x "$home/bin/nvcc" ] || [ ! -f "$home/lib64/stubs/libcuda.so" ]; then
    echo "setup: a CUDA 13.0 toolkit from NVIDIA's Python packages, into $dir"
    mkdir -p "$dir"
    [ -x "$dir/venv/bin/pip" ] || python3 -m venv "$dir/venv" || {
        echo "setup: python3 with venv is needed: apt-get install python3-venv, or 'module load python'" >&2
        exit 1
    }
    "$dir/venv/bin/pip" install --quiet --disable-pip-version-check "${wheels[@]}"
    from=$(echo "$dir"/venv/lib/python3*/site-packages/nvidia/cu13)

    # The layout that compilers and linkers expect below CUDA_HOME.
    new=$home.new
    rm -rf "$new"
    mkdir -p "$new/lib64/stubs"
    ln -s "$from/bin" "$from/include" "$from/nvvm" "$new/"
    ln -s lib64 "$new/lib"
    ln -s "$from"/lib/* "$new/lib64/"
    for library in "${libraries[@]}"; do
        ln -s "lib${library%%:*}.so.${library##*:}" "$new/lib64/lib${library%%:*}.so"
    done
    # What stands in for the driver while linking, as the full toolkit's own stub does: every name
    # of cuda.h, each answering CUDA_ERROR_NO_DEVICE. Never loaded where there is a driver.
    grep -oE '\bcu[A-Z][A-Za-z0-9_]*' "$from/include/cuda.h" | sort -u |
        sed 's/.*/int &(void) { return 100; }/' >"$new/stub.c"
    "${CC:-cc}" -w -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$new/lib64/stubs/libcuda.so" "$new/stub.c"
    rm -f "$new/stub.c"
    rm -rf "$home"
    mv "$new" "$home"
fi
"$home/bin/nvcc" --version | tail -2 | head -1
echo "setup: the scripts find this toolkit by themselves; elsewhere:"
echo "  export CUDA_HOME=$home PATH=$home/bin:\$PATH CUDA_COMPUTE_CAP=80"
