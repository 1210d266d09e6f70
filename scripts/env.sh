# Sourced by the other scripts: the repository root as working folder, cargo on PATH, the program as
# $holosig, and an mpirun that works for root (containers) and on machines with fewer cores than ranks.
# Scripts whose arguments are files of the user go back: `cd "$OLDPWD"`.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then
    . "$HOME/.cargo/env"
fi

# What HOLOSIG names, the program of the archive that these scripts came in (scripts/package.sh), or the
# one that was built here.
holosig=${HOLOSIG:-$PWD/bin/holosig}
if [ -z "${HOLOSIG:-}" ] && [ ! -x "$holosig" ]; then
    holosig=${CARGO_TARGET_DIR:-$PWD/target}/release/holosig
fi

# Open MPI refuses root unless told twice; MPICH ignores these.
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# What `mpirun --oversubscribe` says, understood by Open MPI and ignored by MPICH.
export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe

# The CUDA toolkit of `scripts/setup.sh --cuda`, where the system has none.
if [ -z "${CUDA_HOME:-}" ] && ! command -v nvcc >/dev/null; then
    cuda=${HOLOSIG_CUDA_DIR:-$PWD/.cuda}/toolkit
    if [ -x "$cuda/bin/nvcc" ]; then
        export CUDA_HOME=$cuda PATH=$cuda/bin:$PATH
    fi
    unset cuda
fi
# candle's kernels: for compute capability 8.0, as ours; later GPUs translate them when they load.
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
# candle's kernels for quantised models, which only take room, packed as small as nvcc can: 6 MB of
# the program instead of 32.
if command -v nvcc >/dev/null && nvcc --help | grep -e --compress-mode >/dev/null; then
    export NVCC_APPEND_FLAGS=${NVCC_APPEND_FLAGS:---compress-mode=size}
fi
