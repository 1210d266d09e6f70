# Sourced, after env.sh, by the scripts that start servers or ranks and then look at what they do.
# It makes sure that such a script ends, and that nothing which it started outlives it:
#
#   scratch NAME            makes a temporary folder, $here, which is removed at the end; when the
#                           script fails, the last lines of its *.log files are shown first
#   bounded SECONDS CMD…    runs a command in the foreground; TERM after so many seconds, then KILL
#   logged FILE SECONDS CMD…  the same, with all output into a file that is shown as it grows
#   within SECONDS CMD…     tries a command again and again until it succeeds, at most so long
#   stop SECONDS PID…       TERM, waits at most so long, then KILL
#   not_tested WHAT WHY     ends the script with exit code 77: nothing was tested, and why
#
# At the end of the script, whatever ends it, its function `finish` runs if it has one, and then
# every process that the script has left behind is killed.

# Each process that is started from here on inherits this word, and is found by it: also ranks whose
# launcher was killed, and daemons that have left their session.
started_here=:$$.$RANDOM:
export HOLOSIG_STARTED_BY=${HOLOSIG_STARTED_BY:-}$started_here

running() { grep -qs '^State:.[^ZX]' "/proc/$1/status"; } # a zombie has ended

any_running() {
    local pid
    for pid; do ! running "$pid" || return 0; done
    return 1
}

none_running() { ! any_running "$@"; }

within() {
    local limit=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ $SECONDS -ge $limit ]; then
            echo "$(basename "$0"): waited in vain for: $*" >&2
            return 1
        fi
        sleep 0.2
    done
}

bounded() {
    local status=0
    timeout --foreground --kill-after=20 "$@" || status=$?
    # 124: it went at TERM; 137: it had to be killed.
    case $status in 124 | 137) echo "$(basename "$0"): ended after $1 s: ${*:2}" >&2 ;; esac
    return $status
}

# Not by a pipe: a process that the command leaves behind would keep it open, and its reader waiting.
logged() {
    local file=$1 pid status=0
    shift
    bounded "$@" >"$file" 2>&1 &
    pid=$!
    tail -n +1 -f --pid=$pid "$file"
    wait $pid || status=$?
    return $status
}

stop() {
    local seconds=$1
    shift
    [ $# -gt 0 ] || return 0
    kill -TERM "$@" 2>/dev/null || true
    if ! within "$seconds" none_running "$@" 2>/dev/null; then
        echo "$(basename "$0"): still running $seconds s after TERM, killed:" >&2
        ps -o pid=,args= -p "$(printf '%s,' "$@" | sed 's/,$//')" >&2 || true
        kill -KILL "$@" 2>/dev/null || true
        within 10 none_running "$@" || true
    fi
    # The shell forgets those that were its own.
    wait "$@" 2>/dev/null || true
}

# What this script has started and what still runs, its own subshells included. Slurm's step daemons
# do not inherit the word, but the name of the scratch folder (in SLURM_CONF).
left_behind() {
    local pid marks=(-e "$started_here")
    [ -z "${scratch_folder:-}" ] || marks+=(-e "$scratch_folder/")
    for pid in $({ jobs -p; grep -lsF "${marks[@]}" /proc/[0-9]*/environ | cut -d/ -f3; } | sort -u); do
        ! running "$pid" || echo "$pid"
    done
}

# Kills what is left; again, as long as the killed have started others meanwhile.
kill_left_behind() {
    local pids
    for _ in 1 2 3 4 5; do
        mapfile -t pids < <(left_behind)
        [ ${#pids[@]} -gt 0 ] || return 0
        kill -KILL "${pids[@]}" 2>/dev/null || true
        within 10 none_running "${pids[@]}" || true
    done
    echo "$(basename "$0"): these processes cannot be killed: ${pids[*]}" >&2
}

scratch() {
    here=$(mktemp -d "/tmp/$1.XXXXXX")
    scratch_folder=$here
}

not_tested() {
    printf '\n*** %s NOT TESTED: %s ***\n\n' "${1^^}" "${*:2}" >&2
    exit 77
}

end_of_script() {
    local status=$?
    trap - EXIT
    set +e
    if declare -F finish >/dev/null; then finish; fi
    kill_left_behind
    if [ -n "${scratch_folder:-}" ]; then
        if [ $status -ne 0 ] && [ $status -ne 77 ]; then
            for log in "$scratch_folder"/*.log; do
                [ ! -f "$log" ] || { echo "--- $log" && tail -n 30 "$log"; } >&2
            done
        fi
        rm -rf "$scratch_folder"
    fi
    exit $status
}
trap end_of_script EXIT
