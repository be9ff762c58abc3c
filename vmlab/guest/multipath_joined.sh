# shellcheck shell=sh
# Without multipathd each path stays a disk of its own.
command -v multipathd >/dev/null || exit 0
for link; do
    case $(readlink -f "/dev/disk/by-id/$link") in
    /dev/dm-*) ;;
    *) echo "multipath has no map of $link" >&2; exit 1 ;;
    esac
done
