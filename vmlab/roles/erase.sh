# shellcheck shell=sh
if grep -q -e "^$(readlink -f "$1") " -e "^$1 " /proc/mounts; then
    echo "$1 is mounted: it is not erased" >&2
    exit 1
fi
wipefs -q -a "$1"
