# shellcheck shell=sh
# What comes before it is `connected`, whose arguments are these: the file system and the MDT.
left=300
until connected "$@"; do
    left=$((left - 1))
    [ $left -gt 0 ] || { echo "$1-$2 has found none of its OSTs after a minute" >&2; exit 1; }
    sleep 0.2
done
