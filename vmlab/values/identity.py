"""Names, UUIDs and MAC addresses derived from (bed, node): identity instead of bookkeeping.

Defining the same thing twice is harmless, and libvirt itself refuses the same name with another UUID. Neither a bed's
nor a node's name may contain a dot, so `BED.REST` splits in one way only: `co1` never matches `co10`.

A file is only taken for ours if it has one of the forms that are given here, whole: what else begins with a bed's name
was put there by somebody else.
"""

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

_NAMESPACE = bytes.fromhex("6f0ad7c41a535d0e9a3b7c6f3d1e2b90")
_REMEMBERED = 1 << 14  # a command asks the same of each node and file: when it looks, decides and acts
# As topology.read and topology.scalars allow them.
_BED = r"(?P<bed>[a-z][a-z0-9-]{0,30})"
_NODE = r"(?P<node>[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)"
_ANY_NODE = _NODE.replace("?P<node>", "?:")
_DISK = r"[A-Za-z0-9][A-Za-z0-9_-]{0,19}"
_FILESYSTEM = r"[A-Za-z0-9][A-Za-z0-9_-]{0,7}"
_TARGET = r"(?:MGS|(?:MDT|OST)[0-9a-f]{4})"
_LABEL = rf"{_FILESYSTEM}-{_TARGET}"
# virtlogd keeps older parts of a console's log under the same name and a number, we those of earlier starts and a time.
_LOG = r"console\.log(?:\.[0-9]+|\.[0-9]{8}T[0-9]{9}Z)?"
_OF_NODE = rf"{_NODE}\.(?:root\.qcow2|seed\.iso|disk-{_DISK}\.raw|{_LOG}|clone\.(?:memory|disk)|dump\.memory)"
_UNTIL = "%Y%m%dT%H%M%S%f"
_BOOT = r"_(?:kernel|initrd)-[0-9a-f]{12}"
_SNAPSHOT = r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}"
_OF_DISK = rf"(?:{_ANY_NODE}\.(?:root\.qcow2|disk-{_DISK}\.raw)|_{_LABEL}\.raw)"
_TOLD = r"(?:\.partial)?"
_OF_SNAPSHOT = (
    rf"_snap\.(?P<snapshot>{_SNAPSHOT})\.(?:(?:json|begun){_TOLD}|{_ANY_NODE}\.memory|{_OF_DISK})"
    rf"|_revert\.(?:json{_TOLD}|{_OF_DISK})"
)
_OF_JOB = re.compile(rf"j[0-9]{{1,8}}-{_BED}")
_SNAPSHOT_NAME = re.compile(_SNAPSHOT)
_SNAPSHOT_FILE = re.compile(rf"{_BED}\.(?:{_OF_SNAPSHOT})")
_VOLUME = re.compile(rf"{_BED}\.(?:{_OF_NODE}|_{_LABEL}\.raw|{_BOOT}|_kept|{_OF_SNAPSHOT})")
_TARGET_DISK = re.compile(rf"{_BED}\._(?:revert\._)?(?P<filesystem>{_FILESYSTEM})-{_TARGET}\.raw")
_BOOT_FILE = re.compile(rf"{_BED}\.{_BOOT}")
_IMAGE = r"(?P<image>[a-z0-9][a-z0-9._-]{0,62})"  # as store.images allows it
_IMAGE_FILE = re.compile(rf"\.?{_IMAGE}-[0-9a-f]{{12}}\.(?:qcow2|vmlinuz|initrd|vmlinux)(?:\.partial)?")


class VolumeOwner(NamedTuple):
    """Whom a volume is of: a bed, and one of its nodes if it is not shared by several."""

    bed: str
    node: str | None


def asked_bed(bed: str) -> str:
    """What its file calls a bed: that of a job of `vmlab submit` is called jJOB-NAME, as `farm.allocated` makes it."""
    found = _OF_JOB.fullmatch(bed)
    return bed if found is None else found["bed"]


def domain_name(bed: str, node: str) -> str:
    """The libvirt domain of a node."""
    return f"{bed}.{node}"


def network_name(bed: str, fabric: str) -> str:
    """The libvirt network of a fabric."""
    return f"{bed}.{fabric}"


