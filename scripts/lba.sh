#!/usr/bin/env bash
# The paper's experiment on ATOM3D's ligand binding affinity (LBA), split at 30 % or 60 % sequence
# identity, beside published results:
#
#   scripts/lba.sh MODEL FOLDER OUT [more options of holosig regress]
#
# MODEL: a checkpoint or the folder of a run. FOLDER: what ATOM3D's archive unpacks to (with
# data/train/data.mdb, or train/data.mdb; split-by-sequence-identity-30 or -60). $RANKS ranks (8 by
# default).
set -euo pipefail
. "$(dirname "$0")/env.sh"
home=$PWD
cd "$OLDPWD"
if [ $# -lt 3 ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
model=$1 folder=$2 out=$3
shift 3
launch() { mpirun -np "${RANKS:-8}" "$holosig" "$@"; }
# Complexes that cannot be used are named and left out: exit code 3.
some() { "$@" || [ $? -eq 3 ]; }

[ -e "$folder/train/data.mdb" ] || folder=$folder/data
for part in train val test; do
    if [ ! -e "$folder/$part/data.mdb" ]; then
        echo "lba: $folder: no $part/data.mdb: not an unpacked split of ATOM3D's LBA" >&2
        exit 2
    fi
done
mkdir -p "$out"
some launch pockets "$model" --complexes "$folder" --out "$out/pockets.h5"
some launch regress "$out/pockets.h5" --out "$out/affinity" "$@"
"$holosig" report "$out/affinity"

case $folder in
*60*) echo "published results of the 60 % split: table of Townshend et al." ;;
*)
    cat <<'TABLE'

published, 30 % split              RMSD   Pearson  Spearman
3DCNN (Townshend et al. 2021)      1.416   0.550    0.553
GNN   (Townshend et al. 2021)      1.601   0.545    0.533
HoloProt (Somnath et al. 2021)     1.464   0.509    0.500
TABLE
    ;;
esac
echo "Townshend et al., ATOM3D, NeurIPS Datasets and Benchmarks 2021; Somnath et al., NeurIPS 2021"
