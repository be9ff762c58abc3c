"""Mount a bed's file systems without formatting anything, and unmount them."""

from contextlib import nullcontext

from vmlab.errors import GuestError
from vmlab.lab.filesystems.bring_up import raise_filesystems
from vmlab.lab.filesystems.lustre_bed import opened
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.leftovers import end_leftovers
from vmlab.lab.ground.progress import Progress
from vmlab.lab.ground.stages import StageTime
from vmlab.lustre.target import Recovery
from vmlab.plan.filesystems import FORMAT, unmount_stages
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology


def mount(
    hosts: Hosts, topology: Topology, progress: Progress, deadline: Deadline, *, recovery: Recovery | None
) -> tuple[StageTime, ...]:
    """LNet, targets and clients, as `up` does, but nothing is formatted."""
    with locked(hosts, topology.name):
        return raise_filesystems(
            hosts, topology, progress, deadline, recovery=recovery, alone=True, only=lambda stage: stage.name != FORMAT
        )


def unmount(
    hosts: Hosts, topology: Topology, progress: Progress, deadline: Deadline, *, held: bool = False
) -> tuple[StageTime, ...]:
    """Clients, then OSTs, MDTs and MGTs, on the nodes that are on. Raises GuestError naming who keeps what busy.

    `held`: the caller holds the bed.
    """
    with nullcontext() if held else locked(hosts, topology.name), opened(hosts, topology, tolerant=True) as bed:
        lost = {node: why for node, why in bed.silent.items() if why != "off"}
        if lost:
            node, why = next(iter(lost.items()))
            raise GuestError(f"{node}: {why}", node=node, stage="ssh", hint=f"vmlab power cycle {topology.name} {node}")
        end_leftovers(bed.guests)
        here = {name: member for name, member in bed.members.items() if name in bed.guests}
        return bed.drive(unmount_stages(topology, here, bed.forgotten()), progress, deadline)
