#!/usr/bin/env bash
# Does to a training run what happens to it on a cluster, over and over, and then compares it with
# a run that nothing happened to:
#
#   scripts/fault_campaign.sh --minutes 10 --seed 1      or: --faults 200 --seed 1
#
# Kills (KILL, TERM, USR1) and stops (STOP) random ranks at random moments, kills the launcher,
# fills the disk, starts a second job in the same folder, damages checkpoints and metrics between restarts, and changes
# the number of ranks at every restart (1, 2, 3, 4, 8). After each fault the newest whole
# checkpoint must have the bits of the undisturbed run at that step. Prints a table; exits with 1
# if anything was lost.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"

minutes=0 faults=0 seed=1
while [ $# -gt 0 ]; do
    case $1 in
    --minutes) minutes=$2 ;;
    --faults) faults=$2 ;;
    --seed) seed=$2 ;;
    *)
        echo "usage: scripts/fault_campaign.sh (--minutes M | --faults N) [--seed S]" >&2
        exit 2
        ;;
    esac
    shift 2
done
if [ "$minutes" = 0 ] && [ "$faults" = 0 ]; then minutes=1; fi

# A small disk of its own, to be filled, where this user may mount one.
if [ -z "${CAMPAIGN_DISK:-}" ]; then
    scratch campaign
    export CAMPAIGN_DISK=$here
    arguments=(--minutes "$minutes" --faults "$faults" --seed "$seed")
    status=0
    if unshare -m true 2>/dev/null; then
        unshare -m bash -c 'mount -t tmpfs -o size=256m tmpfs "$CAMPAIGN_DISK" &&
            mkdir "$CAMPAIGN_DISK/more" && mount -t tmpfs tmpfs "$CAMPAIGN_DISK/more" && exec "$@"' \
            bash "$0" "${arguments[@]}" || status=$?
    else
        "$0" "${arguments[@]}" || status=$?
    fi
    exit $status
fi

RANDOM=$seed
holosig=$(realpath "${CARGO_TARGET_DIR:-target}/release/holosig")
here=$CAMPAIGN_DISK # what fills up
more=$here/more     # what does not
mkdir -p "$more"
run=$here/run
own_disk=$(mountpoint -q "$here" && echo yes || echo no)
export RAYON_NUM_THREADS=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none
worlds=(1 2 3 4 8)
every=5
kinds=(KILL TERM USR1 STOP KILL TERM USR1 STOP second launcher)
[ $own_disk = no ] || kinds+=(full)

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
batch = 256
slices = 8
seed = $seed
steps = 1000000
checkpoint_every = $every
evaluations_per_epoch = 1
log_every = 1
stall_timeout = 5.0
END

now() { echo $(($(date +%s%N) / 1000000)); }
pick() { eval "echo \"\${$1[RANDOM % \${#$1[@]}]}\""; }
train=("$holosig" train "$here/job.toml" --out "$run" --restart auto)
ranks_of() { cat "/proc/$1/task/$1/children" 2>/dev/null || true; }
# Steps of the checkpoints, newest first.
steps() { find "$run/checkpoints" -name 'step-*.h5' 2>/dev/null | sed 's/.*step-\(.*\)\.h5/\1/' | sort -rn; }
last_step() { { grep -o '"step":[0-9]*' "$run/metrics.jsonl" 2>/dev/null || echo :0; } | cut -d: -f2 | sort -n | tail -1; }
resumes() { cat "$run/metrics.jsonl" 2>/dev/null | grep -cE '"event":"(start|resume)"' || true; }

# A fault must show within two minutes: what takes longer is a hang. A launcher that stays behind
# when all of its ranks have gone is MPI's own fault; it is killed and counted apart.
mpi_hung=0
ends() { # process, and "rank" if it is one itself
    local limit=$(($(now) + 120000)) ranks
    while kill -0 "$1" 2>/dev/null; do
        if [ "$(now)" -gt $limit ]; then
            ranks=$(for pid in $(ranks_of "$1"); do
                grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null || echo "$pid"
            done)
            [ "${2:-}" != rank ] || ranks=$1
            if [ -n "$ranks" ]; then
                echo "campaign: after two minutes process $1 has these ranks:"
                for pid in $ranks; do grep -hE '^(Name|State|Pid)' "/proc/$pid/status" || true; done
                cat "$run"/.alive/rank-* 2>/dev/null || true
                kill -KILL $ranks "$1" 2>/dev/null || true
                return 1
            fi
            kill -KILL "$1" 2>/dev/null || true
            mpi_hung=$((mpi_hung + 1))
            return 0
        fi
        sleep 0.02
    done
}

