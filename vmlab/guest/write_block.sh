# shellcheck shell=sh
# Written beside and renamed: a guest that is powered off meanwhile has the old file or the new one.
set -e
mode=$1
path=$4
new=${path%/*}/.${path##*/}.vmlab
shift
umask 077
awk "$@" >"$new"
chmod "$mode" "$new"
[ ! -x /usr/sbin/restorecon ] || /usr/sbin/restorecon "$new" || :
sync "$new"
mv -f "$new" "$path"
