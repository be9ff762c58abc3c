# shellcheck shell=sh
# $1: the folder; $2: the note's name; $3: its text. The folder must be of whoever writes, and no link.
umask 077
mkdir -p -- "$1" && [ ! -L "$1" ] && [ -O "$1" ] || { echo "$1 is not ours" >&2; exit 1; }
printf '%s\n' "$3" >"$1/.$2" && mv -f -- "$1/.$2" "$1/$2"
