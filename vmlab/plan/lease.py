"""Subnets and addresses: what a bed has it keeps, what is new is leased from where nobody else is.

A lease is remembered by the network's and the domains' metadata alone. Whoever leases holds the host's lease lock
until the networks exist.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from vmlab.errors import HostError
from vmlab.plan.observed import Observed, ObservedBed
from vmlab.topology import MANAGEMENT, Topology
from vmlab.values.addresses import RANGE, AddressRange

_SMALL = 6  # bits of a subnet without the room for that
_FIRST_HOST = 11  # leaves room for the gateway and for what a lab puts beside the guests


@dataclass(frozen=True, slots=True)
class Leases:
    """The bed's subnets by fabric (`mgmt` too), and each node's addresses by (node, fabric, index).

    `gateways` are those of the management network by host, where it is not the network's first address. `routed` are
    the management networks of hosts that have one each.
    """

    subnets: Mapping[str, IPv4Network]
    addresses: Mapping[tuple[str, str, int], IPv4Interface]
    gateways: Mapping[str, str] = field(default_factory=dict)
    routed: Mapping[str, IPv4Network] = field(default_factory=dict)

    def subnet(self, fabric: str, host: str) -> IPv4Network:
        """That of a network on a host."""
        return self.routed.get(host, self.subnets[fabric]) if fabric == MANAGEMENT else self.subnets[fabric]


def interface_name(fabric: str, index: int) -> str:
    """The network interface's name in the guest: `ib0`, and for further ports on the fabric `ib0-1`, `ib0-2`."""
    return fabric if index == 0 else f"{fabric}-{index}"


def ports(topology: Topology, node: str) -> Iterator[tuple[str, int]]:
    """A node's interfaces as (fabric, index), the management network first."""
    yield MANAGEMENT, 0
    for fabric, count in topology.nodes[node].fabrics.items():
        for index in range(count):
            yield fabric, index


def lease(topology: Topology, bed: ObservedBed, looks: Mapping[str, Observed]) -> Leases:
    """Subnets and addresses for every node; those in force stay as they are. `looks` are at each host of the bed.

    One of several hosts has an address of its own in the management network, at its far end, but for the first.
    Raises HostError when a subnet that the file asks for is taken, or when none is free.
    """
    taken = [found for look in looks.values() for found in _taken(topology.name, look)]
    subnets = _subnets_in_force(bed, taken)
    sizes = {MANAGEMENT: len(topology.nodes) + len(looks) - 1}
    for node in topology.nodes.values():
        for fabric, count in node.fabrics.items():
            sizes[fabric] = sizes.get(fabric, 0) + count
    site = topology.management
    for asked in topology.described:
        if asked.subnet is not None and asked.addresses is not None:
            subnets[asked.name] = asked.subnet  # the site's: the host may well be in it, and other beds too
        elif asked.subnet is not None:
            subnets[asked.name] = _asked(asked.name, asked.subnet, taken)
    for name in (MANAGEMENT, *topology.fabrics):
        if name not in subnets:
            subnets[name] = _free(sizes.get(name, 0), [*taken, *((n, "this bed") for n in subnets.values())])
    routed = _routed(topology, looks)
    apart = site is not None or routed
    gateways = {} if apart else _gateways(topology.name, bed, looks, subnets[MANAGEMENT])
    others = {*_of_others(topology.name, looks.values()), *map(IPv4Address, gateways.values())}
    if site is not None:
        others |= site.taken | {spec.address for spec in topology.hosts.values() if spec.address is not None}
    drawn = Leases(subnets, {}, gateways, routed)
    return replace(drawn, addresses=dict(_addresses(topology, bed, drawn, others)))


