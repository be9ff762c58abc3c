"""What is there: beds, and how far each node of one has come. Asked anew each time, never remembered."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.errors import GuestError
from vmlab.guest.boot import DeadGuest
from vmlab.guest.lookout import BOOT, PANIC
from vmlab.guest.satisfy import satisfy
from vmlab.guest.ssh import Guest
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.doors import doors
from vmlab.lab.ground.guests import steps_of
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import ObservedDomain
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline
from vmlab.values import identity
from vmlab.values.pci import PciAddress
from vmlab.virt.connection import Host
from vmlab.virt.console import console_text
from vmlab.virt.observe import domain_state, observe
from vmlab.virt.pins import host_cpus
from vmlab.virt.pool import BEDS, pool_path

_JOBS = 32
_ANSWER_S = 30.0
_BANNER_S = 8.0  # a guest that is emulated on a busy host takes seconds to say who it is


@dataclass(frozen=True, slots=True)
class BedLine:
    """One bed in the list. `nodes` and `running` count domains; both are 0 for a bed of which only disks are left.

    `disks` are those that `down` names: roots, the nodes' own, targets.
    """

    name: str
    nodes: int
    running: int
    disks: int


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node. `state` is libvirt's, `stage` the last of off, domain, kernel, ssh, cloud-init, ready.

    Or panic, paused, saved: `problem` says what is wrong then, `hint` what helps. `devices` are the host's PCI
    functions by the guest's interface that they are.
    """

    name: str
    roles: tuple[str, ...]
    state: str
    stage: str
    vcpus: int
    memory_mib: int
    host_cpus: str
    addresses: tuple[Address, ...]
    devices: Mapping[str, PciAddress]
    disks: tuple[tuple[str, str], ...]
    image: str
    console: str
    problem: str = ""
    hint: str = ""


def beds(host: Host) -> list[BedLine]:
    """All beds on the host, by name."""
    observed = observe(host)
    lines = []
    for name in observed.beds:
        bed = observed.bed(name)
        running = sum(node.running for node in bed.nodes.values())
        lines.append(BedLine(name, len(bed.nodes), running, sum(map(identity.has_data, bed.volumes))))
    return lines


def status(hosts: Hosts, bed: str) -> list[NodeStatus]:
    """Each node of the bed; UsageError if there is no such bed."""
    found = existing(hosts, bed)
    folders = {name: host.call(lambda connection: pool_path(connection, BEDS)) for name, host in hosts.items()}
    nodes = found.metadata
    stages = {name: _off(found.nodes[name]) for name in nodes}
    guests = doors(hosts, found)
    running = [name for name in nodes if found.nodes[name].running]
    if not hosts.have_guests:
        stages |= {name: _Stage("domain") for name in running}
    else:
        asked = each(
            lambda name: _stage(hosts, nodes, guests[name], found.nodes[name], folders[found.nodes[name].host]),
            running,
            jobs=_JOBS,
            failed="not all nodes could be asked",
        )
        stages |= dict(zip(running, asked, strict=True))
    return [
        _node(
            hosts.of(found.nodes[name]), nodes[name], found.nodes[name], stages[name], folders[found.nodes[name].host]
        )
        for name in nodes
    ]


@dataclass(frozen=True, slots=True)
class _Stage:
    name: str
    problem: str = ""
    hint: str = ""


def _off(domain: ObservedDomain) -> _Stage:
    """What is told of a domain that does not run."""
    if not domain.saved:
        return _Stage("off")
    bed, _, node = domain.facts.name.partition(".")
    if domain.saved == "libvirt":
        told = f"{node} is off, its memory is saved, and goes on from there"
        return _Stage("saved", told, f"vmlab power on {bed} {node}")
    worthless = "any other start makes that worthless"
    return _Stage("saved", f"{node} is off, its memory was saved to a file: {worthless}", "virsh restore FILE")


def _node(host: Host, metadata: NodeMetadata, domain: ObservedDomain, stage: _Stage, folder: str) -> NodeStatus:
    facts = domain.facts
    return NodeStatus(
        name=metadata.node,
        roles=metadata.roles,
        state=domain.state,
        stage=stage.name,
        vcpus=facts.vcpus,
        memory_mib=facts.memory_kib // 1024,
        host_cpus=host_cpus(host, facts.name),
        addresses=metadata.addresses,
        devices=facts.ports,
        disks=tuple(zip(facts.serials, facts.disks, strict=False)),
        image=metadata.image,
        console=f"{folder}/{identity.console_volume(metadata.bed, metadata.node)}",
        problem=stage.problem,
        hint=stage.hint,
    )


def _stage(
    hosts: Hosts, nodes: Mapping[str, NodeMetadata], guest: Guest, domain: ObservedDomain, folder: str
) -> _Stage:
    """How far a running guest has come."""
    # One that only starts up is paused, too, and says so.
    host, name = hosts.of(domain), domain.facts.name
    if domain.state == "paused" and domain_state(host, name) == "paused":
        return _Stage("paused", f"{guest.node} is paused", f"virsh -c {host.uri} resume {name}")
    try:
        guest.watch()
        return _Stage(_reached(hosts, nodes, guest, domain, folder))
    except DeadGuest as error:
        stages = {PANIC: PANIC, BOOT: "kernel"}
        return _Stage(stages.get(error.stage, "domain"), error.message, error.hint)


def _reached(hosts: Hosts, nodes: Mapping[str, NodeMetadata], guest: Guest, domain: ObservedDomain, folder: str) -> str:
    """The last stage; raises DeadGuest."""
    metadata = nodes[guest.node]
    if not guest.answers(_BANNER_S):
        printed = console_text(hosts.of(domain), folder, identity.console_volume(metadata.bed, guest.node)).strip()
        return "kernel" if printed else "domain"
    deadline = Deadline.after(_ANSWER_S)
    try:
        with guest:
            guest.connect(deadline)
            done = guest.run(("test", "-e", "/run/cloud-init/result.json"), deadline_s=deadline.left_s)
            if not done.ok:
                return "ssh"
            checks = [replace(s, apply=()) for s in steps_of(hosts, metadata, domain.facts, nodes)]
            satisfy(guest, checks, deadline=deadline)
    except DeadGuest:
        raise
    except GuestError as error:
        return "cloud-init" if error.stage == "roles" else "kernel"
    return "ready"
