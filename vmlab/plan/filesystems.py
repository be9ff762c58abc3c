"""What the guests of a bed must satisfy for LNet and its file systems: stages, one after the other.

What is in one stage may run all at once, on one node too. So a stage costs its slowest track, and the whole bed boot
plus the slowest mkfs and the slowest mount of each kind.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from vmlab.domainxml.metadata import Address
from vmlab.errors import HostError
from vmlab.lustre import failing, lnetconf
from vmlab.lustre.lnetconf import Lnet, LnetInterface
from vmlab.lustre.target import Recovery, Target, disk_path
from vmlab.lustre.version import Version
from vmlab.roles import ROLES, ClientMount, Member, Role, erase, role_steps, unmount, unmount_client
from vmlab.steps import Step
from vmlab.topology import Topology, bed
from vmlab.values.nid import Nid
from vmlab.values.nodeset import fold


@dataclass(frozen=True, slots=True)
class Track:
    """Steps of one node, in their order. `what` tells it from the node's other tracks: `lnet`, `lustre-OST0000`."""

    node: str
    what: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """Tracks that may run at once. All of them must hold before the next stage begins."""

    name: str
    tracks: tuple[Track, ...]

    @property
    def looks(self) -> str:
        """What it is called as long as it only looks: a disk that is looked at is not being formatted."""
        return "look at disks" if self.name == FORMAT else f"check {self.name.removeprefix('check ')}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is not in the topology.

    `reformat` are the labels of targets that are erased first; they must be unmounted on all their servers.
    `recovery` shortens the recovery windows of targets that are mounted now. `active` says which server has a target,
    by label, where it is not the primary. `forgotten` are file systems that no server remembers: clients that
    have them mounted unmount them first.
    """

    reformat: frozenset[str] = frozenset()
    recovery: Recovery | None = None
    active: Mapping[str, str] | None = None
    forgotten: frozenset[str] = frozenset()


_NO_WISHES = Wishes()


def lnet(topology: Topology, addresses: Mapping[str, Sequence[Address]]) -> dict[str, Lnet]:
    """Each node's LNet configuration; LNet uses what the topology gives it, and never the management network."""
    places = {
        node: [
            LnetInterface(address.interface, address.mac, Nid(address.ip.ip, net))
            for address in addresses[node]
            if (net := topology.lnet(address.fabric)) is not None
        ]
        for node in topology.nodes
    }
    routers = [node.name for node in topology.nodes.values() if "router" in node.roles]
    return lnetconf.configure(places, routers, topology.site_routers)


def targets(topology: Topology, configs: Mapping[str, Lnet]) -> dict[str, Target]:
    """The targets as their tools see them, by label. An MGT that lies with MDT0000 is no target of its own.

    Raises HostError for what Lustre has no words for: a partner of a target that is in memory.
    """
    mgs = _mgs(topology, configs)
    shared = {target.fsname for target in topology.targets if _lies_with_mdt0(topology, target)}
    found = {}
    for target in topology.targets:
        if _lies_with_mdt0(topology, target):
            continue
        filesystem = topology.filesystems[target.fsname]
        if filesystem.backend == "wbcfs" and len(target.servers) > 1:
            raise HostError(
                f"{target.label} is in the memory of {target.servers[0]}: no partner can take it over",
                hint=f"give it one server, or {target.fsname} another `backend`",
            )
        disk = target.device or (disk_path(target.label) if target.size is not None else "")
        disk = "" if filesystem.backend == "wbcfs" else disk
        found[target.label] = Target(
            bed=topology.name,
            fsname=target.fsname,
            kind=target.kind,
            index=target.index,
            backend=filesystem.backend,
            disk=failing.device(target.label) if target.faults and disk else disk,
            servers=tuple(configs[server].nids for server in target.servers),
            mgs=mgs[target.fsname],
            manages=target.kind == "MDT" and target.index == 0 and target.fsname in shared,
            mkfs_options=filesystem.mkfs_options,
            below=disk if target.faults else "",
        )
    return found


def members(topology: Topology, configs: Mapping[str, Lnet], versions: Mapping[str, Version]) -> dict[str, Member]:
    """The nodes that carry Lustre, with all that their roles need.

    Raises HostError if a node of a file system carries none, or does not reach the MGS.
    """
    found = targets(topology, configs)
    check_images(topology, versions, topology.nodes)
    mgs = _mgs(topology, configs)
    pings = lnetconf.pings({node: configs[node] for node in configs if node in versions}, _servers(topology))
    return {
        node: Member(
            node=node,
            version=versions[node],
            lnet=configs[node],
            targets=tuple(found[t.label] for t in topology.targets if node in t.servers and t.label in found),
            mounts=tuple(
                ClientMount(
                    f.name,
                    _reached(node, f.name, configs[node], mgs[f.name]),
                    f.mount,
                    f.mount_options,
                    external=bool(f.external),
                )
                for f in topology.filesystems.values()
                if node in f.clients
            ),
            reaches=pings[node],
        )
        for node in topology.nodes
        if node in versions
    }


