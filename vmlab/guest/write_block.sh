# shellcheck shell=sh
# $1: the umask of the file, then what awk is told. put_block.sh does the rest.
set -e
umask "$1"
path=$4
new=${path%/*}/.${path##*/}.vmlab
shift
awk "$@" >"$new"
