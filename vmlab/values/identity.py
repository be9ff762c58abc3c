"""Names, UUIDs and MAC addresses derived from (bed, node): identity instead of bookkeeping.

Defining the same thing twice is harmless, and libvirt itself refuses the same name with another UUID. Neither a bed's
nor a node's name may contain a dot, so `BED.REST` splits in one way only: `co1` never matches `co10`.
"""

import hashlib
import uuid

_NAMESPACE = uuid.UUID("6f0ad7c4-1a53-5d0e-9a3b-7c6f3d1e2b90")


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


def target_volume(bed: str, label: str) -> str:
    """A Lustre target's disk, by the target's label (`lustre-OST0000`); shared by all its servers.

    The underscore cannot start a node's name, so a target never looks like a node's disk.
    """
    return f"{bed}._{label}.raw"


def bed_of(name: str) -> str | None:
    """The bed that a domain, network or volume name belongs to, if it has our form."""
    bed, dot, rest = name.partition(".")
    return bed if dot and bed and rest else None


def domain_uuid(bed: str, node: str) -> uuid.UUID:
    """The same node of the same bed always has the same UUID."""
    return uuid.uuid5(_NAMESPACE, f"domain/{bed}/{node}")


def network_uuid(bed: str, fabric: str) -> uuid.UUID:
    """The same fabric of the same bed always has the same UUID."""
    return uuid.uuid5(_NAMESPACE, f"network/{bed}/{fabric}")


def mac(bed: str, node: str, fabric: str, index: int = 0) -> str:
    """A locally administered unicast address in QEMU's 52:54 range; 32 bits tell interfaces apart."""
    digest = hashlib.sha256(f"{bed}/{node}/{fabric}/{index}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x52, 0x54, *digest[:4]))


def bridge_name(bed: str, fabric: str) -> str:
    """A host bridge's name: the kernel allows 15 characters."""
    return "vl" + hashlib.sha256(f"{bed}/{fabric}".encode()).hexdigest()[:10]
