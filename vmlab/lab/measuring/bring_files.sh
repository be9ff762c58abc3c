# shellcheck shell=sh
# $1: the folder; $2: bytes that a file may have; then patterns. Of each file its name, its content as base64, and a dot.
# Without a separator words are patterns still.
cd "$1" || exit
most=$2
shift 2
IFS=
for pattern; do
    for name in $pattern; do
        [ -f "$name" ] || continue
        [ "$(wc -c <"$name")" -le "$most" ] || { echo "$name is too large" >&2; exit 1; }
        printf '%s\n' "$name"
        base64 <"$name"
        echo .
    done
done
