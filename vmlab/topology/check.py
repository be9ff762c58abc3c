"""Rules between the keys of an entry and between hosts, fabrics and nodes. `check_filesystems` has the others.

Each rule asks whether what it compares was sound: nothing is reported that is only wrong because of something else.
"""

from collections import Counter

from vmlab.topology import check_bench, check_bridges, check_external, check_site, model
from vmlab.topology.bed import DEFAULT_HOST, MANAGEMENT
from vmlab.topology.names import Unknown, look_up
from vmlab.topology.parse import Parsed, Problems
from vmlab.topology.read import Draft, NodeDraft, reduced
from vmlab.topology.wording import expected, quote
from vmlab.values.libvirt_uri import leads_elsewhere

_LONGEST_INTERFACE = 15
_LEAST_ROUTED = 2
# Addresses that no guest can have: the network's, the host's and the broadcast address.
_KEPT_ADDRESSES = 3


def check(draft: Draft, problems: Problems) -> None:
    """Everything but file systems."""
    check_bridges.check(draft, problems)
    _overlaps(draft, problems)
    _same_lnet(draft, problems)
    _room(draft, problems)
    check_bench.check_devices(draft, problems)
    _shells(draft, problems)
    known: set[int] = set()
    for node in draft.nodes.values():
        if id(node.entry) not in known:
            known.add(id(node.entry))
            _node(node.entry, draft, problems)
            _router(node, draft, problems)
    _limit(draft, problems)
    _keep(draft, problems)
    check_site.check(draft, problems)
    check_external.check(draft, problems)


def _limit(draft: Draft, problems: Problems) -> None:
    for name in draft.head.value.limit if "fabrics" not in draft.blurred else ():
        if name not in (*draft.fabrics, MANAGEMENT) and reduced(name) not in draft.misspelt:
            problems.add(
                draft.head.at("limit", name), f"unknown fabric {quote(name)} ({expected(name, draft.fabrics)})"
            )


def _keep(draft: Draft, problems: Problems) -> None:
    if draft.head.value.keep is not None and len(draft.hosts) > 1:
        problems.add(draft.head.at("keep"), "`keep` of a bed on several hosts (expected one entry under `hosts`)")


def _shells(draft: Draft, problems: Problems) -> None:
    for name, host in draft.hosts.items():
        uri = host.value.uri
        if host.value.ssh is not None and host.sound("uri") and (uri is None or not leads_elsewhere(uri)):
            message = f"`ssh` of host `{name}`, which is this machine (expected `uri` of another one beside it)"
            problems.add(host.at("ssh"), message)


def _overlaps(draft: Draft, problems: Problems) -> None:
    """Sorted by address, a subnet can only overlap the widest one before it."""
    order = {name: number for number, name in enumerate(draft.fabrics)}
    subnets = sorted(
        (subnet, name) for name, fabric in draft.fabrics.items() if (subnet := fabric.value.network) is not None
    )
    widest = subnets[:1]
    for subnet, name in subnets[1:]:
        if subnet.network_address > widest[0][0].broadcast_address:
            widest = [(subnet, name)]
            continue
        earlier, later = sorted((widest[0][1], name), key=order.__getitem__)
        one, other = draft.fabrics[earlier], draft.fabrics[later]
        if one.value.network == other.value.network and one.value.lnet == other.value.lnet and one.value.lnet:
            continue
        if not (one.sound("lnet") and other.sound("lnet")) and one.value.network == other.value.network:
            continue
        message = (
            f"subnet {other.value.network} overlaps {one.value.network} of fabric `{earlier}` (expected a free range)"
        )
        problems.add(other.at("subnet"), message)


def _same_lnet(draft: Draft, problems: Problems) -> None:
    first: dict[str, str] = {}
    management = draft.head.value.management.lnet if draft.head.sound("management") else None
    for name, fabric in draft.fabrics.items():
        lnet = fabric.value.lnet
        if lnet is not None and lnet == management and fabric.sound("lnet"):
            message = f"LNet network `{lnet}` is on `management` and on fabric `{name}` (expected a network of its own)"
            problems.add(fabric.at("lnet"), message)
        if lnet is None or not fabric.sound("lnet", "subnet"):
            continue
        other = first.setdefault(lnet, name)
        one, two = draft.fabrics[other].value.network, fabric.value.network
        if other == name or (one is not None and one == two):
            continue
        subnets = ", ".join(str(subnet or "leased") for subnet in (one, two))
        message = (
            f"LNet network `{lnet}` is on fabrics `{other}` and `{name}` with different subnets: {subnets} "
            f"(expected one subnet, or a network of its own)"
        )
        problems.add(fabric.at("lnet"), message)


