"""A target on a server: its disk is there, it is formatted as ours, it is mounted.

A target is formatted once. What else lies on a disk is never written over: not a target of another file system, of
another index or bed, not a partition table, not any signature that blkid knows.
"""

from collections.abc import Iterator

from vmlab.lustre.failing import device, rule, rule_file
from vmlab.lustre.target import Recovery, Target, mkfs_argv, mount_argv
from vmlab.lustre.version import Version
from vmlab.roles._alone import alone
from vmlab.roles._mount import MOUNT
from vmlab.shell import script
from vmlab.steps import Command, Step

_THERE = '[ -b "$1" ]'
_PLAIN = f'{_THERE} && [ ! -b "$2" ]'
_WAIT = """
udevadm settle --timeout=30 --exit-if-exists="$1"
[ -b "$1" ] || { echo "no disk appears as $1: $(ls /dev/disk/by-id | tr '\\n' ' ')" >&2; exit 1; }
"""
_CAN_FAIL = '[ -b "$2" ] && printf "%s" "$4" | cmp -s - "$3"'
_MAKE_IT = script(__file__, "can_fail.sh")
_CANNOT_FAIL = script(__file__, "cannot_fail.sh")

# ZFS tells servers apart by it, and refuses a pool that another one has (multihost). Debian's zfsutils-linux makes one
# when it is installed, so all clones of an image have the same, and none would refuse anything: each takes what its
# domain's UUID begins with.
_ID = """
id=$(cut -c1-8 /sys/class/dmi/id/product_uuid | tr A-F a-f)
case $id in 00000000 | "") echo "the guest has no UUID to make a host id of" >&2; exit 1 ;; esac
"""
_HOST_ID = _ID + '[ -s /etc/hostid ] && [ "$(hostid)" = "$id" ]'
_MAKE_HOST_ID = _ID + 'zgenhostid -f "$id"'

_POOL = script(__file__, "pool.sh")

_LOOK = script(__file__, "target_disk.sh")
_OURS = _LOOK + '[ -z "$(other "$@")" ]\n'
_PATCHED = script(__file__, "e2fsprogs.sh")
_FORMAT = _LOOK + _PATCHED + script(__file__, "format.sh")
_KNOWN = _LOOK + script(__file__, "target_known.sh")
_IMPORTED = _POOL + 'pool "${1%%/*}" "$4"'
_OURS_POOL, _FORMAT_POOL = (f"{_IMPORTED} 2>/dev/null\n{script}" for script in (_OURS, _FORMAT))
_KNOWN_POOL = f"{_IMPORTED} || exit\n{_KNOWN}"
_KEEP_NO_CACHE = 'zpool set cachefile=none "$1"'

_ERASED = """
blkid -p "$1" >/dev/null 2>&1
[ $? = 2 ]
"""
_ERASE = script(__file__, "erase.sh")
_ERASE_POOL = _POOL + script(__file__, "erase_pool.sh") + _ERASE

_MOUNTED = script(__file__, "target_mounted.sh")
_MOUNT_POOL = _POOL + 'pool "$1" "$2" || exit\nshift 2\n' + MOUNT

# Older versions know the same connections as `osc`.
_CONNECTED = 'lctl get_param -n "os[pc].$1-OST*-osc-$2.import" 2>/dev/null | grep -q "^ *state: *FULL"'
_CONNECT = f"connected() {{ {_CONNECTED}; }}\n" + script(__file__, "find_osts.sh")

_LEAVING = script(__file__, "leaving.sh")
_UNMOUNTED = (
    _LEAVING
    + """
awk -v at="$1" '$2 == at && $3 ~ /^lustre/ { found = 1 } END { exit found }' /proc/mounts && ! leaving "$1"
"""
)
_UNMOUNT = _LEAVING + script(__file__, "who_uses.sh") + script(__file__, "unmount.sh")
_ON_DISK = script(__file__, "on_disk.sh")
_FREE = _ON_DISK + '[ -z "$(elsewhere "$1" "$2")$(framework "$2")" ]'
_SET_FREE = script(__file__, "who_uses.sh") + _ON_DISK + script(__file__, "unmount_disk.sh")
_EXPORT = '! zpool list -H "$1" >/dev/null 2>&1'

_FORMAT_S = 900.0
_MOUNT_S = 300.0  # it waits for the MGS for 80 s, replays a journal, and with MMP watches the disk first
_UNMOUNT_S = 300.0
_CONNECT_S = 180.0


def prepare(target: Target) -> tuple[Step, ...]:
    """Its disk is there, by the name that all servers know."""
    return tuple(_prepare(target))


