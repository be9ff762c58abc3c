# shellcheck shell=sh
# What comes before it is target_disk.sh, with its words.
why=$(other "$@")
[ -z "$why" ] || { echo "$1 $why: it is not mounted" >&2; exit 1; }
