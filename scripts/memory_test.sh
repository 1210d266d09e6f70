#!/usr/bin/env bash
# A memory limit under which replicated optimizer state does not fit and sharded state does: four
# ranks train a large H-AE in a control group, as schedulers make them.
# Needs root and a memory controller (version 1 or 2).
#
#   scripts/memory_test.sh [CHANNELS [VALUES]]
#
# 1024 channels make 34 million parameters, 2900 make 270 million, 5600 a billion (10^9); they grow
# with the square. VALUES of 4 bytes per parameter are what all ranks together may have.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"

channels=${1:-1024}
# On four ranks a parameter takes 16 values when the state is replicated, 10 when it is sharded; on
# rank 0 up to 3 more for a checkpoint (256 MiB when sharded).
values=${2:-13}
holosig=$(realpath "${CARGO_TARGET_DIR:-target}/release/holosig")
scratch memory
root=/sys/fs/cgroup
group=holosig-$$
if [ -d $root/memory ]; then
    folder=$root/memory/$group limit=memory.limit_in_bytes
else
    folder=$root/$group limit=memory.max
fi
finish() {
    kill_left_behind
    # The kernel takes a moment to forget killed ranks.
    [ ! -d "$folder" ] || within 5 rmdir "$folder" 2>/dev/null
}
mkdir "$folder" 2>/dev/null || not_tested memory "no right to make control groups"
[ -w "$folder/$limit" ] || not_tested memory "no memory controller"

cat >"$here/job.toml" <<END
task = "hvae"

[data]
dataset = "$PWD/jobs/quickstart.h5"
residues = { train = 40, validation = 20, test = 20 }

[zernike]
lmax = 1
nmax = 4

[model]
latent_dim = 64
channels = [$channels, $channels, $channels, $channels]
projection = $channels

[train]
batch = 4
slices = 4
steps = 3
log_every = 1
checkpoint_every = 3
END
export RAYON_NUM_THREADS=1
train() { # optimizer state, options
    bounded 3600 mpirun -np 4 --oversubscribe bash -c "echo \$\$ >$folder/cgroup.procs; exec \"\$0\" \"\$@\"" \
        "$holosig" train "$here/job.toml" --out "$here/$1" --set train.optimizer_state="\"$1\"" "${@:2}"
}
# The leading term of their number, and what activations and the allocator take.
parameters=$((32 * channels * channels))
bytes=$((parameters * 4 * values + 700000000))
echo $bytes >"$folder/$limit"
# Swap counts, too; version 1 has a file for it only where it was switched on.
[ ! -w "$folder/memory.memsw.limit_in_bytes" ] || echo $bytes >"$folder/memory.memsw.limit_in_bytes"
echo "about $((parameters / 1000000)) million parameters on 4 ranks, $((bytes >> 20)) MiB for all of them"
if train replicated >"$here/replicated.log" 2>&1; then
    echo "memory: the replicated state fits, the limit is too wide" >&2
    exit 1
fi
grep -qE "signal 9|has died" "$here/replicated.log"
echo "replicated state: killed for want of memory"
train sharded >"$here/sharded.log" 2>&1
grep -o "done: .* per rank" "$here/sharded.log"
"$holosig" inspect "$here/sharded/checkpoints/last.h5" | grep -E "parameters|step"
