#!/usr/bin/env bash
# Measures this machine with a job, all cores at work, and compares the model of `holosig scale`
# with the job's real steps on 1, 2 and 4 ranks:
#
#   scripts/scale_check.sh [JOB.toml [MACHINE.toml [--set KEY=VALUE ...]]]
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"

job=${1:-jobs/quickstart.toml}
machine=${2:-$(mktemp -d)/here.toml}
shift $(($# < 2 ? $# : 2))
holosig=$(realpath "${CARGO_TARGET_DIR:-target}/release/holosig")
# One thread per rank; ranks that wait leave the core to others when there are more than cores.
export RAYON_NUM_THREADS=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none
cores=$(nproc)
bounded 1800 mpirun -np $((cores > 1 ? cores : 2)) "$holosig" scale "$job" "$@" --measure "$machine"
for ranks in 1 2 4; do
    bounded 1800 mpirun -np $ranks "$holosig" scale "$job" "$@" --machine "$machine" --check
done
