"""What libvirt knows: beds, and the nodes of one. Asked anew each time, never remembered; `reached` asks the guests."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.errors import HostError
from vmlab.lab.ground.bed import hosts_at
from vmlab.lab.ground.bed_folder import spread_beds, ways_of
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import CRASHED, ObservedBed, ObservedDomain
from vmlab.runtime.garbage import uncollected
from vmlab.topology import Fabric, Topology
from vmlab.values import identity
from vmlab.values.pci import PciAddress
from vmlab.virt.bed_files import beds_with_folders, files_of_beds
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe
from vmlab.virt.pins import host_cpus
from vmlab.virt.pool import BEDS, pool_path

EXTERNAL = "external"
"""The state of a machine that is no guest."""


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
    """One node. `state` is libvirt's, or EXTERNAL, `stage` the last of off, domain, kernel, ssh, cloud-init, ready.

    Or panic, paused, saved: `problem` says what is wrong then, `hint` what helps. It is "" as long as nobody asked a
    guest that runs. `devices` are the host's PCI functions by the guest's interface that they are. `host` is as the
    topology names it.
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
    host: str = ""


def beds(host: Host) -> list[BedLine]:
    """All beds on the host, by name."""
    observed = observe(host, whole=False)
    files = [(name, owner.bed) for name in files_of_beds(host) if (owner := identity.owner_of(name)) is not None]
    disks = Counter(bed for name, bed in files if identity.has_data(name))
    lines = []
    for name in sorted({*observed.beds, *beds_with_folders(host), *(bed for _, bed in files)}):
        nodes = observed.bed(name).nodes.values()
        lines.append(BedLine(name, len(nodes), sum(node.running for node in nodes), disks[name]))
    return lines


def beds_elsewhere(tell: Callable[[str], None]) -> list[BedLine]:
    """The beds that are on several hosts, or on another machine; `tell` hears of hosts that are away."""
    lines = []
    for folder in spread_beds():
        try:
            with hosts_at(ways_of(folder), tolerant=True) as hosts:
                for away in hosts.away.values():
                    tell(f"{folder.name}: the host {away.name} is away: {away.why.message}")
                told = hosts.each(beds, failed="not all hosts could be asked")
                parts = [line for lines_there in told.values() for line in lines_there if line.name == folder.name]
        except HostError as error:
            tell(f"{folder.name}: {error.message}")
            continue
        counts = ((part.nodes, part.running, part.disks) for part in parts)
        lines.append(
            BedLine(folder.name, *map(sum, zip(*counts, strict=True))) if parts else BedLine(folder.name, 0, 0, 0)
        )
    return lines


def known(hosts: Hosts, bed: ObservedBed) -> list[NodeStatus]:
    """Each node of the bed, as far as libvirt tells: all there is where nobody is behind the domains that run."""
    domains: dict[str, set[str]] = {name: set() for name in hosts}
    for domain in bed.nodes.values():
        domains[domain.host].add(domain.facts.name)

    def asked(host: Host) -> tuple[str, Mapping[str, str]]:
        return host.call(lambda connection: pool_path(connection, BEDS)), host_cpus(host, domains[host.name])

    told = hosts.each(asked, failed="not all hosts could be asked")
    runs = "" if hosts.have_guests else "domain"

    def node(metadata: NodeMetadata, domain: ObservedDomain) -> NodeStatus:
        folder, cpus = told[domain.host]
        return _node(metadata, domain, cpus.get(domain.facts.name, ""), folder, runs)

    with uncollected():
        return [node(metadata, bed.nodes[name]) for name, metadata in bed.metadata.items()]


def externals(topology: Topology) -> list[NodeStatus]:
    """The machines that are no guests: what the file says of them, since nobody else here knows them."""
    return [
        NodeStatus(
            name=machine.name,
            roles=machine.roles,
            state=EXTERNAL,
            stage="",
            vcpus=0,
            memory_mib=0,
            host_cpus="",
            addresses=tuple(_written(topology.fabrics[name], ip) for name, ip in machine.addresses.items()),
            devices={},
            disks=(),
            image="",
            console="",
        )
        for machine in topology.externals.values()
    ]


def _written(fabric: Fabric, address: IPv4Address) -> Address:
    prefix = 32 if fabric.subnet is None else fabric.subnet.prefixlen
    return Address(fabric.name, fabric.kind, EXTERNAL, fabric.name, "", IPv4Interface((address, prefix)))


def _node(metadata: NodeMetadata, domain: ObservedDomain, cpus: str, folder: str, runs: str) -> NodeStatus:
    facts = domain.facts
    stage, problem, hint = _dead(domain) or (runs, "", "")
    return NodeStatus(
        name=metadata.node,
        roles=metadata.roles,
        state=domain.state,
        stage=stage,
        vcpus=facts.vcpus,
        memory_mib=facts.memory_kib // 1024,
        host_cpus=cpus,
        addresses=metadata.addresses,
        devices=facts.ports,
        disks=tuple(zip(facts.serials, facts.disks, strict=False)),
        image=metadata.image,
        console=f"{folder}/{identity.console_volume(metadata.bed, metadata.node)}",
        problem=problem,
        hint=hint,
        host=domain.host,
    )


def _dead(domain: ObservedDomain) -> tuple[str, str, str] | None:
    """Stage, problem and hint of a domain that does not run, or whose kernel does not; None of any other."""
    bed, _, node = domain.facts.name.partition(".")
    if domain.state == CRASHED:
        kept = f"its kernel crashed; its memory is kept for `vmlab collect {bed}`"
        return "panic", f"{node}: {kept}", f"vmlab power cycle {bed} {node}"
    if domain.running:
        return None
    if not domain.saved:
        return "off", "", ""
    if domain.saved == "libvirt":
        told = f"{node} is off, its memory is saved, and goes on from there"
        return "saved", told, f"vmlab power on {bed} {node}"
    worthless = "any other start makes that worthless"
    return "saved", f"{node} is off, its memory was saved to a file: {worthless}", "virsh restore FILE"
