# shellcheck shell=sh
# $1: the disk; $2: the device mapper's device on it; $3, $4: udev's file, and what it says.
if grep -q -e "^$(readlink -f "$1") " -e "^$1 " /proc/mounts; then
    echo "$1 is mounted by itself, and is made to fail on demand after that: vmlab fs umount BED" >&2
    exit 1
fi
command -v dmsetup >/dev/null || { echo "the guest has no dmsetup: $1 cannot be made to fail on demand" >&2; exit 1; }
modprobe -n -q dm-flakey || {
    echo "the guest's kernel has no dm-flakey: $1 cannot be made to fail on demand" >&2
    exit 1
}
printf "%s" "$4" >"$3.vmlab" && mv "$3.vmlab" "$3" || exit
udevadm control --reload
dmsetup info "$2" >/dev/null 2>&1 || dmsetup create "${2##*/}" --table "0 $(blockdev --getsz "$1") linear $1 0" || exit
udevadm settle --timeout=30 --exit-if-exists="$2"