def _routed(topology: Topology, looks: Mapping[str, Observed]) -> dict[str, IPv4Network]:
    """The bed's part of what the site routes to each host: what is in force stays."""
    found = {}
    for host, look in looks.items():
        whole = topology.hosts[host].routed if host in topology.hosts else None  # a recorded one has its own name
        if whole is None:
            continue
        network = look.bed(topology.name).networks.get(MANAGEMENT)
        metadata = network.facts.metadata if network is not None else None
        if metadata is not None and metadata.subnet.subnet_of(whole):
            found[host] = metadata.subnet
            continue
        guests = sum(node.host in (None, host) for node in topology.nodes.values())
        found[host] = _free(guests, _taken(topology.name, look), whole)
    return found


def _gateways(name: str, bed: ObservedBed, looks: Mapping[str, Observed], subnet: IPv4Network) -> dict[str, str]:
    """Those of all hosts but one, which has the subnet's first address; what is in force stays."""
    if len(looks) <= 1:
        return {}
    networks = {host: look.bed(name).networks.get(MANAGEMENT) for host, look in looks.items()}
    in_force = {
        host: network.facts.gateway
        for host, network in networks.items()
        if network is not None and network.facts.gateway and IPv4Address(network.facts.gateway) in subnet
    }
    taken = {*in_force.values(), *(str(address.ip.ip) for node in bed.metadata.values() for address in node.addresses)}
    found = {}
    free = (str(subnet[offset]) for offset in (1, *range(-2, -subnet.num_addresses + _FIRST_HOST, -1)))
    for host in looks:
        found[host] = in_force.get(host) or next((address for address in free if address not in taken), "")
        if not found[host]:
            raise HostError(
                f"the management network {subnet} has no address left for {host}", hint=f"vmlab down {name}"
            )
        taken.add(found[host])
    return {host: address for host, address in found.items() if address != str(subnet[1])}


def _of_others(bed: str, looks: Collection[Observed]) -> set[IPv4Address]:
    """The addresses that nodes of other beds have."""
    others = [d.facts.metadata for look in looks for d in look.domains.values() if d.facts.metadata is not None]
    return {address.ip.ip for other in others if other.bed != bed for address in other.addresses}


def _taken(bed: str, observed: Observed) -> list[tuple[IPv4Network, str]]:
    """What others use: (subnet, by whom)."""
    taken = []
    own_bridges = set()
    for name, network in observed.networks.items():
        metadata = network.facts.metadata
        if metadata is not None and metadata.bed == bed:
            own_bridges.add(network.facts.bridge)
            continue
        taken += [(subnet, f"the libvirt network {name}") for subnet in network.facts.subnets]
        if metadata is not None:
            taken.append((metadata.subnet, f"the bed {metadata.bed}"))
    for domain in observed.domains.values():
        other = domain.facts.metadata
        if other is not None and other.bed != bed:
            taken += [(address.ip.network, f"the bed {other.bed}") for address in other.addresses]
    taken += [
        (route, f"the host's route over {dev}") for dev, route in observed.routes if dev and dev not in own_bridges
    ]
    return taken


def _subnets_in_force(bed: ObservedBed, taken: Iterable[tuple[IPv4Network, str]]) -> dict[str, IPv4Network]:
    """What the bed has, but for networks that were never started and whose subnet somebody else has by now.

    Management over a network of the site is written in the file, or over.
    """
    subnets = {
        address.fabric: address.ip.network
        for metadata in bed.metadata.values()
        for address in metadata.addresses
        if not (address.kind == "management" and metadata.on_site)
    }
    for fabric, network in bed.networks.items():
        if network.facts.metadata is None:
            continue
        subnet = network.facts.metadata.subnet
        if network.active or not any(subnet.overlaps(other) for other, _ in taken):
            subnets[fabric] = subnet
        else:
            subnets.pop(fabric, None)
    return subnets


def _asked(fabric: str, subnet: IPv4Network, taken: Iterable[tuple[IPv4Network, str]]) -> IPv4Network:
    for other, owner in taken:
        if subnet.overlaps(other):
            raise HostError(
                f"the subnet {subnet} of the fabric {fabric} is taken: {owner} has {other}",
                hint="leave `subnet` out, and vmlab leases a free one",
            )
    return subnet


