# shellcheck shell=sh
# What hold_in_folder.sh and look_in_folder.sh begin with. $1: the folder.
LC_ALL=C
export LC_ALL
fail() { echo "$1" >&2; exit 1; }
io() { qemu-io -f qcow2 -t none "$@" 2>&1; }
command -v qemu-io >/dev/null || fail "qemu-io is not installed (qemu-utils, or qemu-img)"
cd -- "$1" 2>/dev/null || fail "there is no such folder, or it is closed"
