#!/usr/bin/env bash
# Complexes with made-up affinities, for a first try of pockets and regression:
#
#   scripts/made_complexes.sh FOLDER
#
# Coordinates are those of tests/structures (wwPDB, CC0; PROVENANCE.md there). Every seventh residue on,
# three residues of a chain are cut out and play the ligand; the residues before and behind them are
# left out. The affinity is no measurement:
#
#   pK = 3 + 0.012 a + 0.05 p + noise
#
# with a the pairs of carbon or sulphur atoms within 5 Å, p the pairs of nitrogen or oxygen atoms within
# 3.5 Å, noise even within 0.5. So it is known what there is to be found: contacts.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
out=${1:?"made_complexes: a folder is needed"}
mkdir -p "$out"
echo "id,protein,ligand,pK,group" >"$out/complexes.csv"
for name in 1A8O 1AFS 1K1I 1QBS 1US0 1orc 2BEG 2XHE 7DDO pdb1ubi pdb3hsy; do
    file=$here/tests/structures/$name.pdb
    { if [ -e "$file" ]; then cat "$file"; else gzip -dc "$file.gz"; fi; } |
        awk -v name="$name" -v out="$out" -f "$here/scripts/made_complexes.awk" >>"$out/complexes.csv"
done