def root_volume(bed: str, node: str) -> str:
    """The linked clone that a node boots from."""
    return f"{bed}.{node}.root.qcow2"


def seed_volume(bed: str, node: str) -> str:
    """The cloud-init NoCloud seed of a node."""
    return f"{bed}.{node}.seed.iso"


def disk_volume(bed: str, node: str, disk: str) -> str:
    """An extra disk of one node."""
    return f"{bed}.{node}.disk-{disk}.raw"


def console_volume(bed: str, node: str) -> str:
    """What a node's serial console printed; it lies in the pool, so that libvirt can read and remove it."""
    return f"{bed}.{node}.console.log"


def clone_memory(bed: str, node: str) -> str:
    """What a node goes on from as the clone of a template: there while it is made one."""
    return f"{bed}.{node}.clone.memory"


def clone_disk(bed: str, node: str) -> str:
    """What becomes the root disk of such a node."""
    return f"{bed}.{node}.clone.disk"


def of_clone(volume: str) -> bool:
    """It is what the clone of a template is made of."""
    return owner_of(volume) is not None and volume.endswith((".clone.memory", ".clone.disk"))


def memory_dump(domain: str) -> str:
    """The memory of the guest of that domain, on its way from another machine to this one."""
    return f"{domain}.dump.memory"


def of_dump(volume: str) -> bool:
    """It is such a file."""
    return owner_of(volume) is not None and volume.endswith(".dump.memory")


def kept_console(bed: str, node: str, until: datetime) -> str:
    """What it printed in an earlier start, which ended, or was found to have ended, at `until` (UTC)."""
    return f"{console_volume(bed, node)}.{until.strftime(_UNTIL)[:-3]}Z"


def kept_until(volume: str) -> datetime | None:
    """When an earlier start ended whose console this file has; None for any other file."""
    try:
        return datetime.strptime(volume.rpartition(".")[2], f"{_UNTIL}Z").replace(tzinfo=UTC)
    except ValueError:
        return None


def target_volume(bed: str, label: str) -> str:
    """A Lustre target's disk, by the target's label (`lustre-OST0000`); shared by all its servers.

    The underscore cannot start a node's name, so a target never looks like a node's disk.
    """
    return f"{bed}._{label}.raw"


def folder_name(bed: str, filesystem: str) -> str:
    """The libvirt pool of the folder, on storage that hosts share, that the targets' disks of a file system lie in."""
    return f"{bed}.{filesystem}"


@lru_cache(_REMEMBERED)
def folder_uuid(bed: str, filesystem: str) -> str:
    """The same file system of the same bed always has the same UUID."""
    return _uuid5(f"folder/{bed}/{filesystem}")


def filesystem_of(volume: str) -> str | None:
    """The file system whose target's disk this is, or what is about to take that disk's place; None for any other."""
    found = _TARGET_DISK.fullmatch(volume)
    return None if found is None else found["filesystem"]


def boot_volume(bed: str, what: str, digest: str) -> str:
    """A copy of the user's "kernel" or "initrd", by its contents' SHA-256; of all nodes of the bed that boot it."""
    return f"{bed}._{what}-{digest[:12]}"


def is_boot_volume(volume: str) -> bool:
    """It is a copy of a user's kernel or initrd."""
    return _BOOT_FILE.fullmatch(volume) is not None


def kept_volume(bed: str) -> str:
    """An empty file that says: the bed's disks were kept on purpose, whoever looks."""
    return f"{bed}._kept"


def is_snapshot_name(name: str) -> bool:
    """A snapshot may be called so."""
    return _SNAPSHOT_NAME.fullmatch(name) is not None


def snapshot_description(bed: str, snapshot: str) -> str:
    """What there is of a snapshot, and when it was taken. It is made last: without it all else is a leftover."""
    return f"{bed}._snap.{snapshot}.json"


def snapshot_begun(bed: str, snapshot: str) -> str:
    """Which nodes stand still while the snapshot is taken."""
    return f"{bed}._snap.{snapshot}.begun"


def snapshot_memory(bed: str, snapshot: str, node: str) -> str:
    """The memory of a node that ran."""
    return f"{bed}._snap.{snapshot}.{node}.memory"


