"""A Lustre target as its tools see it: mkfs.lustre's and mount's command lines, device paths, labels.

The options are those of lustre/utils/mkfs_lustre.c and mount_lustre.c, the same from 2.10 to 2.17.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vmlab.lustre.version import Version
from vmlab.steps import Command
from vmlab.values.nid import Nid

Backend = Literal["ldiskfs", "zfs", "wbcfs"]
Kind = Literal["MGT", "MDT", "OST"]

MEMORY_DEVICE = "lustre-wbcfs"
"""The device of every wbcfs target: OSD_WBCFS_DEV of lustre/utils/mount_utils.h."""

_SERIAL = 20  # virtio-blk carries so many characters of a disk's serial number
_POOL = "vmlab-"  # zpool keeps names that begin with `mirror`, `spare` ... for itself
_DATASET = "target"


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long a target waits for its clients after a failover, in seconds: at least, and at most.

    2.17.57 raises both to 120 s, while its `timeout` is 100 s ("recovery window 120-120").
    """

    soft: int = 60
    hard: int = 120


@dataclass(frozen=True, slots=True)
class Target:
    """What its commands are made of.

    `servers` are the NIDs of each server, the primary's first; `mgs` those of each server of the MGS. `manages`: an MDT
    with the MGS on it. `disk` is the block device, "" for a target in memory. `bed` is written into its comment.
    `below` is what lies below a disk that can be told to fail (`failing`), "" for any other.
    """

    bed: str
    fsname: str
    kind: Kind
    index: int
    backend: Backend
    disk: str
    servers: tuple[tuple[Nid, ...], ...]
    mgs: tuple[tuple[Nid, ...], ...]
    manages: bool = False
    mkfs_options: str = ""
    below: str = ""

    @property
    def label(self) -> str:
        """In a bed: `lustre-MGS`, `lustre-OST000a`. Lustre itself says `MGS` of every MGT; see `service`."""
        return f"{self.fsname}-MGS" if self.kind == "MGT" else self.service

    @property
    def service(self) -> str:
        """Lustre's own name of it, which it labels it with: `MGS`, `lustre-MDT0000`."""
        return "MGS" if self.kind == "MGT" else f"{self.fsname}-{self.kind}{self.index:04x}"

    @property
    def svname(self) -> str:
        """What it is mounted as, and its OSD is called: the service, but `lustre-MGS0000` for an MGT in memory."""
        return f"{self.fsname}-MGS0000" if self.kind == "MGT" and self.backend == "wbcfs" else self.service

    @property
    def mount_point(self) -> str:
        """The same on all servers."""
        return f"/mnt/{self.label}"

    @property
    def pool(self) -> str:
        """Its ZFS pool: one for each target, because a pool fails over as a whole."""
        return f"{_POOL}{self.label}"

    @property
    def device(self) -> str:
        """What is formatted and mounted: the disk, the pool's dataset, or wbcfs's word."""
        if self.backend == "zfs":
            return f"{self.pool}/{_DATASET}"
        return MEMORY_DEVICE if self.backend == "wbcfs" else self.disk

    @property
    def unfinished(self) -> str:
        """The label of a disk on which mkfs.lustre was broken off; "" where it cannot be told from another's."""
        return self.service.replace("-", ":") if self.backend == "ldiskfs" and self.kind != "MGT" else ""

    @property
    def comment(self) -> str:
        """What mkfs.lustre keeps with it, so that a disk of another bed is known."""
        return f"vmlab {self.bed} {self.label}"


def disk_path(label: str) -> str:
    """Where udev puts the disk that has the label as its serial number."""
    return f"/dev/disk/by-id/virtio-{label[:_SERIAL]}"


def nid_list(nids: Sequence[Nid]) -> str:
    """The NIDs of one node, as all of Lustre's tools read them."""
    return ",".join(map(str, nids))


def mkfs_argv(target: Target) -> Command:
    """Never with --reformat. Raises ValueError for wbcfs, which has nothing to format.

    `--servicenode` is given only to a target with partners: it switches MMP on, which costs seconds at each mount.
    """
    if target.backend == "wbcfs":
        raise ValueError(f"{target.label} is in memory: there is nothing to format")
    kinds = {"MGT": ("--mgs",), "MDT": ("--mgs", "--mdt") if target.manages else ("--mdt",), "OST": ("--ost",)}
    place = () if target.kind == "MGT" else (f"--fsname={target.fsname}", f"--index={target.index}")
    mgs = () if target.kind == "MGT" or target.manages else tuple(f"--mgsnode={nid_list(n)}" for n in target.mgs)
    partners = target.servers if len(target.servers) > 1 else ()
    return (
        "mkfs.lustre",
        *kinds[target.kind],
        f"--backfstype={target.backend}",
        *place,
        *mgs,
        *(f"--servicenode={nid_list(nids)}" for nids in partners),
        *((f"--mkfsoptions={target.mkfs_options}",) if target.mkfs_options else ()),
        f"--comment={target.comment}",
        target.device,
        *((target.disk,) if target.backend == "zfs" else ()),
    )


