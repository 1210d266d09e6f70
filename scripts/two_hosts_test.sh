#!/usr/bin/env bash
# Two hosts on this machine: two network namespaces with a rate-limited link between them, and
# mpirun over TCP. A run on both must have the bits of a run on one; then the link is cut in
# mid-run, and the watchdogs must end the job. Needs root and Open MPI.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"

rate=${1:-1gbit}
[ "$(id -u)" = 0 ] || not_tested "two hosts" "network namespaces need root"
for program in ip tc unshare; do command -v $program >/dev/null || not_tested "two hosts" "no $program"; done
mpirun --version | grep -q "Open MPI" || not_tested "two hosts" "the options are those of Open MPI"

holosig=$(realpath "${CARGO_TARGET_DIR:-target}/release/holosig")
scratch hosts
a=hs-a-$$ b=hs-b-$$
finish() {
    for ns in $a $b; do
        for pid in $(ip netns pids $ns 2>/dev/null); do kill -KILL "$pid" 2>/dev/null; done
        ip netns del $ns 2>/dev/null
    done
}
ip netns add $a 2>/dev/null || not_tested "two hosts" "no right to make network namespaces"
link() {
    ip netns add $b && ip link add va$$ netns $a type veth peer name vb$$ netns $b &&
        ip -n $a addr add 10.77.0.1/24 dev va$$ && ip -n $b addr add 10.77.0.2/24 dev vb$$ &&
        ip -n $a link set lo up && ip -n $b link set lo up &&
        ip -n $a link set va$$ up && ip -n $b link set vb$$ up &&
        ip netns exec $a tc qdisc add dev va$$ root tbf rate "$rate" burst 256kb latency 50ms &&
        ip netns exec $b tc qdisc add dev vb$$ root tbf rate "$rate" burst 256kb latency 50ms
}
link || not_tested "two hosts" "this kernel makes no rate-limited link between namespaces"

# Runs a command as on the host of an address: its network, name and shared memory.
cat >"$here/host.sh" <<END
#!/bin/bash
case \$1 in 10.77.0.1) ns=$a name=host-a ;; *) ns=$b name=host-b ;; esac
shift
exec ip netns exec \$ns unshare --uts --mount bash -c \\
    'hostname '\$name'; mount -t tmpfs none /dev/shm; export TMPDIR=/dev/shm; '"\$*"
END
chmod +x "$here/host.sh"
export RAYON_NUM_THREADS=1
on_both() {
    bounded 600 "$here/host.sh" 10.77.0.1 "mpirun --mca plm_rsh_agent $here/host.sh --host 10.77.0.1:1,10.77.0.2:1 \
        -np 2 --mca btl tcp,vader,self --mca btl_tcp_if_include 10.77.0.0/24 \
        --mca oob_tcp_if_include 10.77.0.0/24 -x RAYON_NUM_THREADS $*"
}

cat >"$here/job.toml" <<END
task = "hvae"

[data]
dataset = "$PWD/jobs/quickstart.h5"

[model]
latent_dim = 64
channels = [32, 32, 32, 48, 64, 64]
degrees = [4, 4, 4, 4, 2, 1]
projection = 32

[zernike]
lmax = 4
nmax = 20

[train]
batch = 128
slices = 2
steps = 60
checkpoint_every = 20
evaluations_per_epoch = 1
stall_timeout = 4.0
END
speed() { # samples per second of the logged steps but the first
    grep '"event":"train"' "$1/metrics.jsonl" | grep -o '"samples_per_second":[0-9.]*' |
        cut -d: -f2 | tail -n +2 | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
bounded 600 "$holosig" train "$here/job.toml" --out "$here/one" >"$here/one.log" 2>&1
bounded 600 mpirun -np 2 "$holosig" train "$here/job.toml" --out "$here/local" >"$here/local.log" 2>&1
on_both "$holosig" train "$here/job.toml" --out "$here/two" >"$here/two.log" 2>&1
grep -q "2 on host-a, host-b" "$here/two.log"
one=$("$holosig" hash "$here/one/checkpoints/last.h5")
[ "$one" = "$("$holosig" hash "$here/two/checkpoints/last.h5")" ]
echo "two hosts: the same bits as one ($one)"
awk -v one="$(speed "$here/one")" -v local="$(speed "$here/local")" -v two="$(speed "$here/two")" -v rate="$rate" 'BEGIN {
    printf "samples/s: one rank %.0f; two ranks of one host %.0f (efficiency %.2f); of two hosts at %s %.0f (%.2f)\n",
        one, local, local / one / 2, rate, two, two / one / 2 }'

# The model of `holosig scale` on this pair of hosts, against its real steps.
on_both "$holosig" scale "$here/job.toml" --measure "$here/two-hosts.toml" >"$here/measure.log" 2>&1
grep -A 2 '^\[between\]' "$here/measure.log" | tail -n 2 | tr '\n' ' '
on_both "$holosig" scale "$here/job.toml" --machine "$here/two-hosts.toml" --check 2>"$here/check.log"

on_both "$holosig" train "$here/job.toml" --set train.steps=100000 --out "$here/cut" >"$here/cut.log" 2>&1 &
launcher=$!
writes() { [ -e "$here/cut/checkpoints/last.h5" ] || none_running $launcher; }
within 300 writes
running $launcher
ip -n $a link set va$$ down
cut=$(date +%s%N)
within 90 none_running $launcher
status=0
wait $launcher || status=$?
[ $status -ne 0 ]
ended=$(date +%s%N)
grep -E "wait for each other|no sign of life|has died" "$here/cut.log" | head -3
echo "two hosts: link cut; the launcher ended $(((ended - cut) / 1000000)) ms later with status $status (train.stall_timeout = 4 s)"
# What is left of mpirun's own daemons goes when TCP gives up; no rank may be left.
for pid in $(ip netns pids $a; ip netns pids $b); do
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != holosig ] || { echo "two hosts: a rank is left" >&2; exit 1; }
done
