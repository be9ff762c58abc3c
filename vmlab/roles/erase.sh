# shellcheck shell=sh
if grep -q "^$(readlink -f "$1") " /proc/mounts; then
    echo "$1 is mounted: it is not erased" >&2
    exit 1
fi
wipefs -q -a "$1"
