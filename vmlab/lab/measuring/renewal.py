"""Nodes anew between trials, and what proves it: the files that their root disks are."""

from collections.abc import Mapping
from datetime import UTC, datetime

from vmlab.guest.patience import Advance
from vmlab.guest.ssh import Guest
from vmlab.lab.beds.anew import make_anew
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.doors import open_door
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.records.run import RootVolume
from vmlab.runtime.parallel import each
from vmlab.topology import Topology
from vmlab.values import identity
from vmlab.virt.machine import machine_of

_JOBS = 32
_STAT_S = 30.0
_ANEW_S = 3600.0


class Renewal:
    """Of the bed of `topology`, which the caller holds, and whose guests run as `accel` says.

    `guests` are those that take part: their connections are opened again. `struck` has the nodes that are down on
    purpose, for as long as they are.
    """

    def __init__(
        self,
        hosts: Hosts,
        topology: Topology,
        guests: Mapping[str, Guest],
        advances: Mapping[str, Advance],
        *,
        accel: str,
        struck: set[str],
        progress: Progress,
    ) -> None:
        self._hosts = hosts
        self._topology = topology
        self._guests = guests
        self._advances = advances
        self._accel = accel
        self._progress = progress
        self._struck = struck

    def roots(self, trial: int) -> tuple[RootVolume, ...]:
        """The nodes' root volumes as they are."""
        bed = existing(self._hosts, self._topology.name)
        found = []
        for node, domain in bed.nodes.items():
            volume = identity.root_volume(bed.name, node)
            path = next((p for p in domain.facts.disks if p.endswith(f"/{volume}")), "")
            argv = ("stat", "--format", "%i %W", "--", path)
            said = machine_of(self._hosts.of(domain)).run(argv, deadline_s=_STAT_S).stdout.split()
            inode, born = (int(word) for word in said) if len(said) == len("iW") else (0, 0)
            made = datetime.fromtimestamp(born, UTC).isoformat() if born else ""
            found.append(RootVolume(trial, node, path, inode, made))
        return tuple(found)

    def renew(self) -> None:
        """Make all nodes of the bed anew. Raises GuestError, HostError."""
        for guest in self._guests.values():
            guest.close()
        self._struck.update(self._topology.nodes)
        make_anew(self._hosts, self._topology, accel=self._accel, timeout_s=_ANEW_S, progress=self._progress)
        self._struck.clear()
        each(
            lambda name: open_door(self._guests[name], self._advances[name]),
            self._guests,
            jobs=_JOBS,
            failed="not all nodes can be reached",
        )
