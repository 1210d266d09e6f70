#!/usr/bin/env bash
# Makes sure that everything the build needs is on this machine. Safe to run again: when
# nothing is missing it changes nothing and needs neither root nor network. On Debian and
# Ubuntu it installs what is missing; elsewhere it says what is missing and how to point to it.
# With --no-default-features only what the program without its readers of trajectories needs (no
# CMake, no C++ compiler); with --cuda also the compiler for the GPU program, without a GPU or root (cuda_toolkit.sh).
# With --with-slurm also what scripts/slurm_test.sh needs, with --with-browser a browser to look at
# pages with.
set -euo pipefail
. "$(dirname "$0")/env.sh"

rust_wanted=1.90
options=" $* "
packages=() # Debian packages that would supply what is missing
hints=()    # the same for people without apt

missing() { # packages, hint
    read -ra names <<<"$1"
    packages+=("${names[@]}")
    hints+=("$2")
}

probe() { # leaves its findings in `packages` and `hints`
    packages=() hints=()
    command -v cc >/dev/null ||
        missing "gcc libc6-dev" "a C compiler: put one on PATH as 'cc', e.g. 'module load gcc'"
    [[ $options == *" --no-default-features "* ]] || trajectories
    command -v "${MPICC:-mpicc}" >/dev/null ||
        missing "libopenmpi-dev openmpi-bin" \
            "MPI (Open MPI or MPICH): 'module load openmpi', or set MPICC=/path/to/mpicc"
    command -v mpirun >/dev/null || command -v mpiexec >/dev/null || command -v srun >/dev/null ||
        missing "openmpi-bin" "an MPI launcher: put mpirun, mpiexec or srun on PATH"
    have_libclang ||
        missing "libclang-dev" \
            "libclang, which reads MPI's header at build time: 'module load llvm', or set LIBCLANG_PATH to the folder of libclang.so"
    have_hdf5 ||
        missing "libhdf5-dev pkg-config" \
            "HDF5 1.8.4 or newer: 'module load hdf5', or set HDF5_DIR to the folder that has include/hdf5.h and lib/"
    [[ $options != *" --cuda "* ]] || cuda
    [[ $options != *" --with-slurm "* ]] || slurm
    [[ $options != *" --with-browser "* ]] || browser
}

trajectories() { # chemfiles is C++ and is built with CMake
    local without="or do without trajectories: 'cargo build --no-default-features'"
    command -v c++ >/dev/null ||
        missing "g++" "a C++ compiler (C++11): put one on PATH as 'c++', e.g. 'module load gcc'; $without"
    command -v cmake >/dev/null ||
        missing "cmake make" "CMake, which builds chemfiles: 'module load cmake'; $without"
}

cuda() {
    if ! command -v nvcc >/dev/null && ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        missing "python3-venv" "nvcc ('module load cuda'), or python3 with venv to fetch it with"
    fi
}

browser() {
    if ! { command -v chromium || command -v google-chrome; } >/dev/null; then
        missing "chromium" "Chromium or Chrome, for a test of the pages"
    fi
}

slurm() {
    if ! { command -v slurmctld && command -v slurmd && command -v munged; } >/dev/null; then
        missing "slurm-wlm slurm-wlm-basic-plugins munge" "Slurm's daemons and munge, for its test"
    fi
}

have_libclang() {
    if [ -n "${LIBCLANG_PATH:-}" ]; then
        compgen -G "$LIBCLANG_PATH/libclang*.so*" >/dev/null || [ -f "$LIBCLANG_PATH" ]
        return
    fi
    local dir
    for dir in "$(llvm-config --libdir 2>/dev/null || true)" \
        /usr/lib /usr/lib64 /usr/local/lib /usr/lib/*-linux-gnu /usr/lib/llvm*/lib /usr/lib64/llvm*/lib; do
        # The library alone is not enough: the compiler's own headers must be there too.
        if [ -n "$dir" ] && compgen -G "$dir/libclang*.so*" >/dev/null &&
            { compgen -G "$dir/clang/*/include/stddef.h" || compgen -G "/usr/lib/clang/*/include/stddef.h"; } >/dev/null; then
            return
        fi
    done
    return 1
}

have_hdf5() {
    if [ -n "${HDF5_DIR:-}" ]; then
        [ -f "$HDF5_DIR/include/hdf5.h" ]
        return
    fi
    pkg-config --exists hdf5 2>/dev/null || [ -f /usr/include/hdf5/serial/hdf5.h ] || [ -f /usr/include/hdf5.h ]
}

check_rust() {
    local hint="install it with rustup, or 'module load rust'"
    if ! command -v cargo >/dev/null; then
        echo "setup: cargo is not on PATH: Rust $rust_wanted or newer is needed; $hint" >&2
        return 1
    fi
    local found
    found=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$rust_wanted" "$found" | sort -V | head -1)" != "$rust_wanted" ]; then
        echo "setup: rustc $found is too old: $rust_wanted or newer is needed; 'rustup update stable', or $hint" >&2
        return 1
    fi
}

install_packages() {
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || return 1
        as_root=(sudo)
        [ -t 0 ] || as_root=(sudo -n)
    fi
    echo "setup: installing ${packages[*]}"
    "${as_root[@]}" apt-get update -q &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "${packages[@]}"
}

probe
if [ ${#packages[@]} -gt 0 ] && command -v apt-get >/dev/null; then
    install_packages || true
    probe
fi
if [ ${#packages[@]} -gt 0 ]; then
    echo "setup: missing:" >&2
    printf '  - %s\n' "${hints[@]}" >&2
    if command -v apt-get >/dev/null; then
        echo "  with root: apt-get install --no-install-recommends ${packages[*]}" >&2
    fi
    check_rust || true
    exit 1
fi
check_rust
echo "setup: everything is here: $(rustc --version | cut -d' ' -f1-2), $("${MPICC:-mpicc}" -show | cut -d' ' -f1) under ${MPICC:-mpicc}, HDF5${HDF5_DIR:+ in $HDF5_DIR}, libclang"
if [[ $options == *" --cuda "* ]]; then
    if command -v nvcc >/dev/null && [[ $(command -v nvcc) != */toolkit/bin/nvcc ]]; then
        echo "setup: nvcc is here: $(command -v nvcc)"
    else
        scripts/cuda_toolkit.sh
    fi
    echo "setup: build with '. scripts/env.sh; cargo build --release --features cuda,nccl --bin holosig-cuda'"
fi
