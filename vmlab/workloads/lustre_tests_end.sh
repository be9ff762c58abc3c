# shellcheck shell=sh
# $1: "SUITE SUB-TEST". The framework runs a sub-test in a subshell beside a tee into its log: what that shell began is
# ended, and the shell, and the suite goes on with "test_N returned 143".
beside=
for found in $(grep -lasF -e "/${1% *}.test_${1#* }.test_log." /proc/[0-9]*/cmdline); do
    status=${found%cmdline}status
    grep -qsx 'Name:[[:space:]]*tee' "$status" && beside=$(sed -n 's/^PPid:[[:space:]]*//p' "$status")
done
[ -n "$beside" ] || { echo "$1 does not run" >&2; exit 1; }
below() { # all that descends from $1, the tees apart
    cat /proc/[0-9]*/status 2>/dev/null | awk -v top="$1" '
        /^Name:/ { name = $2 }
        /^Pid:/ { process = $2 }
        /^PPid:/ && name != "tee" { above[process] = $2 }
        END {
            inside[top] = 1
            do {
                more = 0
                for (process in above) if (above[process] in inside && !(process in inside)) {
                    inside[process] = more = 1
                    print process
                }
            } while (more)
        }'
}
left=$(below "$beside")
for signal in TERM KILL; do
    for process in $left; do kill -$signal "$process"; done 2>/dev/null
    for pause in 0.2 0.5 1 2 5; do
        sleep $pause
        [ -n "$(below "$beside" | grep -Fx "$left")" ] || exit 0
    done
done
exit 0
