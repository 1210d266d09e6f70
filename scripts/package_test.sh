#!/usr/bin/env bash
# The archive of scripts/package.sh, unpacked in a root of its own that has the C library and MPI and
# nothing else: the program starts there, imports a model and reads it back. Where that takes rights or
# tools that are missing, nothing is tested, and it says so.
#
#   scripts/package_test.sh [--program FILE]   as for scripts/package.sh
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"
scratch package_test

command -v patchelf >/dev/null || not_tested "the archive" "patchelf is missing"
[ "$(id -u)" = 0 ] || not_tested "the archive" "chroot needs root"
scripts/package.sh "$@" --out "$here/out"
tar -xzf "$here"/out/holosig-*.tar.gz -C "$here"
unpacked=$(echo "$here"/holosig-*-linux)

# Whatever of the program is not in the archive must be the C library's or MPI's.
root=$here/root
mkdir -p "$root"/{opt,tmp,proc,etc,dev}
copy() {
    local place=$1
    mkdir -p "$root$(dirname "$place")"
    cp -L "$place" "$root$place"
}
mpi=$(ldd "$unpacked/bin/holosig" | awk '$1 ~ /^libmpi|^libmpich/ { print $3; exit }')
{
    ldd "$mpi" | awk '$2 == "=>" { print $3 }'
    ldd "$unpacked/bin/holosig" | awk '$1 ~ /^lib(c|m|gcc_s|dl|pthread|rt)\.so/ { print $3 }'
    echo "$mpi"
    ldd "$mpi" | awk '$1 ~ /ld-linux/ { print $1 }'
} | sort -u | while read -r place; do copy "$place"; done
# Open MPI loads its parts by name.
for folder in "$(dirname "$mpi")/openmpi" "$(dirname "$(realpath "$mpi")")/openmpi" /usr/share/openmpi /etc/openmpi; do
    [ -d "$folder" ] || continue
    mkdir -p "$root$(dirname "$folder")"
    cp -rL "$folder" "$root$(dirname "$folder")/" 2>/dev/null || true
    for part in "$folder"/*.so; do
        [ -f "$part" ] || continue
        ldd "$part" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }'
    done | sort -u | while read -r place; do [ -f "$root$place" ] || copy "$place"; done
done
if find "$root" -name 'libhdf5*' | grep .; then
    echo "scripts/package_test.sh: HDF5 came in with MPI: the test would prove nothing" >&2
    exit 1
fi
mv "$unpacked" "$root/opt/elsewhere"
cp tests/fixtures/published_small/{model.pt,hparams.json} "$root/tmp/"
cp tests/structures/1orc.pdb "$root/tmp/"
inside() { bounded 120 env -i HOME=/tmp PATH=/opt/elsewhere/bin chroot "$root" /opt/elsewhere/bin/holosig "$@"; }
inside --version
inside import /tmp/model.pt /tmp/hparams.json --out /tmp/model.h5
inside inspect /tmp/model.h5
inside embed /tmp/model.h5 --structures /tmp/1orc.pdb --out /tmp/embedded.h5
test -s "$root/tmp/embedded.h5"
grep -q '^holosig ' "$root/opt/elsewhere/licences/crates.txt"
test -s "$root/opt/elsewhere/share/man/man1/holosig-train.1"
bash -n "$root/opt/elsewhere/share/completions/holosig.bash"
echo "the archive runs with nothing but the C library and MPI"
