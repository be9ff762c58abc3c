# shellcheck shell=sh
# The file $1 is what standard input says, whole or not at all.
cat >"$1.partial" && sync -- "$1.partial" && mv -fT -- "$1.partial" "$1"