def _room(draft: Draft, problems: Problems) -> None:
    wanted: Counter[str] = Counter()
    for node in draft.nodes.values():
        wanted.update({name: use.count for name, use in node.entry.value.fabrics.items()})
    for machine in draft.externals.values():
        wanted.update(machine.entry.value.fabrics.keys())
    for name, fabric in draft.fabrics.items():
        subnet = fabric.value.subnet
        if (
            subnet is not None
            and fabric.value.addresses is None
            and subnet.num_addresses - _KEPT_ADDRESSES < wanted[name]
        ):
            room = subnet.num_addresses - _KEPT_ADDRESSES
            message = f"subnet {subnet} has room for {room} addresses (expected room for {wanted[name]})"
            problems.add(fabric.at("subnet"), message)


def _node(entry: Parsed[model.NodeEntry], draft: Draft, problems: Problems) -> None:
    node = entry.value
    for role, count in Counter(node.role).items():
        if count > 1:
            problems.add(entry.at("role"), f"role `{role}` is given {count} times (expected each once)")
    if node.hugepages and entry.sound("memory", "hugepages") and node.memory % node.hugepages:
        message = f"memory {node.memory} does not fill pages of {node.hugepages} (expected a whole number of them)"
        problems.add(entry.at("memory") if entry.has("memory") else entry.at("hugepages"), message)
    if node.numa.cells and entry.sound("cpus", "numa") and node.numa.cells > node.cpus:
        message = f"{node.numa.cells} cells for {node.cpus} vCPUs (expected at least one vCPU in each cell)"
        problems.add(entry.at("numa"), message)
    if node.pin == "shared" and node.threads != "prefer" and entry.sound("pin", "threads"):
        message = (
            f"`threads: {node.threads}` with `pin: shared` (expected pin: dedicated: shared CPUs have no siblings)"
        )
        problems.add(entry.at("threads"), message)
    _fabrics(entry, draft, problems)
    check_bench.check(entry, problems)
    hosts = list(draft.hosts) or [DEFAULT_HOST]
    if node.host is not None and node.host not in hosts and "hosts" not in draft.blurred:
        problems.add(entry.at("host"), f"unknown host {quote(node.host)} ({expected(node.host, hosts)})")
    for key, sets in (("avoid", node.avoid), ("powers", node.powers)):
        for found in look_up(sets or (), draft):
            if isinstance(found, Unknown):
                problems.add(entry.at(key, found.item), found.message)


def _fabrics(entry: Parsed[model.NodeEntry], draft: Draft, problems: Problems) -> None:
    further = {f"{name}-{n}": name for name, use in entry.value.fabrics.items() for n in range(1, use.count)}
    for name, use in entry.value.fabrics.items():
        if name in further:
            message = f"interface `{name}` is a port of fabric `{further[name]}`, too (expected another fabric's name)"
            problems.add(entry.at("fabrics", name), message)
        if name == "mgmt":
            problems.add(entry.at("fabrics", name), "`mgmt` is always there (expected only other fabrics)")
        elif name not in draft.fabrics:
            if "fabrics" not in draft.blurred and reduced(name) not in draft.misspelt:
                message = f"unknown fabric {quote(name)} ({expected(name, draft.fabrics)})"
                problems.add(entry.at("fabrics", name), message)
        elif use.count > 1 and len(name) <= _LONGEST_INTERFACE < len(f"{name}-{use.count - 1}"):
            message = f"interface `{name}-{use.count - 1}` is too long (expected a fabric's name of fewer characters)"
            problems.add(entry.at("fabrics", name), message)


def lnet_nets(node: NodeDraft, draft: Draft) -> frozenset[str] | None:
    """The LNet networks that a node is on; None: that cannot be told, because something about it is wrong."""
    if not node.entry.sound("fabrics", "role"):
        return None
    fabrics = [draft.fabrics.get(name) for name in node.entry.value.fabrics]
    if not draft.head.sound("management") or any(fabric is None or not fabric.sound("lnet") for fabric in fabrics):
        return None
    nets = [draft.head.value.management.lnet, *(fabric.value.lnet for fabric in fabrics if fabric is not None)]
    return frozenset(filter(None, nets))


def _router(node: NodeDraft, draft: Draft, problems: Problems) -> None:
    if "router" not in node.entry.value.role:
        return
    nets = lnet_nets(node, draft)
    if nets is not None and len(nets) < _LEAST_ROUTED:
        on = ", ".join(sorted(nets)) or "none"
        message = f"router `{node.name}` is on fewer than two LNet networks: {on} (expected fabrics of at least two)"
        problems.add(node.entry.at("fabrics") if node.entry.has("fabrics") else node.entry.mark, message)
