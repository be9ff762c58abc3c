"""Rules of file systems: who serves which target, with which number, on which disk, and whether LNet joins them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from vmlab.lustre import lnet
from vmlab.topology import model, names
from vmlab.topology.bed import TargetKind
from vmlab.topology.check import lnet_nets
from vmlab.topology.names import Unknown
from vmlab.topology.numbering import numbered, written
from vmlab.topology.parse import Problems
from vmlab.topology.read import Draft, FileSystemDraft, TargetDraft
from vmlab.topology.wording import quote
from vmlab.values.nodeset import fold
from vmlab.values.size import Bytes

_SERVES: dict[TargetKind, tuple[str, ...]] = {"MGT": ("mgs", "mds"), "MDT": ("mds",), "OST": ("oss",)}
_CLIENTS = ("client", "fta")
_MOST_TARGETS = 4096
_HIGHEST_INDEX = 0xFFFF
_LEAST = Bytes(32 << 20)  # mkfs.lustre's; with less it refuses the disk


def check(draft: Draft, problems: Problems) -> None:
    """All file systems, each by itself and against the others."""
    managed: dict[str, str] = {}
    for filesystem in draft.filesystems:
        for target in filesystem.targets:
            _servers(target, draft, problems)
            _storage(target, filesystem, draft, problems)
            if target.kind == "MGT":
                _one_mgs(target, filesystem.name, managed, draft, problems)
        _numbers(filesystem, problems)
        _devices(filesystem, draft, problems)
        if filesystem.external:
            _external_path(filesystem, draft, problems)
        for found in names.look_up(filesystem.entry.value.clients or (), draft):
            if isinstance(found, Unknown):
                problems.add(filesystem.entry.at("clients", found.item), found.message)
        _paths(filesystem, draft, problems)
    _managed(draft, problems)
    _mounts(draft, problems)
    _disk_names(draft, problems)


def clients_of(filesystem: FileSystemDraft, draft: Draft) -> tuple[str, ...]:
    """The nodes that mount a file system."""
    written_clients = filesystem.entry.value.clients
    if written_clients is not None:
        return names.nodes(written_clients, draft)
    return tuple(name for name, node in draft.nodes.items() if not set(_CLIENTS).isdisjoint(node.entry.value.role))


def _servers(target: TargetDraft, draft: Draft, problems: Problems) -> None:
    if not target.entry.sound("servers"):
        return
    seen: set[str] = set()
    for found in names.look_up(target.entry.value.servers, draft):
        mark = target.entry.at("servers", found.item)
        if isinstance(found, Unknown):
            problems.add(mark, found.message)
            continue
        if found.node in seen:
            problems.add(mark, f"server `{found.node}` is given twice (expected each server once)")
        seen.add(found.node)
        node = draft.nodes[found.node].entry
        wanted = _SERVES[target.kind]
        if node.sound("role") and set(wanted).isdisjoint(node.value.role):
            roles = ", ".join(node.value.role)
            message = (
                f"`{found.node}` serves an {target.kind}, but its role is {roles} (expected {' or '.join(wanted)})"
            )
            problems.add(mark, message)


def _storage(target: TargetDraft, filesystem: FileSystemDraft, draft: Draft, problems: Problems) -> None:
    entry = target.entry
    size, device = entry.value.size, entry.value.device
    _failing(target, filesystem, problems)
    count = entry.value.count if isinstance(entry.value, model.TargetEntry) else 1
    if not entry.sound("size", "device"):
        return
    if size is not None and device is not None:
        message = "both `size` and `device` (expected size for a volume, device for what the servers see by themselves)"
        problems.add(entry.at("device"), message)
    elif device is not None and count > 1:
        problems.add(entry.at("count"), f"{count} targets on one device (expected count: 1, or `size`)")
    elif size is None and device is None:
        if not filesystem.entry.sound("backend") or filesystem.entry.value.backend == "wbcfs":
            return
        if target.kind == "MGT":
            _with_mdt0(target, filesystem, draft, problems)
        else:
            problems.add(entry.mark, f"an {target.kind} has neither `size` nor `device` (expected one of them)")
    elif size is not None:
        if size < _LEAST and filesystem.entry.sound("backend") and filesystem.entry.value.backend == "ldiskfs":
            problems.add(entry.at("size"), f"{size} is too small for an {target.kind} (expected at least {_LEAST})")
        if entry.sound("servers") and filesystem.entry.sound("shared") and filesystem.entry.value.shared is None:
            _common_host(target, draft, problems)


def _failing(target: TargetDraft, filesystem: FileSystemDraft, problems: Problems) -> None:
    entry = target.entry
    if not entry.value.faults or not entry.sound("size", "device", "faults"):
        return
    if filesystem.entry.sound("backend") and filesystem.entry.value.backend == "wbcfs":
        problems.add(
            entry.at("faults"), f"an {target.kind} in memory has no disk that could fail (expected no `faults`)"
        )
    elif entry.value.size is None and entry.value.device is None and target.kind == "MGT":
        message = "an MGT on MDT0000's disk has none of its own (expected `faults` there, or a `size`)"
        problems.add(entry.at("faults"), message)


def _with_mdt0(target: TargetDraft, filesystem: FileSystemDraft, draft: Draft, problems: Problems) -> None:
    """An MGT without a disk of its own lies on MDT0000's, so that the two have the same servers."""
    mdts = numbered(filesystem, "MDT") if filesystem.complete else ()
    mdt0 = next((mdt for mdt, index in mdts if index == 0), None)
    if mdt0 is None or not (target.entry.sound("servers") and mdt0.entry.sound("servers")):
        return
    theirs = tuple(names.nodes(mdt0.entry.value.servers, draft))
    if tuple(names.nodes(target.entry.value.servers, draft)) != theirs:
        message = (
            "an MGT with neither `size` nor `device` lies on MDT0000's disk, which has other servers "
            f"(expected {', '.join(theirs)}, or a `size`)"
        )
        problems.add(target.entry.mark, message)


