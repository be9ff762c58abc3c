# shellcheck shell=sh
# What comes before it are who_uses.sh and on_disk.sh. $1: the mount point; $2: the disk.
for at in $(elsewhere "$1" "$2"); do
    umount "$at" || {
        status=$?
        who_uses "$at" >&2
        exit $status
    }
done
for name in $(framework "$2"); do
    dmsetup remove --retry "$name" || exit
done