def check_images(topology: Topology, carrying: Collection[str], known: Collection[str]) -> None:
    """Raise HostError, which names the images, if a node of a file system is `known` and does not carry Lustre."""
    wanted = {server for target in topology.targets for server in target.servers}
    wanted |= {client for filesystem in topology.filesystems.values() for client in filesystem.clients}
    without = [node for node in known if node in wanted and node not in carrying]
    if without:
        raise no_lustre(topology, without, f"{fold(without)} must serve or mount a file system, and ")


def check_backends(topology: Topology, backends: Mapping[str, Collection[str]]) -> None:
    """Raise HostError if a server's image is known to bring other backends than its targets need; by node."""
    for target in topology.targets:
        wanted = topology.filesystems[target.fsname].backend
        for server in target.servers:
            if backends.get(server) and wanted not in backends[server]:
                image, has = topology.nodes[server].image, ", ".join(backends[server])
                raise HostError(
                    f"{server} must serve {target.label} on {wanted}, and Lustre in the image {image} has only {has}",
                    hint=f"use an image with {wanted}: vmlab image list; or `backend: {next(iter(backends[server]))}`",
                )


def no_lustre(topology: Topology, nodes: Iterable[str], told: str = "") -> HostError:
    """What to raise of nodes whose image carries no Lustre."""
    images = ", ".join(dict.fromkeys(topology.nodes[node].image for node in sorted(nodes)))
    hint = "use an image that carries Lustre: vmlab image list"
    return HostError(f"{told}the image has no Lustre: {images}", hint=hint)


def lnet_stages(topology: Topology, all_members: Mapping[str, Member]) -> tuple[Stage, ...]:
    """LNet and modules on all nodes, disks on all servers; then everybody pings whom it should reach."""
    configured = [
        *_by_node(topology, all_members, "lnet", lambda role, member: role.configure(member)),
        *_by_node(topology, all_members, "disks", lambda role, member: role.prepare(member)),
    ]
    reached = _by_node(topology, all_members, "ping", lambda role, member: role.reach(member))
    return _stages([("configure LNet", configured), ("ping over LNet", reached)])


def filesystem_stages(
    topology: Topology, all_members: Mapping[str, Member], wishes: Wishes = _NO_WISHES
) -> tuple[Stage, ...]:
    """All targets formatted at once; then mounted: MGTs, MDT0000s, the other MDTs, OSTs; then the clients.

    Clients are mounted when MDTs have found OSTs.
    """
    placed = _placed(topology, all_members, wishes.active or {})

    def format_(role: Role, member: Member, target: Target) -> tuple[Step, ...]:
        del member
        return (*(erase(target) if target.label in wishes.reformat else ()), *role.format(target))

    def mount(role: Role, member: Member, target: Target) -> tuple[Step, ...]:
        return role.mount(target, member.version, wishes.recovery)

    wanted = [(UNMOUNT_CLIENTS, _forgotten(all_members, wishes.forgotten)), (FORMAT, _by_target(placed, format_))]
    for order, group in groupby(sorted(placed, key=lambda p: _order(p[2])), key=lambda p: _order(p[2])):
        wanted.append((_MOUNT_ORDER[order], _by_target(group, mount)))
    entered = {mount.fsname for member in all_members.values() for mount in member.mounts}
    doors = [p for p in placed if p[2].kind == "MDT" and p[2].fsname in entered]
    wanted.append((FIND_OSTS, _by_target(doors, lambda role, _, target: role.connect(target))))
    wanted.append((PING_SERVERS, _by_mount(all_members, _any_role().reach_servers)))
    wanted.append((MOUNT_CLIENTS, _by_mount(all_members, _any_role().mount_client)))
    return _stages(wanted)


def unmount_stages(
    topology: Topology, all_members: Mapping[str, Member], forgotten: Collection[str] = ()
) -> tuple[Stage, ...]:
    """Clients, then OSTs, MDTs, MGTs, each on every server that may have it. For `forgotten` see `Wishes`."""
    del topology
    found = [(member, target) for member in all_members.values() for target in member.targets]
    remembered = _by_mount(all_members, lambda m: () if m.fsname in forgotten else unmount_client(m))
    wanted = [(UNMOUNT_CLIENTS, [*remembered, *_forgotten(all_members, forgotten)])]
    backwards = sorted(found, key=lambda pair: -_order(pair[1]))
    for order, group in groupby(backwards, key=lambda pair: _order(pair[1])):
        tracks = [Track(member.node, target.label, unmount(target)) for member, target in group]
        wanted.append((_MOUNT_ORDER[order].replace("mount", "unmount"), tracks))
    return _stages(wanted)


