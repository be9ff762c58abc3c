"""What `up` would do: looked at, decided, and nothing done."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vmlab.errors import UsageError
from vmlab.guest.keys import BedKeys
from vmlab.inventory.model import HostInventory
from vmlab.lab.beds.admission import TooLittleMemory, admit
from vmlab.lab.beds.decide import DOMAIN_TYPES, Prepared, decide_all
from vmlab.lab.beds.prepare import acceleration, images_of, prepare, remarks
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.lab.ground.recorded import recorded
from vmlab.plan.desired import Image
from vmlab.plan.observed import Observed
from vmlab.runtime.garbage import uncollected
from vmlab.topology import Topology

# Where things would lie on a host that is not there: libvirt's and vmlab's own defaults.
_POOL = "/var/lib/libvirt/vmlab/beds"
_IMAGES = "/var/lib/libvirt/vmlab/images"


def look(hosts: Hosts, topology: Topology, *, accel: str, restart: bool, progress: Progress) -> Prepared:
    """The decisions of `up` with the same arguments, as the host is now. Subnets are not leased, only looked for."""
    images = images_of(hosts, topology)
    works_with = acceleration(hosts, accel, images, progress)
    prepared = prepare(hosts, topology, accel=works_with, restart=restart, images=images)
    remarks(prepared, images, progress)
    try:
        admit(hosts, prepared)
    except TooLittleMemory as short:
        if not short.going:
            raise
        progress.warn(short.waiting)
    return prepared


def look_as_it_runs(hosts: Hosts, topology: Topology) -> Prepared:
    """As `look`, of a bed that is there, for guests of the kind that it has: whether KVM works is not tried.

    Raises UsageError if nothing of it is there.
    """
    kinds = {kind: accel for accel, kind in DOMAIN_TYPES.items()}
    kind = next(iter(existing(hosts, topology.name).nodes.values())).facts.kind
    return prepare(hosts, topology, accel=kinds[kind], restart=False, images=images_of(hosts, topology))


def look_at_records(topology: Topology, records: Sequence[str], *, progress: Progress) -> Prepared:
    """The decisions of `up` on recorded hosts, under KVM and with nothing of the bed there yet.

    `records` are a folder for the only host, or NAME=FOLDER for each. Raises UsageError if they do not fit the
    topology's hosts.
    """
    with uncollected():
        hosts = _hosts(topology, records)
    images = {
        (host, name): Image(name, f"{_IMAGES}/{name}.qcow2", 0, "root", None)
        for host in hosts
        for name in {node.image: None for node in topology.nodes.values()}
    }
    looks = {host: Observed({}, {}, {}, pool_path=_POOL) for host in hosts}
    with uncollected():
        prepared = decide_all(
            topology,
            looks,
            hosts,
            images=images,
            keys=BedKeys.fresh(Path(topology.name)),
            accel="kvm",
            restart=False,
            recorded=True,
        )
    remarks(prepared, {}, progress)
    return prepared


def _hosts(topology: Topology, records: Sequence[str]) -> Mapping[str, HostInventory]:
    found = {}
    for record in records:
        name, given, folder = record.partition("=")
        if not given:
            if len(topology.hosts) != 1 or len(records) != 1:
                raise UsageError(
                    f"which host is {record}? (hosts of {topology.name}: {', '.join(topology.hosts)})",
                    hint="--inventory NAME=DIR for each",
                )
            name, folder = next(iter(topology.hosts)), record
        if name not in topology.hosts:
            raise UsageError(f"{topology.name} has no host {name} (hosts: {', '.join(topology.hosts)})")
        found[name] = recorded(Path(folder), name)
    if missing := [name for name in topology.hosts if name not in found]:
        raise UsageError(f"no record of {', '.join(missing)}", hint=f"--inventory {missing[0]}=DIR")
    return found
