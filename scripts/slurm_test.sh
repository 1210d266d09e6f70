#!/usr/bin/env bash
# A real Slurm on this machine: two nodes (two slurmd), a job of jobs/train.sbatch on both, told to
# stop by the signal that Slurm sends before a time limit, requeued, and finished. Its bits must be
# those of an uninterrupted run. Needs root, and slurmctld, slurmd and munged (Debian: slurm-wlm,
# munge; `scripts/setup.sh --with-slurm` installs them). Uses no file outside a temporary folder.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"

# Why Slurm was not tested; that is a failure where CI is set.
without() {
    [ -z "${CI:-}" ] || { echo "slurm: $*" >&2 && exit 1; }
    not_tested slurm "$@"
}
[ "$(id -u)" = 0 ] || without "slurmd needs root"
scripts/setup.sh --with-slurm >/dev/null || true
for program in slurmctld slurmd munged sbatch scontrol scancel squeue; do
    command -v $program >/dev/null || without "$program is missing; scripts/setup.sh --with-slurm"
done

holosig=$(realpath "${CARGO_TARGET_DIR:-target}/release/holosig")
scratch slurm

# Slurm's parts wait for each other: a step daemon repeats for ever what its controller does not
# answer, and slurmd waits for its step daemons. So first no job, then the nodes, then the
# controller, then munge, through which all of them speak.
munged='' slurmctld='' nodes=()
no_jobs() { local queue && queue=$(timeout 20 squeue -h) && [ -z "$queue" ]; }
finish() {
    if [ -n "$slurmctld" ] && ! no_jobs; then
        timeout 20 scancel --user=root
        within 30 no_jobs
    fi
    stop 15 "${nodes[@]}"
    stop 15 $slurmctld
    stop 15 $munged
}

# Ports that nothing listens on.
port=$((20000 + RANDOM % 20000))
mkdir -p "$here"/{munge,state,spool/n1,spool/n2,tmp/n1,tmp/n2}
chmod 755 "$here"
host=$(hostname -s)
cat >"$here/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$here/munge/socket
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$port
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd-%n.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd-%n.log
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool/%n
TmpFS=$here/tmp/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=5
JobRequeue=1
SlurmdParameters=config_overrides
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 2))] CPUs=2 Sockets=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF=$here/slurm.conf

head -c 1024 /dev/urandom >"$here/munge/key"
chmod 700 "$here/munge"
chmod 400 "$here/munge/key"
munged --foreground --force --socket="$here/munge/socket" --key-file="$here/munge/key" \
    --pid-file="$here/munge/pid" --seed-file="$here/munge/seed" --log-file="$here/munge/log" \
    >"$here/munged.log" 2>&1 &
munged=$!
chmod 755 "$here/munge"
within 20 test -S "$here/munge/socket" || without "munged does not come up"
slurmctld -D -f "$SLURM_CONF" >"$here/ctld-out.log" 2>&1 &
slurmctld=$!
for node in n1 n2; do
    slurmd -D -f "$SLURM_CONF" -N $node >"$here/$node-out.log" 2>&1 &
    nodes+=($!)
done
idle() { [ "$(timeout 20 sinfo -h -t idle -o %D 2>/dev/null)" = 2 ]; }
within 30 idle || without "its daemons do not come up"

cat >"$here/job.toml" <<END
task = "hvae"

[data]
dataset = "$PWD/jobs/quickstart.h5"

[zernike]
lmax = 2
nmax = 8

[model]
latent_dim = 8
channels = [8, 8, 8]
projection = 8
variational = true

[train]
batch = 64
slices = 4
steps = 1000
checkpoint_every = 50
END
bounded 600 "$holosig" train "$here/job.toml" --out "$here/whole" >"$here/whole.log" 2>&1

# Both nodes are this host: the ranks must not share memory under the host's name.
export OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=lo HOLOSIG=$holosig RAYON_NUM_THREADS=1
id=$(bounded 60 sbatch --parsable --nodes 2 --ntasks-per-node 1 --output "$here/job.log" \
    jobs/train.sbatch "$here/job.toml" --out "$here/run")
is() { timeout 20 scontrol show job "$id" | grep -qE "JobState=($1)"; }
saved() { [ -e "$here/run/checkpoints/last.h5" ]; }

within 120 saved
# What --signal=B:USR1@120 does two minutes before the time limit.
bounded 60 scancel --batch --signal=USR1 "$id"
within 60 is PENDING
# Slurm holds a requeued job back for two minutes; the first step's daemons must have gone.
gone() { ! compgen -G "$here/spool/n*/*.pmix.*" >/dev/null && ! pgrep -f "slurmstepd: \[$id\." >/dev/null; }
within 60 gone
released() { timeout 20 scontrol update JobId="$id" StartTime=now 2>/dev/null; }
within 30 released
within 240 is "COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL"

is COMPLETED
scontrol show job "$id" | grep -q "Restarts=1"
grep -q "stopped by a signal after step" "$here/job.log"
grep -q "resuming from" "$here/job.log"
grep -q "ranks  2 on" "$here/job.log"
whole=$("$holosig" hash "$here/whole/checkpoints/last.h5")
run=$("$holosig" hash "$here/run/checkpoints/last.h5")
[ "$whole" = "$run" ]

# The script that the program itself writes and submits.
unset HOLOSIG
bounded 120 "$holosig" submit "$here/job.toml" --nodes 2 --ranks-per-node 1 --time 00:10:00 \
    --set train.steps=100 --out "$here/a run" >"$here/submit.log" 2>&1
# The end as Slurm sees it: the run folder says "finished" while Slurm still ends the step.
within 240 no_jobs
within 60 idle
"$holosig" status "$here/a run" | grep -q ": finished, step 100 of 100"
echo "slurm: a job on two nodes, stopped by a signal, requeued and finished: the same bits as" \
    "without ($run)"