def mount_argv(target: Target, version: Version, recovery: Recovery | None = None) -> Command:
    """A target in memory is told what it is by its environment (lustre/utils/libmount_utils_wbcfs.c)."""
    options = () if recovery is None else (f"recovery_time_soft={recovery.soft}", f"recovery_time_hard={recovery.hard}")
    mount = (
        "mount",
        "-t",
        version.target_type,
        *(("-o", ",".join(options)) if options else ()),
        target.device,
        target.mount_point,
    )
    if target.backend != "wbcfs":
        return mount
    mgs = target.mgs or target.servers
    return (
        "env",
        f"OSD_WBC_TGT_TYPE={target.kind}",
        f"OSD_WBC_INDEX={target.index}",
        f"OSD_WBC_MGS_NID={_fitting(':'.join(map(nid_list, mgs)))}",
        f"OSD_WBC_PRIMARY_MDT={int(target.manages)}",
        f"OSD_WBC_FSNAME={target.fsname}",
        *mount,
    )


def _fitting(nids: str) -> str:
    """Whole NIDs from the first on: `mgsnode=` and what is longer is cut after 63 characters, in the midst of a NID."""
    limit = 63 - len("mgsnode=")
    return nids if len(nids) <= limit else nids[: max(nids.rfind(mark, 0, limit + 1) for mark in ",:")]


def client_source(fsname: str, mgs: Sequence[Sequence[Nid]]) -> str:
    """What a client mounts: `a@tcp,a@o2ib:b@tcp:/lustre`, a colon between the servers of the MGS."""
    return f"{':'.join(map(nid_list, mgs))}:/{fsname}"


def client_mount_argv(source: str, mount_point: str, options: str) -> Command:
    """`options` as in the topology."""
    return ("mount", "-t", "lustre", *(("-o", options) if options else ()), source, mount_point)


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What a device was formatted as. `service` is written with a dash, whether it was ever mounted or not.

    `fresh`: it was never mounted, so the MGS does not know it. `comment` is what `Target.comment` wrote.
    """

    service: str
    fsname: str
    index: int | None
    fresh: bool
    manages: bool
    servers: tuple[str, ...]
    mgs: tuple[str, ...]
    comment: str


def read_on_disk(text: str) -> OnDisk | None:
    """What `tunefs.lustre --dryrun DEVICE` printed (`print_ldd`); None if it found no Lustre target.

    Of several blocks the last counts: tunefs shows first what was there, then what it would write.
    """
    values: dict[str, str] = {}
    for line in _COMMENT.sub(r"\1\n", text).splitlines():
        name, colon, value = line.partition(":")
        if colon and name in _FIELDS:
            values[name] = value.strip()
        elif line.startswith(" ") and line.strip().startswith("("):
            values["words"] = line.strip().strip("()")
    service = values.get("Target", "")
    if not service:
        return None
    words = values.get("words", "").split()
    index = values.get("Index", "")
    parameters = [word.partition("=") for word in values.get("Parameters", "").split()]
    return OnDisk(
        service=dashed(service),
        fsname=values.get("Lustre FS", ""),
        index=int(index) if index.isdecimal() and len(index) < _DIGITS else None,
        fresh="first_time" in words or (":" in service),
        manages="MGS" in words,
        servers=tuple(n for name, _, value in parameters if name == "failover.node" for n in value.split(":")),
        mgs=tuple(n for name, _, value in parameters if name == "mgsnode" for n in value.split(":")),
        comment=values.get("Comment", ""),
    )


def dashed(label: str) -> str:
    """`lustre-OST0000` of `lustre:OST0000` (never mounted) and `lustre=OST0000` (writeconf)."""
    return label[:-8] + "-" + label[-7:] if len(label) > _SUFFIX and label[-8] in ":=+" else label


_COMMENT = re.compile(r"^(Parameters:.*)(?=Comment: )", re.MULTILINE)
"""libmount_utils_zfs.c ends the parameters without a new line (2.17.57)."""
_SUFFIX = len("-OST0000")
_DIGITS = 10
_FIELDS = {"Target", "Index", "Lustre FS", "Flags", "Parameters", "Comment"}
