# shellcheck shell=sh
# mount(8) without Lustre's helper gives the kernel nothing to go by, and the kernel's answer (EINVAL) says nothing.
at=$1 type=$2
shift 2
mkdir -p "$at" && "$@" && exit
status=$?
command -v "mount.$type" >/dev/null || echo "the guest has no mount.$type" >&2
grep -qwE "lustre|$type" /proc/filesystems || echo "the kernel has no file system type $type" >&2
dmesg | grep -iE 'lustre|lnet|ldiskfs' | tail -n 5 >&2
exit $status
