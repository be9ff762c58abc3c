"""What a node needs to be what it is for: an MGS, MDS, OSS, client, router, FTA.

A role turns a `Member` into steps, stage by stage; `plan.filesystems` puts those of all nodes together. Steps look
before they act, so that all of them can run at every `up`: what is formatted stays formatted, what is mounted mounted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vmlab.lustre.lnetconf import Lnet, Path
from vmlab.lustre.target import Kind, Recovery, Target
from vmlab.lustre.version import Version
from vmlab.roles import _client, _lnet, _modules, _target
from vmlab.steps import Step
from vmlab.values.nid import Nid

__all__ = ["ROLES", "ClientMount", "Member", "Role", "erase", "role_steps", "unmount", "unmount_client"]


@dataclass(frozen=True, slots=True)
class ClientMount:
    """A file system that a node mounts. `mgs` are the NIDs of the MGS's servers that the node reaches.

    `external`: its servers are not the bed's, so that nobody has looked yet whether they are there.
    """

    fsname: str
    mgs: tuple[tuple[Nid, ...], ...]
    point: str
    options: str
    external: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A node, as its roles see it. `targets` are all that it serves, as primary or as partner."""

    node: str
    version: Version
    lnet: Lnet
    targets: tuple[Target, ...] = ()
    mounts: tuple[ClientMount, ...] = ()
    reaches: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Role:
    """What a node is for. `serves` are the kinds of targets that it has; without `lnet` it loads no modules."""

    name: str
    about: str
    serves: frozenset[Kind] = frozenset()
    mounts: bool = False
    lnet: bool = True

    def configure(self, member: Member) -> tuple[Step, ...]:
        """LNet with its networks, routes and forwarding, also after a reboot; then the modules, which start it."""
        if not self.lnet:
            return ()
        return (*_lnet.steps(member.lnet), *_modules.steps(self.modules(member)))

    def modules(self, member: Member) -> tuple[str, ...]:
        """The kernel modules besides LNet's, in the order of loading."""
        backends = dict.fromkeys(target.backend for target in self.targets(member))
        return (*(("lustre",) if self.serves or self.mounts else ()), *(f"osd_{backend}" for backend in backends))

    def targets(self, member: Member) -> tuple[Target, ...]:
        """Those of its kinds."""
        return tuple(target for target in member.targets if target.kind in self.serves)

    def reach(self, member: Member) -> tuple[Step, ...]:
        """Every path to other nodes works; one step for each node, so that the failure names the pair."""
        if not self.lnet:
            return ()
        return tuple(_lnet.ping(other, paths, member.version) for other, paths in member.reaches.items())

    def prepare(self, member: Member) -> tuple[Step, ...]:
        """The disks of its targets are there, on the partners too."""
        return tuple(step for target in self.targets(member) for step in _target.prepare(target))

    def format(self, target: Target) -> tuple[Step, ...]:
        """The target is a Lustre target of this bed; an empty disk is formatted, any other is refused."""
        return _target.format_(target)

    def mount(self, target: Target, version: Version, recovery: Recovery | None) -> tuple[Step, ...]:
        """It is mounted here and its service runs."""
        return _target.mount(target, version, recovery)

    def connect(self, target: Target) -> tuple[Step, ...]:
        """The MDT, which is mounted, takes clients."""
        return _target.connected(target)

    def reach_servers(self, mount: ClientMount) -> tuple[Step, ...]:
        """The servers of a file system that is not the bed's answer; one step for each NID, which the failure names."""
        nids = dict.fromkeys(nid for nids in mount.mgs for nid in nids)
        return tuple(_lnet.ping_nid(nid, mount.fsname) for nid in nids) if mount.external else ()

    def mount_client(self, mount: ClientMount) -> tuple[Step, ...]:
        """The file system is mounted."""
        return _client.mount(mount.fsname, mount.mgs, mount.point, mount.options)


def unmount(target: Target) -> tuple[Step, ...]:
    """It is not mounted here."""
    return _target.unmount(target)


def unmount_client(mount: ClientMount, *, lost: bool = False) -> tuple[Step, ...]:
    """The file system is not mounted here. `lost`: its servers have forgotten it, nothing on it is worth a wait."""
    return _client.unmount(mount.fsname, mount.point, lost=lost)


def erase(target: Target) -> tuple[Step, ...]:
    """Nothing is on its disk: what comes before `format` if a target is to be formatted anew."""
    return _target.erase(target)


ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role(
            "build", "a node to build software on: Lustre is not loaded, its modules may be what is built", lnet=False
        ),
        Role("client", "mounts file systems", mounts=True),
        Role("fta", "a file transfer agent: a client that carries data between Lustre and elsewhere", mounts=True),
        Role("mds", "metadata server; has an MGT, too, where no node is for that alone", frozenset({"MGT", "MDT"})),
        Role("mgs", "management server: it knows which targets there are, and tells everybody", frozenset({"MGT"})),
        Role("oss", "object storage server", frozenset({"OST"})),
        Role("router", "forwards between its LNet networks, and needs nothing of Lustre but LNet"),
    )
}


def role_steps(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Those of several roles of one node together, each once, at its first place."""
    return tuple(dict.fromkeys(steps))