def _free(hosts: int, taken: list[tuple[IPv4Network, str]], whole: IPv4Network = RANGE) -> IPv4Network:
    prefix = max(24, whole.prefixlen)
    while 2 ** (32 - prefix) - _FIRST_HOST - 1 < hosts and prefix > whole.prefixlen:
        prefix -= 1
    room = 2 ** (32 - prefix) - (_FIRST_HOST if 32 - prefix > _SMALL else 2) - 1 >= hosts
    for candidate in whole.subnets(new_prefix=prefix) if room else ():
        if not any(candidate.overlaps(other) for other, _ in taken):
            return candidate
    raise HostError(
        f"no free /{prefix} subnet for {hosts} addresses is left in {whole}",
        hint="`vmlab list` shows the beds that hold subnets, `vmlab down BED` frees one's",
    )


def _addresses(
    topology: Topology, bed: ObservedBed, drawn: Leases, others: Collection[IPv4Address]
) -> Iterator[tuple[tuple[str, str, int], IPv4Interface]]:
    kept = {
        (metadata.node, address.interface): address.ip.ip
        for metadata in bed.metadata.values()
        for address in metadata.addresses
    }
    leaving = {
        address.ip.ip
        for metadata in bed.metadata.values()
        if metadata.node not in topology.nodes
        for address in metadata.addresses
    }
    elsewhere = {address: other.name for other in topology.externals.values() for address in other.addresses.values()}
    kept_free = {*leaving, *elsewhere, *others, *(nid.address for nid in topology.site_routers)}
    wanted: dict[tuple[str, IPv4Network], list[tuple[str, int]]] = {}
    for node in topology.nodes:
        found = bed.nodes.get(node)
        host = (found.host if found is not None else topology.nodes[node].host) or next(iter(topology.hosts))
        for fabric, index in ports(topology, node):
            wanted.setdefault((fabric, drawn.subnet(fabric, host)), []).append((node, index))
    used_in: dict[IPv4Network, set[IPv4Address]] = {}  # two fabrics of one LNet network may share a subnet
    for (fabric, subnet), members in wanted.items():
        used = used_in.setdefault(subnet, set(kept_free))
        known = topology.fabric(fabric)
        span = known.addresses if known is not None else None
        new = []
        for node, index in members:
            address = kept.get((node, interface_name(fabric, index)))
            if address in elsewhere:
                raise HostError(
                    f"{address} on {fabric} is written for the external node {elsewhere[address]}, and {node} has it",
                    hint=f"write the address that {elsewhere[address]} really has, or: vmlab down {topology.name}",
                )
            if address is not None and address in (span or subnet):
                used.add(address)
                yield (node, fabric, index), IPv4Interface((int(address), subnet.prefixlen))
            else:
                new.append((node, index))
        free = _free_of_site(fabric, span, used) if span else _free_addresses(fabric, subnet, used)
        for node, index in new:
            address = next(free)
            used.add(address)
            yield (node, fabric, index), IPv4Interface((int(address), subnet.prefixlen))


def _free_of_site(fabric: str, span: AddressRange, used: set[IPv4Address]) -> Iterator[IPv4Address]:
    yield from (address for address in span if address not in used)
    raise HostError(
        f"the addresses {span} of the fabric {fabric} are all taken, by this bed or others on its hosts",
        hint="`vmlab list` shows the beds; or give it more `addresses`",
    )


def _free_addresses(fabric: str, subnet: IPv4Network, used: set[IPv4Address]) -> Iterator[IPv4Address]:
    # A small subnet that a file gives leaves no room for the gap at the start.
    start = _FIRST_HOST if subnet.num_addresses > 1 << _SMALL else 2
    for offset in range(start, subnet.num_addresses - 1):
        if subnet[offset] not in used:
            yield subnet[offset]
    raise HostError(f"the subnet {subnet} of the fabric {fabric} has no address left", hint="give it a larger `subnet`")
