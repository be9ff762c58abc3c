"""A target on a server: its disk is there, it is formatted as ours, it is mounted.

A target is formatted once. What else lies on a disk is never written over: not a target of another file system, of
another index or bed, not a partition table, not any signature that blkid knows.
"""

from collections.abc import Iterator

from vmlab.lustre.target import Recovery, Target, mkfs_argv, mount_argv
from vmlab.lustre.version import Version
from vmlab.steps import Step

_THERE = '[ -b "$1" ]'
_WAIT = """
udevadm settle --timeout=30 --exit-if-exists="$1"
[ -b "$1" ] || { echo "no disk appears as $1: $(ls /dev/disk/by-id | tr '\\n' ' ')" >&2; exit 1; }
"""

# ZFS tells servers apart by it, and refuses a pool that another one has (multihost). Debian's zfsutils-linux makes one
# when it is installed, so all clones of an image have the same, and none would refuse anything: each takes what its
# domain's UUID begins with.
_ID = """
id=$(cut -c1-8 /sys/class/dmi/id/product_uuid | tr A-F a-f)
case $id in 00000000 | "") echo "the guest has no UUID to make a host id of" >&2; exit 1 ;; esac
"""
_HOST_ID = _ID + '[ -s /etc/hostid ] && [ "$(hostid)" = "$id" ]'
_MAKE_HOST_ID = _ID + 'zgenhostid -f "$id"'

# A pool: its name, its disk. By force, as after a failover its last server has not exported it: mkfs.lustre switches
# multihost on, with which ZFS watches the disk for 20 s and refuses what another host writes to, by force too. Without
# force it would watch once for its refusal, and once more when forced. zpool puts a pool into a partition, which a
# server does not know that was up when its partner made it.
_POOL = """
take() { zpool import -N -f -o cachefile=none -d "${2%/*}" "$1"; }
pool() {
    zpool list -H "$1" >/dev/null 2>&1 && return
    take "$@" 2>/dev/null && return
    blockdev --rereadpt "$2" 2>/dev/null && udevadm settle --timeout=30
    take "$@"
}
"""

# tunefs.lustre --dryrun writes nothing. It shows a dash for the colon of a target that was never mounted, and with ZFS
# the comment on the line of the parameters.
_LOOK = """
said=$(tunefs.lustre --dryrun "$1" 2>/dev/null | sed 's/^\\(Parameters:.*\\)Comment: /\\1\\nComment: /')
is() { printf '%s\\n' "$said" | sed -n "s/^$1: *//p" | head -n 1; }
target=$(is Target | sed 's/[:+=]\\([MO][DS]T[0-9a-f]\\{4\\}\\)$/-\\1/')
comment=$(is Comment)
"""
_OURS = (
    _LOOK
    + """
[ "$target" = "$2" ] || exit 1
case $comment in "$3" | "") ;; vmlab\\ *) exit 1 ;; esac
"""
)
_REFUSE = (
    _LOOK
    + """
shown=${comment:+ ($comment)}
if [ -n "$target" ]; then
    echo "$1 is formatted as $target$shown, not as $2 ($3): it is left alone" >&2
    exit 1
fi
if grep -q "^$(readlink -f "$4") " /proc/mounts; then
    echo "$4 is mounted: it is left alone" >&2
    exit 1
fi
found=$(blkid -p -s TYPE -s PTTYPE -o value "$4")
case $? in
    2) ;;
    *) echo "$4 holds $(echo ${found:-something}): it is left alone" >&2; exit 1 ;;
esac
"""
)
_REFUSE_POOL = _POOL + 'pool "$5" "$4" 2>/dev/null\n' + _REFUSE
_OURS_POOL = _POOL + 'pool "$5" "$4" 2>/dev/null\n' + _OURS
_KEEP_NO_CACHE = 'zpool set cachefile=none "$1"'

_ERASED = """
blkid -p "$1" >/dev/null 2>&1
[ $? = 2 ]
"""
_ERASE = """
if grep -q "^$(readlink -f "$1") " /proc/mounts; then
    echo "$1 is mounted: it is not erased" >&2
    exit 1
fi
wipefs -q -a "$1"
"""
_ERASE_POOL = (
    _POOL
    + """
if pool "$2" "$1" 2>/dev/null; then zpool destroy "$2" || exit; fi
zpool labelclear -f "$1" >/dev/null 2>&1
"""
    + _ERASE
)

