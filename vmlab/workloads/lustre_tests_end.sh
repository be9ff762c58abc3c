# shellcheck shell=sh
# $1: "SUITE SUB-TEST". The framework runs a sub-test in a subshell beside a tee into its log: what that shell began is
# ended, and the shell, and the suite goes on with "test_N returned 143".
suite=${1% *} test=${1#* }
ends_in=".test_log."
beside=
for found in /proc/[0-9]*; do
    words=$(tr '\0' ' ' <"$found/cmdline") || continue
    case $words in *tee*"/$suite.test_$test$ends_in"*) beside=$(sed -n 's/^PPid:[[:space:]]*//p' "$found/status") ;; esac
done 2>/dev/null
[ -n "$beside" ] || { echo "$1 does not run" >&2; exit 1; }
below() { # all that descends from $1, the tees apart
    for found in /proc/[0-9]*/status; do
        case $(sed -n 's/^PPid:[[:space:]]*//p;s/^Name:[[:space:]]*//p' "$found" | tr '\n' ' ') in
        "tee "*) ;;
        *" $1 ") process=${found#/proc/}; (below "${process%/status}"); echo "${process%/status}" ;;
        esac
    done 2>/dev/null
}
for signal in TERM KILL; do
    left=$(below "$beside")
    [ -n "$left" ] || break
    for process in $left; do kill -$signal "$process"; done 2>/dev/null
    for wait in 1 2 3 4 5; do
        [ -n "$(below "$beside" | grep -Fx "$left")" ] || exit 0
        sleep "$wait"
    done
done
exit 0