def _common_host(target: TargetDraft, draft: Draft, problems: Problems) -> None:
    placed: dict[str, str] = {}
    for server in names.nodes(target.entry.value.servers, draft):
        node = draft.nodes[server].entry
        if node.value.host is not None and node.sound("host"):
            placed.setdefault(node.value.host, server)
    if len(placed) > 1:
        on = ", ".join(f"`{server}` on `{host}`" for host, server in placed.items())
        message = (
            f"a shared {target.kind} on hosts that do not share the disk: {on} "
            "(expected one host, `device`, `shared: FOLDER`, or `shared: export`)"
        )
        problems.add(target.entry.at("servers"), message)


def _one_mgs(target: TargetDraft, filesystem: str, managed: dict[str, str], draft: Draft, problems: Problems) -> None:
    if not target.entry.sound("servers"):
        return
    for server in names.nodes(target.entry.value.servers, draft):
        other = managed.setdefault(server, filesystem)
        if other != filesystem:
            message = (
                f"`{server}` already serves the MGT of `{other}`, and a node runs one MGS "
                f"(expected no `mgt` here: one MGS serves both)"
            )
            problems.add(target.entry.at("servers"), message)


def _numbers(filesystem: FileSystemDraft, problems: Problems) -> None:
    for kind in ("MDT", "OST"):
        targets = [target for target in filesystem.targets if target.kind == kind]
        counts = [target.entry.value.count for target in targets if isinstance(target.entry.value, model.TargetEntry)]
        if sum(counts) > _MOST_TARGETS:
            message = f"{sum(counts)} {kind}s (expected at most {_MOST_TARGETS})"
            problems.add(filesystem.entry.at(f"{kind.lower()}s"), message)
            continue
        given: dict[int, int] = {}
        for target in targets:
            mark = target.entry.at("index")
            for index in written(target) or ():
                if index > _HIGHEST_INDEX:
                    problems.add(mark, f"{kind} index {index} is too high (expected at most {_HIGHEST_INDEX})")
                    break
                if index in given:
                    message = f"{kind} index {index} is given twice (first at line {given[index]}; expected each once)"
                    problems.add(mark, message)
                    break
                given[index] = mark.line
        sound = all(target.entry.sound("index", "count") for target in targets)
        if kind == "MDT" and filesystem.complete and sound and 0 not in {i for _, i in numbered(filesystem, kind)}:
            problems.add(filesystem.entry.at("mdts"), "no MDT has index 0 (expected the root's MDT0000)")


def _devices(filesystem: FileSystemDraft, draft: Draft, problems: Problems) -> None:
    first: dict[tuple[str, str], TargetDraft] = {}
    for target in filesystem.targets:
        device = target.entry.value.device
        if device is None or not target.entry.sound("servers", "device"):
            continue
        for server in names.nodes(target.entry.value.servers, draft):
            other = first.setdefault((server, device), target)
            if other is not target:
                line = other.entry.mark.line
                message = f"`{server}` has a target on {device} at line {line} (expected one target per device)"
                problems.add(target.entry.at("device"), message)
                break


