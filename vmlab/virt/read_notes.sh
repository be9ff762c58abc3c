# shellcheck shell=sh
# $1: the folder. The first line of each note.
[ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] || exit 0
cd -- "$1" || exit
for note in *; do [ -f "$note" ] && [ ! -L "$note" ] && head -n 1 -- "$note"; done
exit 0
