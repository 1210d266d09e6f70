#!/usr/bin/env bash
# Does scripts/lib.sh end what does not want to end? Does scripts/fuzz.sh tell what was found? Each
# case is a script of its own, which must end in time and leave no process behind.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$(dirname "$0")/lib.sh"
scratch lib

cat >"$here/deaf" <<END
#!/usr/bin/env bash
trap '' TERM
touch "\$1"
while :; do sleep 1; done
END
# In place of cargo: readers, of which one has a finding.
cat >"$here/cargo" <<'END'
#!/usr/bin/env bash
case $* in
*" --list") printf '%s: test\n' faulty::what_is_seen pdb reading sdf ;;
*" --exact pdb "*) echo "pdb: 9 inputs, $HOLOSIG_FUZZ_SECONDS s, seed $HOLOSIG_FUZZ_SEED" ;;
*) echo "sdf: 9 inputs, 1 findings" && exit 101 ;;
esac
END
chmod +x "$here/deaf" "$here/cargo"

failed=0
# NAME, expected exit code, expected words of its output, the script
case_of() {
    local name=$1 expected=$2 words=$3 status=0 folder=$here/$1
    mkdir "$folder"
    {
        echo "set -euo pipefail; . scripts/lib.sh; here=$here folder=$folder"
        cat
    } >"$folder/script.sh"
    timeout --foreground --kill-after=1 60 bash "$folder/script.sh" >"$folder/output" 2>&1 || status=$?
    mapfile -t left < <(grep -lsF -- "$folder" /proc/[0-9]*/cmdline | cut -d/ -f3)
    if [ $status -ne "$expected" ] || [[ $(<"$folder/output") != *"$words"* ]] || any_running "${left[@]}"; then
        echo "lib: $name: exit code $status, expected $expected; output:" && cat "$folder/output"
        [ ${#left[@]} -eq 0 ] || ps -o pid,args -p "${left[@]}"
        kill -KILL "${left[@]}" 2>/dev/null || true
        failed=$((failed + 1))
    fi
} >&2

case_of stubborn 0 "still running 1 s after TERM" <<'END'
"$here/deaf" "$folder/up" &
server=$!
within 20 test -e "$folder/up"
stop 1 $server
none_running $server
END

case_of bounded 3 "ended after 1 s" <<'END'
status=0
bounded 1 tail -f "$folder/script.sh" || status=$?
[ $status -ne 124 ] || exit 3
END

case_of orphan 4 "" <<'END'
(setsid "$here/deaf" "$folder/up" &)
within 20 test -e "$folder/up"
exit 4
END

case_of vain 1 "waited in vain for: test -e" <<'END'
"$here/deaf" "$folder/up" &
within 1 test -e "$folder/never"
END

case_of untested 77 "THIS NOT TESTED: no reason" <<'END'
not_tested this no reason
END

case_of terminated 143 "" <<'END'
"$here/deaf" "$folder/up" &
within 20 test -e "$folder/up"
(sleep 1 && kill -TERM $$) &
tail -f "$folder/script.sh"
END

case_of fuzzed 0 "pdb: 9 inputs, 120 s, seed 7" <<'END'
CARGO=$here/cargo scripts/fuzz.sh --minutes 2 --seed 7 pdb
END

# The time is shared by all readers.
case_of found 1 "pdb: 9 inputs, 30 s, seed 7" <<'END'
CARGO=$here/cargo scripts/fuzz.sh --minutes 1 --seed 7
END

case_of unread 2 "no reader cif; there are pdb sdf" <<'END'
CARGO=$here/cargo scripts/fuzz.sh pdb cif
END

case_of misused 2 "usage: scripts/fuzz.sh" <<'END'
CARGO=$here/cargo scripts/fuzz.sh --hours 1
END

[ $failed -eq 0 ]
echo "lib: what does not want to end is ended, and nothing is left behind; what fuzzing finds is told"
