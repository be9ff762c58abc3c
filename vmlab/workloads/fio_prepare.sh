# shellcheck shell=sh
# What an earlier run left goes first; what is read is written before the start.
# FOLDER READS FIO...
folder=$1 reads=$2
shift 2
rm -rf "$folder" && mkdir -p "$folder" || exit
[ "$reads" = 0 ] || "$@" --create_only=1 >/dev/null || exit
drop_caches "$folder"
