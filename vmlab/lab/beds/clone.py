"""A node goes on from a template's memory instead of booting.

What it is made of lies beside its disks, as files of its own, until it goes on: who finds the memory there later, and
a node that does not run, begins it anew (`settle`): nobody can tell how far it came. Whoever boots it takes that away.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import libvirt

from vmlab.domainxml.clone import parted
from vmlab.domainxml.read import read_domain
from vmlab.errors import HostError
from vmlab.lab.beds.template import making
from vmlab.plan.actions import CreateVolume, RemoveVolume, StopDomain
from vmlab.plan.desired import DesiredNode
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.process import run
from vmlab.store.templates import Templates
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.perform import perform
from vmlab.virt.save_image import address
from vmlab.virt.start import restore

_COPY_S = 900.0
_RESTORE_S = 300.0
_LOOK_S = 60.0
_WHY = "it was to be a template's clone"


@dataclass(frozen=True, slots=True)
class Source:
    """Whom a node is to be a clone of. `xml` is its own definition as libvirt keeps it, `pool` the beds' folder."""

    templates: Templates
    key: str
    xml: str
    pool: Path


def clone(host: Host, source: Source, bed: str, node: DesiredNode) -> None:
    """Let a defined node that is off go on from there. Raises HostError, LibvirtError: it may run then, or not."""
    memory, disk = (source.pool / name(bed, node.name) for name in (identity.clone_memory, identity.clone_disk))
    fitting, plugged = parted(source.xml)
    try:
        source.templates.touch(source.key)
        _copy(source.templates.file(source.key, ".qcow2"), disk)
        _copy(source.templates.file(source.key, ".memory"), memory)
        address(memory, fitting)
        disk.replace(source.pool / node.root.name)
        host.call(lambda connection: _go_on(host, connection, node.domain, memory, plugged), deadline_s=_RESTORE_S)
        memory.unlink()
    except OSError as error:
        raise HostError(f"{error.filename or source.pool}: {error.strerror}", hint="df -h; vmlab gc") from error


def _copy(source: Path, to: Path) -> None:
    """It shares the original's blocks where the file system can do that."""
    done = run(("cp", "--reflink=auto", "--sparse=always", "--", str(source), str(to)), deadline_s=_COPY_S)
    if not done.ok:
        raise HostError(done.last_line, hint="df -h; vmlab gc")


def _go_on(host: Host, connection: "libvirt.virConnect", name: str, memory: Path, plugged: Iterable[str]) -> None:
    restore(host, connection, name, str(memory))
    domain = connection.lookupByName(name)
    there = read_domain(domain.XMLDesc()).disks
    for disk in plugged:
        if not any(place.rpartition("/")[2] in disk for place in there):
            domain.attachDeviceFlags(disk, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    domain.resume()


def rotten(source: Source) -> bool:
    """Whether the template's files are not what they were, for whom it failed: then it goes, and is made again."""
    with making(source.key, wait_s=_LOOK_S):
        if not source.templates.rotten(source.key):
            return False
        source.templates.remove(source.key)
        return True


def take_back(host: Host, node: DesiredNode) -> None:
    """Take back what `clone` has done: the node is off, and has no disk, as one that is new."""
    perform(host, StopDomain(node.domain, node.name, _WHY))
    perform(host, RemoveVolume(node.root.name, node.name, _WHY))


def begin_anew(host: Host, node: DesiredNode) -> None:
    """As `take_back`, with a new disk to boot from; its start does the rest."""
    take_back(host, node)
    perform(host, CreateVolume(node.root.name, node.name, _WHY, node.root))


def end_half_made(host: Host, bed: ObservedBed, names: Iterable[str]) -> None:
    """End what killed ones have begun with nodes of this bed; `names` are the files of the bed on this host."""
    owners = map(identity.owner_of, filter(identity.of_clone, names))
    for node in sorted({owner.node for owner in owners if owner is not None and owner.node is not None}):
        if node in bed.nodes and bed.nodes[node].state != "running":
            perform(host, StopDomain(bed.nodes[node].facts.name, node, _WHY))
            perform(host, RemoveVolume(identity.root_volume(bed.name, node), node, _WHY))
        for volume in (identity.clone_memory(bed.name, node), identity.clone_disk(bed.name, node)):
            perform(host, RemoveVolume(volume, node, _WHY))
