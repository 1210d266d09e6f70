#!/usr/bin/env bash
# A memory limit under which replicated optimizer state does not fit and sharded state does: four
# ranks train a large H-AE in a control group, as schedulers make them.
# Needs root and a memory controller (version 1 or 2).
#
#   scripts/memory_test.sh [CHANNELS]      1024: 34 million parameters; they grow with the square
set -euo pipefail
. "$(dirname "$0")/env.sh"

not_tested() {
    printf '\n*** MEMORY NOT TESTED: %s ***\n\n' "$*" >&2
    exit 0
}
channels=${1:-1024}
holosig=$(realpath "${CARGO_TARGET_DIR:-target}/release/holosig")
here=$(mktemp -d /tmp/memory.XXXXXX)
root=/sys/fs/cgroup
group=holosig-$$
if [ -d $root/memory ]; then
    folder=$root/memory/$group limit=memory.limit_in_bytes
else
    folder=$root/$group limit=memory.max
fi
finish() {
    status=$?
    trap - EXIT
    # The kernel takes a moment to forget killed ranks.
    for _ in 1 2 3 4 5; do rmdir "$folder" 2>/dev/null && break || sleep 1; done
    [ $status -eq 0 ] || tail -n 20 "$here"/*.log >&2
    rm -rf "$here"
    exit $status
}
trap finish EXIT
mkdir "$folder" 2>/dev/null || not_tested "no right to make control groups"
[ -w "$folder/$limit" ] || not_tested "no memory controller"

cat >"$here/job.toml" <<END
[data]
dataset = "$PWD/jobs/quickstart.h5"
batch = 4
slices = 4
residues = { train = 40, validation = 20, test = 20 }

[zernike]
lmax = 1
nmax = 4

[model]
latent_dim = 64
channels = [$channels, $channels, $channels, $channels]
projection = $channels

[train]
steps = 3
log_every = 1
checkpoint_every = 3
END
export RAYON_NUM_THREADS=1
train() { # optimizer state, options
    mpirun -np 4 --oversubscribe bash -c "echo \$\$ >$folder/cgroup.procs; exec \"\$0\" \"\$@\"" \
        "$holosig" train "$here/job.toml" --out "$here/$1" --set train.optimizer_state="\"$1\"" "${@:2}"
}
# On four ranks 24 values per parameter when replicated, 15 when sharded; on rank 0 up to 3 more for
# a checkpoint (256 MiB when sharded), and what the allocator keeps. In between:
train sharded --dry-run >"$here/dry.log" 2>&1
parameters=$(awk '$1 == "parameters" { print $2 }' "$here/dry.log")
bytes=$((parameters * 4 * 23 + 550000000))
echo $bytes >"$folder/$limit"
echo "$parameters parameters on 4 ranks, $((bytes >> 20)) MiB for all of them"
if train replicated >"$here/replicated.log" 2>&1; then
    echo "memory: the replicated state fits, the limit is too wide" >&2
    exit 1
fi
grep -q "signal 9" "$here/replicated.log"
echo "replicated state: killed for want of memory"
train sharded >"$here/sharded.log" 2>&1
grep -o "done: .* per rank" "$here/sharded.log"
"$holosig" inspect "$here/sharded/checkpoints/last.h5" | grep -E "parameters|step"
