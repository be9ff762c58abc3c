# shellcheck shell=sh
# What comes before it is pool.sh, and erase.sh follows. $1: the disk; $2: the pool.
if pool "$2" "$1" 2>/dev/null; then zpool destroy "$2" || exit; fi
zpool labelclear -f "$1" >/dev/null 2>&1
