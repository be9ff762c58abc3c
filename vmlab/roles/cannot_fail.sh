# shellcheck shell=sh
# $2: the device mapper's device that is not wanted any more; $3: udev's file that makes it.
[ -b "$2" ] || exit 0
dmsetup remove --retry "$2" || {
    echo "$2 is in use, and its target is not marked with \`faults\` any more: vmlab fs umount BED" >&2
    exit 1
}
rm -f "$3"
