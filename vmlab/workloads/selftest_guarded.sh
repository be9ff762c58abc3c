# shellcheck shell=sh
# When a server goes away in a test, `lst stat` and `lst stop` hang: then another process ends the session.
LST_SESSION=$$
export LST_SESSION
deadline=$1
shift
timeout -k 5 "$deadline" "$@"
status=$?
[ $status = 0 ] || timeout -k 1 30 lst end_session >/dev/null 2>&1
exit $status
