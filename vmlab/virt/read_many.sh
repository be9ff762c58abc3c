# shellcheck shell=sh
cd -- "$1" || exit
shift
IFS=
for pattern do
    set -- $pattern
    grep -sHaZ -d skip -e '' -- "$@"
done
exit 0
