# shellcheck shell=sh
# What comes before it are leaving.sh and who_uses.sh.
# $1: the mount point; what follows are options of umount.
at=$1
shift
if leaving "$at"; then
    while leaving "$at"; do sleep 0.2; done
    exit 0
fi
umount "$@" "$at" && exit
status=$?
who_uses "$at" >&2
exit $status
