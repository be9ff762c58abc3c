"""Disks of targets in a folder that several hosts mount: one host makes and removes the files, all open them.

The folder is the bed's own, below the one that the topology names, and a pool of libvirt's on the host that made it:
what libvirt keeps of that pool says, whenever vmlab was killed, where the files are. Its path ends in digits that were
drawn, as others may have a bed of this name there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from vmlab.domainxml.volume import Volume
from vmlab.errors import HostError
from vmlab.values import identity

if TYPE_CHECKING:
    from vmlab.plan.observed import Observed
    from vmlab.topology import Topology


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """Of one file system: where it is on each host, and the host that makes it, "" before its servers are placed."""

    bed: str
    filesystem: str
    path: str
    home: str = ""

    @property
    def name(self) -> str:
        """That of libvirt's pool."""
        return identity.folder_name(self.bed, self.filesystem)

    def servers(self, topology: "Topology") -> list[str]:
        """The nodes that open disks in it."""
        sized = (target for target in topology.targets if target.size is not None)
        own = (target for target in sized if target.fsname == self.filesystem)
        return list(dict.fromkeys(server for target in own for server in target.servers))

    def volumes(self, topology: "Topology") -> tuple[Volume, ...]:
        """The disks of all its targets that have a size."""
        return tuple(
            Volume(identity.target_volume(self.bed, target.label), int(target.size), "raw", folder=self.name)
            for target in topology.targets
            if target.size is not None and target.fsname == self.filesystem
        )


def folders(topology: "Topology", looks: Mapping[str, "Observed"], draw: Callable[[], str]) -> dict[str, SharedFolder]:
    """By file system. What is there stays where it is; `draw` gives the end of a new one's name.

    Raises HostError where disks are elsewhere than the topology says.
    """
    there = {
        filesystem: SharedFolder(topology.name, filesystem, folder.path, host)
        for host, look in looks.items()
        for filesystem, folder in look.bed(topology.name).folders.items()
    }
    sized = {target.fsname for target in topology.targets if target.size is not None}
    wanted = {name: found.folder for name, found in topology.filesystems.items() if found.folder and name in sized}
    for filesystem, found in there.items():
        if filesystem in wanted and PurePath(found.path).parent != PurePath(wanted[filesystem]):
            raise HostError(
                f"the disks of {filesystem} are in {found.path}, and the topology has them in {wanted[filesystem]}",
                hint=f"the old folder; or lose what is on them: vmlab rebuild {topology.name}",
            )
    found_at = {
        filesystem: there.get(filesystem) or _new(topology.name, filesystem, parent, draw())
        for filesystem, parent in wanted.items()
    }
    _refuse_elsewhere(topology, looks, found_at)
    return found_at


def _new(bed: str, filesystem: str, parent: str, drawn: str) -> SharedFolder:
    return SharedFolder(bed, filesystem, f"{parent}/{identity.folder_name(bed, filesystem)}-{drawn}")


def _refuse_elsewhere(
    topology: "Topology", looks: Mapping[str, "Observed"], wanted: Mapping[str, SharedFolder]
) -> None:
    for look in looks.values():
        volumes = look.bed(topology.name).volumes
        for target in topology.targets:
            found = volumes.get(identity.target_volume(topology.name, target.label))
            folder = wanted.get(target.fsname)
            if found is not None and found.folder != ("" if folder is None else folder.name):
                other = "its host's pool" if folder is None else folder.path
                raise HostError(
                    f"the disk {found.path} is there, and the topology has it in {other}",
                    hint=f"`shared` as it was; or lose what is on it: vmlab rebuild {topology.name}",
                )
