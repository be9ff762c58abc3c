# shellcheck shell=sh
# The words after the sixth are mkfs.lustre's command line. The sixth is the label that mkfs.lustre gives a disk before
# it writes what makes it a target: who finds no more than that finds a format that was broken off.
why=$(other "$@")
[ -n "$why" ] || exit 0
if [ -n "$target" ]; then
    echo "$1 $why: it is left alone" >&2
    exit 1
fi
if grep -q -e "^$(readlink -f "$4") " -e "^$4 " /proc/mounts; then
    echo "$4 is mounted: it is left alone" >&2
    exit 1
fi
found=$(blkid -p -s TYPE -s PTTYPE -o value "$4")
case $? in
    2) ;;
    *)
        label=$(blkid -p -s LABEL -o value "$4")
        if [ -z "$6" ] || [ "$label" != "$6" ]; then
            echo "$4 holds $(echo ${found:-something})${label:+ (label $label)}: it is left alone" >&2
            exit 1
        fi
        ;;
esac
disk=$4
shift 6
case " $* " in *" --mdt --backfstype=ldiskfs "*) patched "$disk" ;; esac
exec "$@"
