#!/bin/bash
# Trains without a scheduler, on the hosts of a file (`node1 slots=2`, one host per line; they are
# reached by ssh and see the same folders):
#
#   HOSTFILE=hosts jobs/train.sh jobs/hae-z128-l6.toml --out runs/hae-z128-l6
#
# After any failure but a mistake in the input it starts again from the last good checkpoint, at
# most HOLOSIG_MAX_RESTARTS (3) times. TERM or USR1 writes a checkpoint and ends it with 75; the
# same command goes on from there.
set -uo pipefail

launch=${HOLOSIG_LAUNCH:-mpirun --hostfile ${HOSTFILE:?a file of hosts is needed} --bind-to none -x HDF5_USE_FILE_LOCKING=FALSE}
# A rank's threads: its share of the host's cores unless you say otherwise.
[ -z "${RAYON_NUM_THREADS:-}" ] || launch="$launch -x RAYON_NUM_THREADS"
# The program for GPUs where it was built and the node has one; HOLOSIG names another.
program=${HOLOSIG:-}
if [ -z "$program" ]; then
    program=target/release/holosig
    if [ -e "${HOLOSIG_GPU:-/dev/nvidiactl}" ]; then
        if [ -x "$program-cuda" ]; then
            program=$program-cuda
        else
            echo "$(hostname) has a GPU, but $program-cuda is not built (docs/gpu.md): computing on CPUs" >&2
        fi
    fi
fi
# What it lacks here is told before anything starts.
if ! command -v "$program" >/dev/null; then
    echo "$program: no such program; build it, or name another in HOLOSIG" >&2
    exit 2
fi

launcher=
stop=0
# mpirun loses a signal that comes while it starts: say it until the launcher has ended.
warn() {
    stop=1
    while kill -USR1 $launcher; do sleep 5; done >/dev/null 2>&1 &
}
trap warn USR1 TERM INT

restarts=0
while :; do
    $launch "$program" train "$@" --restart auto &
    launcher=$!
    # A trap cuts `wait` short: wait again for the ranks to finish their checkpoint.
    while wait $launcher; status=$?; [ $status -gt 128 ] && kill -0 $launcher 2>/dev/null; do :; done
    # 0: done. 2: a mistake, which no restart mends. 75: stopped with a checkpoint. 127: a host
    # lacks a library of the program (for holosig-cuda NVIDIA's driver).
    case $status in 0 | 2 | 75 | 127) break ;; esac
    [ $stop -eq 1 ] && break
    [ $restarts -ge "${HOLOSIG_MAX_RESTARTS:-3}" ] && break
    restarts=$((restarts + 1))
    echo "ended with status $status: restart $restarts from the last good checkpoint"
done
exit $status