def _prepare(target: Target) -> Iterator[Step]:
    if target.below:
        words = ("vmlab", target.below, target.disk, rule_file(target.label), rule(target.label, target.below))
        yield Step(
            name=f"disk of {target.label}, which can fail",
            check=("sh", "-c", _CAN_FAIL, *words),
            apply=(("sh", "-c", _WAIT, *words), ("sh", "-c", _MAKE_IT, *words)),
        )
    elif target.disk:
        values = ("vmlab", target.disk, device(target.label), rule_file(target.label))
        yield Step(
            name=f"disk of {target.label}",
            check=("sh", "-c", _PLAIN, *values),
            apply=(("sh", "-c", _WAIT, *values), ("sh", "-c", _CANNOT_FAIL, *values)),
        )
    if target.backend == "zfs":
        yield Step(name="host id", check=("sh", "-c", _HOST_ID), apply=(("sh", "-c", _MAKE_HOST_ID),))


def format_(target: Target) -> tuple[Step, ...]:
    """It is formatted as what it should be; nothing to do for one in memory."""
    if target.backend == "wbcfs":
        return ()
    zfs = target.backend == "zfs"
    words = _words(target)
    return (
        Step(
            name=f"format {target.label}",
            check=_alone(target, _OURS_POOL if zfs else _OURS, *words),
            apply=(
                _alone(target, _FORMAT_POOL if zfs else _FORMAT, *words, target.unfinished, *mkfs_argv(target)),
                *((("sh", "-c", _KEEP_NO_CACHE, "vmlab", target.pool),) if zfs else ()),
            ),
            deadline_s=_FORMAT_S,
        ),
    )


def _words(target: Target) -> Command:
    """What `_LOOK` compares a device with."""
    here = target.kind == "MGT" or target.manages
    mgs = "here" if here else " ".join(str(nid) for nids in target.mgs for nid in nids)
    return target.device, target.service, target.comment, target.disk, mgs


def _alone(target: Target, script: str, *words: str) -> Command:
    """The script, after any other of the target."""
    return (*alone(target.label), "sh", "-c", script, "vmlab", *words)


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
    """It is mounted and its service runs. What is on the disk is looked at first: mount itself takes any target."""
    zfs = target.backend == "zfs"
    pool = (target.pool, target.disk) if zfs else ()
    known = (_alone(target, _KNOWN_POOL if zfs else _KNOWN, *_words(target)),) if target.disk else ()
    return (
        Step(
            name=f"mount {target.label}",
            check=_alone(target, _MOUNTED, target.mount_point, target.svname),
            apply=(
                *known,
                _alone(
                    target,
                    _MOUNT_POOL if pool else MOUNT,
                    *pool,
                    target.mount_point,
                    version.target_type,
                    *mount_argv(target, version, recovery),
                ),
            ),
            deadline_s=_MOUNT_S,
        ),
    )


def connected(target: Target) -> tuple[Step, ...]:
    """An MDT has found one OST at least. Until then it refuses clients, and these ask again only after 25 s.

    It hears of OSTs that were never mounted before when it fetches its configuration again, after 5 to 10 s.
    """
    words = ("vmlab", target.fsname, target.service.rpartition("-")[2])
    return (
        Step(
            name=f"OSTs of {target.label}",
            check=("sh", "-c", _CONNECTED, *words),
            apply=(("sh", "-c", _CONNECT, *words),),
            deadline_s=_CONNECT_S,
        ),
    )


def unmount(target: Target) -> tuple[Step, ...]:
    """It is not mounted, wherever that is; its pool is free for the partner, its disk for whoever formats it.

    Of a target that the test framework made in a pool of its own nothing is known here.
    """
    steps = [unmounted(target.label, target.mount_point)]
    if target.backend == "ldiskfs":
        words = ("vmlab", target.mount_point, target.disk)
        steps.append(
            Step(
                name=f"free the disk of {target.label}",
                check=("sh", "-c", _FREE, *words),
                apply=(("sh", "-c", _SET_FREE, *words),),
                deadline_s=_UNMOUNT_S,
            )
        )
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
    # A client waits for servers that are gone, and for ever; by force it gives up what it could not write.
    force = ("-f",) if lost else ()
    return Step(
        name=f"unmount {what}",
        check=("sh", "-c", _UNMOUNTED, "vmlab", point),
        apply=(("sh", "-c", _UNMOUNT, "vmlab", point, *force),),
        deadline_s=_UNMOUNT_S,
    )