def _paths(filesystem: FileSystemDraft, draft: Draft, problems: Problems) -> None:
    servers = set(_servers_of(filesystem, draft))
    clients = clients_of(filesystem, draft) if filesystem.entry.sound("clients") else ()
    nets = {name: on for name, node in draft.nodes.items() if (on := lnet_nets(node, draft)) is not None}
    certain = len(nets) == len(draft.nodes) and draft.blurred.isdisjoint(("nodes", "fabrics"))
    everybody = [name for name in nets if name in servers or name in clients] if servers else []
    nowhere = [name for name in everybody if not nets[name]]
    if nowhere:
        message = (
            f"file system `{filesystem.name}` needs nodes that are on no LNet network: {_folded(nowhere)} "
            "(expected a fabric with `lnet`)"
        )
        problems.add(filesystem.entry.mark, message)
    if not certain:
        # What is wrong may be the router that is missing.
        return
    groups: dict[frozenset[str], list[str]] = {}
    for name in everybody:
        if nets[name]:
            groups.setdefault(nets[name], []).append(name)
    between = _between(nets, draft)
    mark = filesystem.entry.at("clients") if filesystem.entry.has("clients") else filesystem.entry.mark
    # One problem for each group that cannot talk to an earlier one. Clients do not talk to each other.
    ordered = list(groups)
    for place, other in enumerate(ordered):
        for one in ordered[:place]:
            if servers.isdisjoint(groups[one] + groups[other]) or lnet.reaches(one, other, between):
                continue
            ends = " and ".join(f"{_folded(groups[ends])} ({', '.join(sorted(ends))})" for ends in (one, other))
            problems.add(mark, f"no LNet path between {ends} (expected a common LNet network, or routers between)")
            break


def _between(nets: Mapping[str, frozenset[str]], draft: Draft) -> lnet.Distances:
    """By way of nodes that are routers, and of the site's."""
    site = {
        f"{nid} {beyond}": {nid.net, beyond}
        for fabric in draft.fabrics.values()
        for beyond, nids in fabric.value.routers.items()
        for nid in nids
    }
    routers = [name for name in nets if "router" in draft.nodes[name].entry.value.role]
    return lnet.distances({**nets, **site}, [*routers, *site])


def _external_path(filesystem: FileSystemDraft, draft: Draft, problems: Problems) -> None:
    """Each client reaches a NID at least."""
    clients = clients_of(filesystem, draft) if filesystem.entry.sound("clients") else ()
    nets = {name: has for name, node in draft.nodes.items() if (has := lnet_nets(node, draft)) is not None}
    sound = all(fabric.sound("lnet", "routers") for fabric in draft.fabrics.values())
    certain = len(nets) == len(draft.nodes) and draft.blurred.isdisjoint(("nodes", "fabrics")) and sound
    if not certain or not filesystem.entry.sound("external"):
        return
    between, wanted = _between(nets, draft), {nid.net for nid in filesystem.external}
    cut_off = [name for name in clients if not lnet.reaches(nets[name], wanted, between)]
    if cut_off:
        on = ", ".join(sorted({one for name in cut_off for one in nets[name]})) or "no LNet network"
        message = (
            f"no LNet path between {_folded(cut_off)} ({on}) and the MGS of `{filesystem.name}` "
            f"({', '.join(map(str, filesystem.external))}) (expected a fabric with its network, or `routers` to it)"
        )
        problems.add(filesystem.entry.at("external"), message)


def _servers_of(filesystem: FileSystemDraft, draft: Draft) -> Iterator[str]:
    for target in filesystem.targets:
        if target.entry.sound("servers"):
            yield from names.nodes(target.entry.value.servers, draft)


def _folded(nodes: Iterable[str]) -> str:
    return f"`{fold(nodes)}`"


def _managed(draft: Draft, problems: Problems) -> None:
    if any(target.kind == "MGT" for filesystem in draft.filesystems for target in filesystem.targets):
        return
    for filesystem in draft.filesystems:
        if filesystem.complete and filesystem.entry.sound("mgt"):
            message = f"file system `{filesystem.name}` has no MGT, and no other one has (expected the key `mgt`)"
            problems.add(filesystem.entry.mark, message)


def _mounts(draft: Draft, problems: Problems) -> None:
    mounted: dict[tuple[str, str], str] = {}
    for filesystem in draft.filesystems:
        if not filesystem.entry.sound("mount", "clients"):
            continue
        mount = filesystem.entry.value.mount
        for client in clients_of(filesystem, draft):
            other = mounted.setdefault((client, mount), filesystem.name)
            if other != filesystem.name:
                message = f"`{client}` already has `{other}` at {mount} (expected another `mount`)"
                problems.add(
                    filesystem.entry.at("mount") if filesystem.entry.has("mount") else filesystem.entry.mark, message
                )
                break


def _disk_names(draft: Draft, problems: Problems) -> None:
    """A disk's name and a target's label are serial numbers of disks of the same guest."""
    disks: Counter[str] = Counter(disk.label for node in draft.nodes.values() for disk in node.entry.value.disks)
    if not disks:
        return
    labels = {f"{filesystem.name}-MGS" for filesystem in draft.filesystems}
    for filesystem in draft.filesystems:
        for kind in ("MDT", "OST"):
            if sum(getattr(target.entry.value, "count", 1) for target in filesystem.targets) <= _MOST_TARGETS:
                labels |= {f"{filesystem.name}-{kind}{index:04x}" for _, index in numbered(filesystem, kind)}
    for node in draft.nodes.values():
        for number, disk in enumerate(node.entry.value.disks):
            if disk.label in labels:
                message = f"disk {quote(disk.name)} has the name of a Lustre target (expected another name)"
                problems.add(node.entry.at("disks", number, "name"), message)