def snapshot_disk(bed: str, snapshot: str, volume: str) -> str:
    """The copy of a disk of the bed."""
    return f"{bed}._snap.{snapshot}.{volume.removeprefix(f'{bed}.')}"


def reverting(bed: str) -> str:
    """Says that the bed is on its way to a snapshot, and how far: from when it is there until all is as it was."""
    return f"{bed}._revert.json"


def reverting_disk(bed: str, volume: str) -> str:
    """A disk as the snapshot has it, ready to take the place of the bed's."""
    return f"{bed}._revert.{volume.removeprefix(f'{bed}.')}"


def of_snapshot(volume: str) -> bool:
    """It is a file of a snapshot, or of a bed's way back to one."""
    return _SNAPSHOT_FILE.fullmatch(volume) is not None


def snapshot_of(volume: str) -> str | None:
    """The snapshot that a file is of; None for any other."""
    found = _SNAPSHOT_FILE.fullmatch(volume)
    return None if found is None else found["snapshot"]


def has_data(volume: str) -> bool:
    """It is a disk of a node or of several: neither a mark nor a snapshot's, nor what is made anew.

    That is a seed, a console's log or the copy of a kernel. A path is as good as a name.
    """
    return volume.endswith((".qcow2", ".raw")) and not of_snapshot(volume.rpartition("/")[2])


@lru_cache(_REMEMBERED)
def owner_of(volume: str) -> VolumeOwner | None:
    """Whom a file in the pool is of, if its name has one of the forms above."""
    found = _VOLUME.fullmatch(volume)
    return None if found is None else VolumeOwner(found["bed"], found["node"])


def image_file(image: str, digest: str, suffix: str) -> str:
    """A file of an image in the store; `digest` are the first 12 hexadecimal digits of its contents'."""
    return f"{image}-{digest}{suffix}"


def image_of(file: str) -> str | None:
    """The image that a file in the store is of, whole or half-copied, if its name has that form."""
    found = _IMAGE_FILE.fullmatch(file)
    return None if found is None else found["image"]


@lru_cache(_REMEMBERED)
def domain_uuid(bed: str, node: str) -> str:
    """The same node of the same bed always has the same UUID."""
    return _uuid5(f"domain/{bed}/{node}")


def network_uuid(bed: str, fabric: str) -> str:
    """The same fabric of the same bed always has the same UUID."""
    return _uuid5(f"network/{bed}/{fabric}")


def _uuid5(name: str) -> str:
    """The text of `uuid.uuid5`, at a third of its time: whoever looks at a host asks for that of each node."""
    told = hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(told[16], 16) & 3]  # RFC 9562: the two highest bits are 10, and the version is 5
    return f"{told[:8]}-{told[8:12]}-5{told[13:16]}-{variant}{told[17:20]}-{told[20:32]}"


def mac(bed: str, node: str, fabric: str, index: int = 0) -> str:
    """A locally administered unicast address in QEMU's 52:54 range; 32 bits tell interfaces apart."""
    digest = hashlib.sha256(f"{bed}/{node}/{fabric}/{index}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x52, 0x54, *digest[:4]))


def bridge_name(bed: str, fabric: str) -> str:
    """A host bridge's name: the kernel allows 15 characters."""
    return "vl" + hashlib.sha256(f"{bed}/{fabric}".encode()).hexdigest()[:10]


OVERLAY = "vx"
"""How the names of links begin that join a bed's networks on several hosts."""


def overlay_name(bed: str, fabric: str) -> str:
    """The VXLAN link of a fabric, on each host."""
    return OVERLAY + hashlib.sha256(f"{bed}/{fabric}".encode()).hexdigest()[:10]


def overlay_alias(bed: str, fabric: str) -> str:
    """What the kernel keeps beside such a link's name."""
    return f"vmlab {network_name(bed, fabric)}"


def overlay_owner(alias: str) -> tuple[str, str] | None:
    """The bed and the fabric that a link's alias names; None for what is not ours."""
    word, _, network = alias.partition(" ")
    bed, dot, fabric = network.partition(".")
    return (bed, fabric) if word == "vmlab" and dot else None
