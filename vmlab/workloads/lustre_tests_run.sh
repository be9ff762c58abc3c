# shellcheck shell=sh
# $1: the folder of logs, which is emptied; then auster and its words.
exec 2>&1
logs=$1
shift
rm -rf "${logs:?}" && mkdir -p "$logs" && chmod 1777 "$logs" && exec "$@"