damage() { # what happens to files while nobody runs
    local list newest
    mapfile -t list < <(steps)
    [ ${#list[@]} -ge 3 ] || return 0
    newest=$run/checkpoints/step-${list[0]}.h5
    case $((RANDOM % 8)) in
    0) # flip one bit
        local size at byte
        size=$(stat -c %s "$newest")
        at=$((RANDOM * 32768 + RANDOM)) && at=$((at % size))
        byte=$(od -An -tu1 -j $at -N1 "$newest")
        printf "$(printf '\\x%02x' $((byte ^ (1 << RANDOM % 8))))" |
            dd of="$newest" bs=1 seek=$at conv=notrunc status=none
        damaged=flipped
        ;;
    1)
        truncate -s $(($(stat -c %s "$newest") * (RANDOM % 100) / 100)) "$newest"
        damaged=truncated
        ;;
    2)
        rm -f "$run/checkpoints/last.h5" # killed between the checkpoint and its second name
        damaged=unlinked
        ;;
    3)
        head -c $((RANDOM % 50000)) "$newest" >"$run/checkpoints/.step-9.h5.99999.part"
        damaged=leftover
        ;;
    4)
        printf '{"event":"train","st' >>"$run/metrics.jsonl"
        damaged="half line"
        ;;
    esac
}

tried=() rows=() checks=() losses=0 lost=0 total_restart=0 restarts=0
deadline=$(($(now) + minutes * 60000))
shm_before=$(find /dev/shm -maxdepth 1 -newer "$here/job.toml" | wc -l)
begun=$(now)
count=0
while :; do
    if [ "$faults" -gt 0 ]; then
        [ $count -lt "$faults" ] || break
    else
        [ "$(now)" -lt $deadline ] || break
    fi
    count=$((count + 1))
    kind=$(pick kinds)
    world=$(pick worlds)
    # Nobody is left to notice that the only rank is stopped.
    [ "$kind" != STOP ] || [ "$world" != 1 ] || world=2
    before=$(resumes)
    log=$more/log
    launched=$(now)
    mpirun -np "$world" "${train[@]}" >"$log" 2>&1 &
    launcher=$!
    # Any moment: from the first instant of the launcher to long after the first steps.
    sleep "$((RANDOM % 3)).$((RANDOM % 10))$((RANDOM % 10))"
    phase="before MPI"
    struck=$(now)
    noted=-
    case $kind in
    full)
        phase=running
        head -c 1G /dev/zero >"$here/filler" 2>/dev/null || true
        ends $launcher || kind=hang
        rm -f "$here/filler"
        ;;
    second)
        phase=running
        for _ in {1..200}; do
            [ "$(resumes)" -eq "$before" ] || break
            sleep 0.1
        done
        struck=$(now)
        mpirun -np 2 "${train[@]}" >"$more/second" 2>&1 &
        second=$!
        # One of them, whichever comes second to the lock, is refused.
        limit=$(($(now) + 120000))
        while kill -0 $second 2>/dev/null && kill -0 $launcher 2>/dev/null; do
            [ "$(now)" -lt $limit ] || { kind=hang && break; }
            sleep 0.05
        done
        # mpirun loses a signal that comes while it starts: say it again.
        while kill -USR1 $launcher $second; do sleep 2; done >/dev/null 2>&1 &
        ends $launcher || kind=hang
        ends $second || kind=hang
        cat "$more/second" >>"$log"
        ;;
    launcher) # the ranks must notice, and go
        phase=running
        mapfile -t pids < <(ranks_of $launcher | tr ' ' '\n' | grep . || true)
        kill -KILL $launcher
        for pid in "${pids[@]}"; do ends "$pid" rank || kind=hang; done
        ;;
    *)
        mapfile -t pids < <(ranks_of $launcher | tr ' ' '\n' | grep . || true)
        if [ ${#pids[@]} -gt 0 ]; then
            rank=$((RANDOM % ${#pids[@]}))
            phase=$(grep -o '"phase":"[^"]*"' "$run/.alive/rank-$rank" 2>/dev/null | cut -d'"' -f4 || true)
            phase=${phase:-starting}
            kill -$kind "${pids[rank]}" 2>/dev/null || true
        else
            kind=launcher
            kill -KILL $launcher 2>/dev/null || true
        fi
        # A signal that comes before the program listens kills it.
        ends $launcher || kind=hang
        ;;
    esac
    took=$(($(now) - struck))
    wait $launcher 2>/dev/null || true

    # Did the run come up, and how fast? (Rank 0 writes a line when it goes on.)
    after=$(resumes)
    if [ "$after" -gt "$before" ]; then
        at=$(grep -E '"event":"(start|resume)"' "$run/metrics.jsonl" | tail -1 | grep -o '"time":[0-9.]*' | cut -d: -f2)
        restart=$(awk -v t="$at" -v l=$launched 'BEGIN { printf "%d", t * 1000 - l }')
        if [ "$restart" -ge 0 ]; then
            total_restart=$((total_restart + restart))
            restarts=$((restarts + 1))
        fi
    fi
    case $kind in
    launcher) noted=- ;;
    STOP) grep -qE 'no sign of life from|wait for rank|never started|has died|no progress for' "$log" && noted=named || noted=silent ;;
    TERM | USR1) grep -qE 'resume with --resume|exited on signal' "$log" && noted=named || noted=silent ;;
    KILL) grep -qE 'has died|exited on signal' "$log" && noted=named || noted=silent ;;
    full) grep -q 'No space left' "$log" && noted=named || noted=silent ;;
    second) grep -q 'in use by process' "$log" && noted=named || noted=silent ;;
    hang)
        losses=$((losses + 1))
        echo "campaign: fault $count: still running after two minutes:" && tail -5 "$log"
        ;;
    esac
    # The hash of the newest whole checkpoint is compared at the end.
    made=$(last_step)
    for newest in $(steps); do
        if hash=$("$holosig" hash "$run/checkpoints/step-$newest.h5" 2>>"$log"); then
            checks+=("$newest $hash")
            lost=$((lost + (made > newest ? made - newest : 0)))
            break
        fi
    done
    damaged=
    damage
    rows+=("$kind|$noted|$took")
    tried+=("$(printf '%3d %-6s %d ranks, %-20s ended after %5d ms, %-6s step %s %s' \
        $count "$kind" "$world" "$phase" "$took" "$noted" "$made" "${damaged:+; then $damaged}")")
    echo "${tried[-1]}"
    if grep -qE 'a bug in holosig|panicked' "$log"; then
        echo "campaign: a crash of our own:" && cat "$log"
        losses=$((losses + 1))
    fi
    if grep -qE 'none of [0-9]+ checkpoints can be used|holds a run already' "$log"; then
        echo "campaign: the run was lost:" && cat "$log"
        losses=$((losses + 1))
    fi
