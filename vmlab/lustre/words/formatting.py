"""mkfs.lustre and tunefs.lustre; e2fsprogs and ZFS below them."""

from vmlab.lustre.words import Row

_LUSTRES_E2FSPROGS = "Lustre's own e2fsprogs (https://downloads.whamcloud.com/public/e2fsprogs/) in the image"

ROWS = (
    Row(
        r"Device (?P<device>\S+) was previously formatted for lustre",
        "{device} is a Lustre target already",
        "vmlab fs status BED says of what; to lose what is on it: vmlab fs format BED --reformat",
    ),
    Row(
        r"(?P<device>/dev/\S+): is currently mounted, exiting",
        "{device} is mounted: it is not formatted",
        "vmlab fs umount BED",
    ),
    Row(
        r"(?P<device>/dev/\S+) is apparently in use by the system",
        "{device} is in use by the system: it is not formatted",
        "in the guest: lsblk -f; lsof {device}",
    ),
    Row(
        r"filesystem name must be 1-8 chars",
        "Lustre takes file system names of at most 8 characters",
        "give it a shorter name in the topology",
    ),
    Row(
        r"the target index must be specified with --index",
        "a target cannot be formatted without an index",
        "give it an `index` in the topology, or leave the key out and vmlab counts",
    ),
    Row(
        r"Must specify (?:--mgs or )?--mgsnode",
        "a target cannot be formatted without the NIDs of its MGS",
        "the MGS's servers need a fabric with `lnet`: vmlab lnet show BED",
    ),
    Row(
        r"loop device requires a --device-size",
        "the target's device does not exist, and mkfs.lustre takes its path for a file",
        "in the guest: ls -l /dev/disk/by-id; vmlab up FILE attaches the disks",
    ),
    Row(
        r"mkfs\.lustre: (?P<device>\S+) apparently does not exist|unable to prepare backend \(2\)",
        "the target's device does not exist in the guest",
        "in the guest: ls -l /dev/disk/by-id; vmlab up FILE attaches the disks",
    ),
    Row(
        r"size of filesystem must be larger than (?P<least>\d+)MB, but is set to (?P<has>\d+)KB",
        "the disk is too small for a target: it has {has} KiB, and mkfs.lustre wants more than {least} MiB",
        "give the target more `size` in the topology, then: vmlab up FILE --restart",
    ),
    # mke2fs
    Row(
        r"Invalid filesystem option set: \S*\bdirdata\b",
        "the guest's e2fsprogs are without Lustre's patches: mke2fs does not know `dirdata`, which an MDT needs",
        f"it takes {_LUSTRES_E2FSPROGS}, or `backend: zfs`",
    ),
    Row(
        r"Invalid filesystem option set: (?P<features>\S+)",
        "the guest's mke2fs does not know all of {features}",
        f"`mkfs_options` of the topology, or {_LUSTRES_E2FSPROGS}",
    ),
    Row(
        r"must be supported by e2fsprogs, please upgrade",
        "the guest's e2fsprogs are too old for Lustre: they know no quota",
        f"it takes {_LUSTRES_E2FSPROGS}",
    ),
    Row(
        r"Filesystem has unsupported feature\(s\)|unsupported feature\(s\): FEATURE_I\d+",
        "the guest's e2fsprogs are without Lustre's patches: they cannot read the target",
        f"it takes {_LUSTRES_E2FSPROGS}",
    ),
    Row(
        r"(?P<tool>mk\w+(?:\.\w+)?|tunefs\.lustre): (?P<why>(?:invalid|unrecognized|unknown|option) .*)",
        "{tool}: {why}",
        "`mkfs_options` of the topology go to it as they are",
    ),
    Row(
        r"Bad option\(s\) specified: (?P<which>.*)",
        "mke2fs does not know the extended option {which}",
        "`mkfs_options` of the topology go to it as they are",
    ),
    # backends
    Row(
        r"unhandled/unloaded OSD plugin \d+ '(?P<backend>\w+)'|invalid backend filesystem type (?P<named>\w+)|"
        r"mount_osd_(?P<library>\w+)\.so: cannot open shared object file|no OSD plugins found",
        "the image's Lustre has no tools for this backend",
        "use an image whose Lustre has them: vmlab image list; or another `backend` in the topology",
    ),
    Row(
        r"Failed to initialize (?:ZFS library|the libzfs library)|[Tt]he ZFS modules (?:are not|cannot be)",
        "ZFS does not work in the guest: its module is not loaded, or there is none for this kernel",
        "in the guest: modprobe zfs; use an image whose ZFS fits its kernel",
    ),
    Row(
        r"cannot import '(?P<pool>\S+)': pool is imported on (?:host )?'?(?P<host>[\w.-]+)",
        "the pool {pool} is imported on {host}, and ZFS gives it to one server only",
        "vmlab fs status BED; on {host}, if its target is not mounted there: zpool export {pool}",
    ),
    Row(
        r"cannot import '(?P<pool>\S+)': pool (?:was previously in use|may be in use) from (?:an)?other system",
        "the pool {pool} was last used by another server, and was not exported there",
        "vmlab fs status BED says who has it mounted; vmlab fs mount BED imports it where nobody has",
    ),
    Row(
        r"cannot import '(?P<pool>\S+)': (?P<why>no such pool|one or more devices is currently unavailable|.+)",
        "the pool {pool} cannot be imported: {why}",
        "in the guest: zpool import -d /dev/disk/by-id; is the disk there: vmlab status BED",
    ),
    Row(
        r"cannot (?:export|destroy|unmount) '(?P<pool>\S+)': (?P<why>.+)",
        "the pool {pool} is in use: {why}",
        "vmlab fs umount BED; in the guest: zfs mount; lsof",
    ),
    Row(
        r"cannot create '(?P<pool>\S+)': (?P<why>.+)",
        "the pool {pool} cannot be made: {why}",
        "in the guest: zpool status; lsblk -f",
    ),
    Row(
        r"(?P<device>/dev/\S+) is part of (?P<what>(?:an? )?(?:active|exported|potentially active) pool '?[^'\n]+)",
        "{device} is part of {what}",
        "if nothing on it is needed: vmlab fs format BED --reformat",
    ),
    # anything else
    Row(
        r"(?P<device>\S+): (?P<why>No space left on device|Input/output error|Read-only file system) while",
        "{device} cannot be written: {why}",
        "on the host: df -h, and the disk's file; in the guest: dmesg | tail",
    ),
    Row(
        r"mkfs\.lustre FATAL: (?P<why>(?!mkfs failed|Unable to build fs)\S.*)",
        "mkfs.lustre: {why}",
        "in the guest: lsblk -f",
    ),
    Row(
        r"Unable to build fs|mkfs failed \d+",
        "the backend file system could not be made",
        "read the lines above it; in the guest: lsblk -f",
    ),
)
