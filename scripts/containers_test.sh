#!/usr/bin/env bash
# The container recipes: each is built, and its program run, where the tool is there and works (Docker's
# daemon, Apptainer). Where it is not, what a recipe says is compared with the repository: sections,
# files that it copies, the version of Rust, and the libraries that a program built here needs. The last
# line says which recipes were built.
#
#   scripts/containers_test.sh [--dry]   --dry: only compares, which takes a second
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"
scratch containers

recipes=scripts/containers
rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
wrong=0
complain() {
    echo "containers_test: $*" >&2
    wrong=1
}

dry() { # recipe, image of the GPU program or not
    local recipe=$1 file program=holosig
    [[ $recipe == *cuda* ]] && program=holosig-cuda
    grep -q "$rust" "$recipe" || complain "$recipe does not build with Rust $rust"
    grep -q "bin $program" "$recipe" || complain "$recipe does not build $program"
    grep -Eo '/source/[A-Za-z.]+' "$recipe" | sort -u | while read -r file; do
        file=${file#/source/}
        [ "$file" = target ] || [ -e "$file" ] || echo "$recipe copies $file, which is not there"
    done >"$here/missing"
    [ ! -s "$here/missing" ] || complain "$(cat "$here/missing")"
    awk 'tolower($1) ~ /^from:?$/ { stage++ } stage == 2' "$recipe" >"$here/final"
    for file in "${needed[@]}"; do
        grep -qE "(^| )$file[-0-9]" "$here/final" || complain "$recipe does not install ${file//\\/} to run with"
    done
}

# Packages with the libraries that the program is linked with, without their versions; the C library is
# everywhere.
needed=()
if [ -x "$holosig" ] && command -v readelf >/dev/null; then
    mapfile -t needed < <(readelf -d "$holosig" |
        sed -nE 's/.*\(NEEDED\).*\[(lib[a-z0-9+]*).*/\1/p' |
        sed -E '/^lib(c|m|gcc)$/d; s/^libmpi.*/libopenmpi/; s/\+/\\+/g')
fi

for recipe in "$recipes"/Dockerfile "$recipes"/Dockerfile.cuda; do
    dry "$recipe"
    # Every line begins with an instruction, a comment or the rest of the line before it.
    awk '/^#/ || /^$/ { next }
         !rest && !/^(FROM|RUN|COPY|ENV|WORKDIR|CMD) / { print FILENAME ": line " FNR ": " $0 }
         { rest = /\\$/ }' "$recipe" >"$here/lines"
    [ ! -s "$here/lines" ] || complain "$(cat "$here/lines")"
    [ "$(grep -c '^FROM ' "$recipe")" = 2 ] || complain "$recipe: two stages are meant"
done
for recipe in "$recipes"/holosig.def "$recipes"/holosig-cuda.def; do
    dry "$recipe"
    [ "$(grep -c '^Bootstrap: docker$' "$recipe")" = 2 ] || complain "$recipe: two stages are meant"
    grep -Eo '^%[a-z]+' "$recipe" | grep -vxE '%(files|post|environment|runscript|test|help)' &&
        complain "$recipe: a section that is none"
done
[ $wrong = 0 ] || exit 1
if [ "${1:-}" = --dry ]; then
    echo "the recipes agree with the repository"
    exit 0
fi

built=()
if docker info >/dev/null 2>&1; then
    logged "$here/docker.log" 7200 docker build -q -f "$recipes/Dockerfile" -t holosig-test .
    docker run --rm holosig-test holosig --version
    built+=(Dockerfile)
fi
if command -v apptainer >/dev/null; then
    logged "$here/apptainer.log" 7200 apptainer build "$here/holosig.sif" "$recipes/holosig.def"
    apptainer exec "$here/holosig.sif" holosig --version
    built+=(holosig.def)
fi
if [ ${#built[@]} = 0 ]; then
    not_tested "building containers" "neither Docker's daemon nor Apptainer is here; the recipes agree with the repository"
fi
echo "built and run: ${built[*]}"
