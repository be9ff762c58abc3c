# shellcheck shell=sh
# Written beside and renamed: a guest that is powered off meanwhile has the old file or the new one.
# shellcheck disable=SC2154 # block.sh, or write_block.sh
[ ! -x /usr/sbin/restorecon ] || /usr/sbin/restorecon "$new" || :
sync "$new"
mv -f "$new" "$path"