done
campaign=$(($(now) - begun))

# The end: a little further, undisturbed, and the same from the start in another folder.
final=$(($(last_step) + 10))
bounded 3600 mpirun -np 2 "${train[@]}" --set train.steps=$final >"$more/log" 2>&1 || { cat "$more/log"; losses=$((losses + 1)); }
bounded 3600 mpirun -np 2 "$holosig" train "$here/job.toml" --out "$more/run" --set train.steps=$final \
    --set train.checkpoint_every=1 --set train.keep=1000000 >"$more/log" 2>&1 || {
    echo "campaign: the undisturbed run failed:" && cat "$more/log"
    exit 1
}
same=0 different=0
for check in "${checks[@]}"; do
    read -r step hash <<<"$check"
    if [ "$hash" = "$("$holosig" hash "$more/run/checkpoints/step-$step.h5")" ]; then
        same=$((same + 1))
    else
        different=$((different + 1))
        echo "campaign: step $step: $hash differs from the undisturbed run" >&2
    fi
done
end=no
[ "$("$holosig" hash "$run/checkpoints/last.h5")" != "$("$holosig" hash "$more/run/checkpoints/last.h5")" ] || end=yes
leaked=$(find "$run" -name '.*' ! -path "$run" | wc -l)
shm=$(($(find /dev/shm -maxdepth 1 -newer "$here/job.toml" | wc -l) - shm_before))

echo
printf '| %-7s | %5s | %5s | %16s | %16s |\n' fault tried named "end, median (s)" "end, longest (s)"
printf '|---|---|---|---|---|\n'
for kind in KILL TERM USR1 STOP launcher full second hang; do
    printf '%s\n' "${rows[@]}" | awk -F'|' -v kind=$kind '
        $1 == kind { n++; named += ($2 == "named"); t[n] = $3 }
        END {
            if (!n) exit
            for (i = 2; i <= n; i++) for (j = i; j > 1 && t[j - 1] > t[j]; j--) { x = t[j]; t[j] = t[j - 1]; t[j - 1] = x }
            printf "| %-7s | %5d | %5d | %16.1f | %16.1f |\n", kind, n, named, t[int((n + 1) / 2)] / 1000, t[n] / 1000
        }'
done
echo
echo "faults tried             $count in $((campaign / 1000)) s (seed $seed)"
echo "survived                 $((count - losses))"
echo "checkpoints compared     ${#checks[@]}, of which the same bits as undisturbed: $same"
echo "final bits the same      $end (step $final)"
echo "steps made twice         $lost ($(awk -v l=$lost -v c=$count 'BEGIN { printf "%.1f", l / c }') per fault; a checkpoint every $every steps)"
echo "restart, mean            $((restarts ? total_restart / restarts : 0)) ms from the launch of mpirun to the first step ($restarts starts)"
echo "launchers that hung       $mpi_hung, all of their ranks gone"
echo "temporary files left     $leaked in the run folder, $shm of MPI in /dev/shm"
[ $losses -eq 0 ] && [ $different -eq 0 ] && [ $end = yes ] && [ "$leaked" = 0 ]