FORMAT = "format"
FIND_OSTS = "find OSTs"
PING_SERVERS = "ping external servers"
MOUNT_CLIENTS = "mount clients"
UNMOUNT_CLIENTS = "unmount clients"
_MOUNT_ORDER = ("mount MGT", "mount MDT0000", "mount MDTs", "mount OSTs")


def _order(target: Target) -> int:
    """The place in `_MOUNT_ORDER`. The other MDTs ask MDT0000 for their part of the name space."""
    if target.kind == "MDT":
        return 1 if target.index == 0 else 2
    return 0 if target.kind == "MGT" else 3


def _placed(
    topology: Topology, all_members: Mapping[str, Member], active: Mapping[str, str]
) -> list[tuple[Role, Member, Target]]:
    """Each target with the server that has it, and the role that serves it there."""
    found = []
    for target in topology.targets:
        member = all_members[active.get(target.label, target.servers[0])]
        served = [(ROLES[role], t) for role in topology.nodes[member.node].roles for t in ROLES[role].targets(member)]
        found += [(role, member, t) for role, t in served if t.label == target.label][:1]
    return found


def _by_node(
    topology: Topology, all_members: Mapping[str, Member], what: str, steps: Callable[[Role, Member], Iterable[Step]]
) -> list[Track]:
    return [
        Track(node, what, role_steps(s for role in topology.nodes[node].roles for s in steps(ROLES[role], member)))
        for node, member in all_members.items()
    ]


def _by_target(
    placed: Iterable[tuple[Role, Member, Target]], steps: Callable[[Role, Member, Target], tuple[Step, ...]]
) -> list[Track]:
    return [Track(member.node, target.label, steps(role, member, target)) for role, member, target in placed]


def _by_mount(all_members: Mapping[str, Member], steps: Callable[[ClientMount], tuple[Step, ...]]) -> list[Track]:
    return [Track(m.node, mount.fsname, steps(mount)) for m in all_members.values() for mount in m.mounts]


def _forgotten(all_members: Mapping[str, Member], fsnames: Collection[str]) -> list[Track]:
    return _by_mount(all_members, lambda m: unmount_client(m, lost=True) if m.fsname in fsnames else ())


def _any_role() -> Role:
    """A file system may name any node as its client, whatever its role."""
    return ROLES["client"]


def _stages(wanted: Iterable[tuple[str, Iterable[Track]]]) -> tuple[Stage, ...]:
    """Without what is empty."""
    stages = (Stage(name, tuple(track for track in tracks if track.steps)) for name, tracks in wanted)
    return tuple(stage for stage in stages if stage.tracks)


def _servers(topology: Topology) -> frozenset[str] | None:
    """Who talks to everybody; in a bed without file systems all talk to all."""
    return frozenset(server for target in topology.targets for server in target.servers) or None


def _lies_with_mdt0(topology: Topology, target: bed.TargetSpec) -> bool:
    """An MGT without a disk of its own, where it could have one."""
    in_memory = topology.filesystems[target.fsname].backend == "wbcfs"
    return target.kind == "MGT" and target.size is None and target.device is None and not in_memory


def _mgs(topology: Topology, configs: Mapping[str, Lnet]) -> dict[str, tuple[tuple[Nid, ...], ...]]:
    """The NIDs of the MGS's servers, by file system: of its own MGT, or of the first file system that has one."""
    managers = {t.fsname: tuple(configs[s].nids for s in t.servers) for t in topology.targets if t.kind == "MGT"}
    first = next(iter(managers.values()), ())
    own = {fsname: managers.get(fsname, first) for fsname in topology.filesystems}
    return own | {f.name: tuple((nid,) for nid in f.external) for f in topology.filesystems.values() if f.external}


def _reached(node: str, fsname: str, config: Lnet, mgs: tuple[tuple[Nid, ...], ...]) -> tuple[tuple[Nid, ...], ...]:
    """A client names only the NIDs that it reaches: LNet counts each other one as a failure, and waits."""
    own = config.nids
    found = tuple(tuple(nid for nid in nids if nid in own or config.reaches(nid)) for nids in mgs)
    reached = tuple(nids for nids in found if nids)
    if not reached:
        raise HostError(
            f"{node} reaches no NID of the MGS of {fsname}",
            hint="give both a common fabric with `lnet`, or routers between",
        )
    return reached