# Before 2.12 /proc/mounts does not say which target is mounted; `lctl dl` does, and whether it runs.
_MOUNTED = """
awk -v at="$1" -v name="$2" '
    $2 == at && $3 ~ /^lustre/ && ($4 !~ /svname=/ || ("," $4 ",") ~ ("," "svname=" name ",")) { found = 1 }
    END { exit !found }' /proc/mounts || exit 1
case $2 in *-MGS0000) service=MGS ;; *) service=$2 ;; esac
lctl dl 2>/dev/null | grep -qE "^ *[0-9]+ UP (mgs|mdt|obdfilter) $service "
"""
_MOUNT = """
at=$1
shift
mkdir -p "$at" && "$@" && exit
status=$?
dmesg | grep -iE 'lustre|lnet' | tail -n 5 >&2
exit $status
"""
_MOUNT_POOL = _POOL + 'pool "$1" "$2" || exit\nshift 2\n' + _MOUNT

_UNMOUNTED = """
! awk -v at="$1" '$2 == at && $3 ~ /^lustre/ { found = 1 } END { exit !found }' /proc/mounts
"""
_UNMOUNT = """
umount "$1" && exit
status=$?
fuser -vm "$1" >&2
exit $status
"""
# A client waits for servers that are gone, and for ever; by force it gives up what it could not write.
_UNMOUNT_LOST = _UNMOUNT.replace("umount ", "umount -f ", 1)
_EXPORT = '! zpool list -H "$1" >/dev/null 2>&1'

_FORMAT_S = 900.0
_MOUNT_S = 300.0  # it waits for the MGS for 80 s, replays a journal, and with MMP watches the disk first
_UNMOUNT_S = 300.0


def prepare(target: Target) -> tuple[Step, ...]:
    """Its disk is there, by the name that all servers know."""
    return tuple(_prepare(target))


def _prepare(target: Target) -> Iterator[Step]:
    if target.disk:
        values = ("vmlab", target.disk)
        yield Step(
            name=f"disk of {target.label}",
            check=("sh", "-c", _THERE, *values),
            apply=(("sh", "-c", _WAIT, *values),),
        )
    if target.backend == "zfs":
        yield Step(name="host id", check=("sh", "-c", _HOST_ID), apply=(("sh", "-c", _MAKE_HOST_ID),))


def format_(target: Target) -> tuple[Step, ...]:
    """It is formatted as what it should be; nothing to do for one in memory."""
    if target.backend == "wbcfs":
        return ()
    zfs = target.backend == "zfs"
    pool = (target.pool,) if zfs else ()
    values = ("vmlab", target.device, target.service, target.comment, target.disk, *pool)
    return (
        Step(
            name=f"format {target.label}",
            check=("sh", "-c", _OURS_POOL if zfs else _OURS, *values),
            apply=(
                ("sh", "-c", _REFUSE_POOL if zfs else _REFUSE, *values),
                mkfs_argv(target),
                *((("sh", "-c", _KEEP_NO_CACHE, "vmlab", target.pool),) if zfs else ()),
            ),
            deadline_s=_FORMAT_S,
        ),
    )


def erase(target: Target) -> tuple[Step, ...]:
    """Its disk is empty. It must be unmounted on all servers: MMP does not keep wipefs from a partner's disk."""
    if target.backend == "wbcfs":
        return ()
    zfs = target.backend == "zfs"
    pool = (target.pool,) if zfs else ()
    return (
        Step(
            name=f"erase {target.label}",
            check=("sh", "-c", _ERASED, "vmlab", target.disk),
            apply=(("sh", "-c", _ERASE_POOL if zfs else _ERASE, "vmlab", target.disk, *pool),),
        ),
    )


def mount(target: Target, version: Version, recovery: Recovery | None) -> tuple[Step, ...]:
    """It is mounted and its service runs."""
    pool = (target.pool, target.disk) if target.backend == "zfs" else ()
    return (
        Step(
            name=f"mount {target.label}",
            check=("sh", "-c", _MOUNTED, "vmlab", target.mount_point, target.svname),
            apply=(
                (
                    *("sh", "-c", _MOUNT_POOL if pool else _MOUNT, "vmlab", *pool, target.mount_point),
                    *mount_argv(target, version, recovery),
                ),
            ),
            deadline_s=_MOUNT_S,
        ),
    )


def unmount(target: Target) -> tuple[Step, ...]:
    """It is not mounted; its pool is free for the partner."""
    steps = [unmounted(target.label, target.mount_point)]
    if target.backend == "zfs":
        steps.append(
            Step(
                name=f"export {target.pool}",
                check=("sh", "-c", _EXPORT, "vmlab", target.pool),
                apply=(("zpool", "export", target.pool),),
            )
        )
    return tuple(steps)


def unmounted(what: str, point: str, *, lost: bool = False) -> Step:
    """No Lustre is mounted at that point; who uses it is told if it is busy. `lost`: what it holds is gone anyway."""
    return Step(
        name=f"unmount {what}",
        check=("sh", "-c", _UNMOUNTED, "vmlab", point),
        apply=(("sh", "-c", _UNMOUNT_LOST if lost else _UNMOUNT, "vmlab", point),),
        deadline_s=_UNMOUNT_S,
    )
