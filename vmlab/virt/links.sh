# shellcheck shell=sh
cd -- "$1" || exit
shift
IFS=
for pattern do
    for path in $pattern; do
        [ -L "$path" ] && printf '%s\0%s\n' "$path" "$(readlink -- "$path")"
    done
done
exit 0
