"""What can be done to a host, one durable change each. `virt.perform` does them, looking first whether it is so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from vmlab.domainxml.devices import Nbd
from vmlab.domainxml.network import Network
from vmlab.domainxml.volume import Volume
from vmlab.plan.overlay import Overlay
from vmlab.values.pci import PciAddress


@dataclass(frozen=True, slots=True)
class Action:
    """One change: what kind (the word in `plan -o json`), on which libvirt object, for which node, and why."""

    kind: ClassVar[str]
    name: str
    node: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class CreateNetwork(Action):
    """Define a network and set it to start with the host."""

    kind = "create-network"
    network: Network


@dataclass(frozen=True, slots=True)
class StartNetwork(Action):
    """Start a defined network."""

    kind = "start-network"


@dataclass(frozen=True, slots=True)
class RemoveNetwork(Action):
    """Stop and undefine a network of the bed."""

    kind = "remove-network"


@dataclass(frozen=True, slots=True)
class JoinNetwork(Action):
    """Join a network of the bed with those of the same name on its other hosts; `name` is the network's."""

    kind = "join-network"
    overlay: Overlay


@dataclass(frozen=True, slots=True)
class LeaveNetwork(Action):
    """Remove the link that joins a network of the bed with other hosts; `name` is the network's."""

    kind = "leave-network"
    link: str


@dataclass(frozen=True, slots=True)
class CreateFolder(Action):
    """Make a folder of the bed's own on storage that its hosts share, as a pool of libvirt's, which is `name`d."""

    kind = "create-folder"
    path: str


@dataclass(frozen=True, slots=True)
class RemoveFolder(Action):
    """Remove such a folder, which is empty by then."""

    kind = "remove-folder"


@dataclass(frozen=True, slots=True)
class CreateVolume(Action):
    """Create a volume in the beds' pool, or in the folder that it names."""

    kind = "create-volume"
    volume: Volume


@dataclass(frozen=True, slots=True)
class ExportVolume(Action):
    """Export a shared volume to the bed's other hosts; `name` is the volume's."""

    kind = "export-volume"
    place: Nbd


@dataclass(frozen=True, slots=True)
class EndExport(Action):
    """End the export of a volume."""

    kind = "end-export"


@dataclass(frozen=True, slots=True)
class WriteSeed(Action):
    """Write a node's seed anew, whatever is there: cloud-init's documents, and an archive if it does without."""

    kind = "write-seed"
    documents: Mapping[str, str]
    archive: bytes = b""


@dataclass(frozen=True, slots=True)
class WriteFile(Action):
    """Copy a file of the user's into the pool, whatever is there."""

    kind = "write-file"
    source: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class RemoveVolume(Action):
    """Delete a volume of the bed, wherever it lies."""

    kind = "remove-volume"


@dataclass(frozen=True, slots=True)
class DefineDomain(Action):
    """Define a node's domain; metadata and digest come with it in the same call."""

    kind = "define-domain"
    uuid: str
    xml: str


@dataclass(frozen=True, slots=True)
class CreateVfs(Action):
    """Let a physical function have `count` virtual functions, for a bed."""

    kind = "create-vfs"
    pf: PciAddress
    count: int
    bed: str


@dataclass(frozen=True, slots=True)
class TakeDevices(Action):
    """A node's functions go from their drivers to its guest as it starts; the start itself sees to that."""

    kind = "take-devices"
    functions: tuple[PciAddress, ...]


@dataclass(frozen=True, slots=True)
class ReturnDevices(Action):
    """See that a stopped node's functions are back with the drivers that they came from."""

    kind = "return-devices"
    functions: tuple[PciAddress, ...]


@dataclass(frozen=True, slots=True)
class StartDomain(Action):
    """Start a defined domain, with what its definition says of the host's devices."""

    kind = "start-domain"


@dataclass(frozen=True, slots=True)
class StopDomain(Action):
    """Take a domain's power away; over when its QEMU process is gone."""

    kind = "stop-domain"


@dataclass(frozen=True, slots=True)
class DiscardMemory(Action):
    """Give up the memory that was saved of a domain that is off: whoever starts it then, starts it anew."""

    kind = "discard-memory"


@dataclass(frozen=True, slots=True)
class AttachDisk(Action):
    """Plug a disk into a domain that runs; its definition has it, too, when it is defined next."""

    kind = "attach-disk"
    xml: str


@dataclass(frozen=True, slots=True)
class SetMemory(Action):
    """Let a running domain's balloon give it so much memory."""

    kind = "set-memory"
    kib: int


@dataclass(frozen=True, slots=True)
class UndefineDomain(Action):
    """Undefine a stopped domain with all that libvirt keeps for it."""

    kind = "undefine-domain"


def before_start(lane: tuple[Action, ...]) -> tuple[Action, ...]:
    """The part of a node's lane up to its definition; what follows takes devices and starts it."""
    for index, action in enumerate(lane):
        if isinstance(action, TakeDevices | StartDomain):
            return lane[:index]
    return lane


def by_name(actions: Iterable[Action]) -> list[tuple[Action, ...]]:
    """The actions on each object, in their order: removing something and making it anew must not change places."""
    lanes: dict[str, list[Action]] = {}
    for action in actions:
        lanes.setdefault(action.name, []).append(action)
    return [tuple(lane) for lane in lanes.values()]


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions in the order of their dependencies.

    `host` comes first (virtual functions; the mark of disks that are kept), then `networks`, `folders`, `volumes`
    (shared ones) and each node's lane. Lanes are independent of each other, and so are networks and volumes of
    different names (`by_name`).
    `last` is what nothing needs when all nodes are defined.
    `pending` are changes that need `--restart`, told but not done. For a removal the order is turned round.
    """

    networks: tuple[Action, ...] = ()
    volumes: tuple[Action, ...] = ()
    nodes: Mapping[str, tuple[Action, ...]] | None = None
    pending: tuple[Action, ...] = ()
    host: tuple[Action, ...] = ()
    last: tuple[Action, ...] = ()
    folders: tuple[Action, ...] = ()

    @property
    def lanes(self) -> Mapping[str, tuple[Action, ...]]:
        """Each node's actions, in order."""
        return self.nodes or {}

    @property
    def actions(self) -> tuple[Action, ...]:
        """All actions that will be done."""
        lanes = (action for lane in self.lanes.values() for action in lane)
        return (*self.host, *self.networks, *self.folders, *self.volumes, *lanes, *self.last)


def together(plans: Iterable[Plan]) -> Plan:
    """One plan of those of several hosts."""
    plans = tuple(plans)
    return Plan(
        networks=tuple(action for plan in plans for action in plan.networks),
        volumes=tuple(action for plan in plans for action in plan.volumes),
        nodes={name: lane for plan in plans for name, lane in plan.lanes.items()},
        pending=tuple(action for plan in plans for action in plan.pending),
        host=tuple(action for plan in plans for action in plan.host),
        last=tuple(action for plan in plans for action in plan.last),
        folders=tuple(action for plan in plans for action in plan.folders),
    )
