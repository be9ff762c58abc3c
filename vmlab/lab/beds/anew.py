"""Make the nodes of a bed anew: clones of their images again, booted for the first time. Other disks stay."""

from vmlab.lab.beds.shut_down import shut_down
from vmlab.lab.beds.up import up
from vmlab.lab.filesystems.mount import unmount
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import RemoveVolume, StopDomain
from vmlab.plan.diff import refuse_used_elsewhere
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology
from vmlab.values import identity
from vmlab.virt.perform import perform

_WHY = "made anew"
_JOBS = 32
_UNMOUNT_S = 600.0


def make_anew(hosts: Hosts, topology: Topology, *, accel: str, timeout_s: float, progress: Progress) -> None:
    """Unmount, shut down, remove the root disks, bring up. The caller holds the bed.

    Killed in between, the bed is one of which some nodes are off: `up` goes on. Raises what these raise.
    """
    bed = existing(hosts, topology.name)
    if topology.filesystems and any(domain.running for domain in bed.nodes.values()):
        unmount(hosts, topology, progress, Deadline.after(_UNMOUNT_S), held=True)
    shut_down(hosts, bed, bed.nodes, progress)
    _remove_roots(hosts, topology.name, progress)
    up(
        hosts,
        topology,
        accel=accel,
        restart=False,
        timeout_s=timeout_s,
        jobs=_JOBS,
        wait=True,
        progress=progress,
        held=True,
    )


def _remove_roots(hosts: Hosts, name: str, progress: Progress) -> None:
    looks = hosts.look()
    beds = {host: look.bed(name) for host, look in looks.items()}
    for host, bed in beds.items():
        refuse_used_elsewhere(bed, looks[host], set(_roots(bed).values()))

    def remove(place: tuple[str, str]) -> None:
        host, node = place
        domain = beds[host].nodes[node]
        progress.stage(node, _WHY)
        if domain.running:
            perform(hosts[host], StopDomain(domain.facts.name, node, _WHY))
        perform(hosts[host], RemoveVolume(identity.root_volume(name, node), node, _WHY))

    places = [(host, node) for host, bed in beds.items() for node in _roots(bed)]
    each(remove, places, jobs=LIBVIRT_JOBS * len(hosts), failed="not all nodes could be made anew")


def _roots(bed: ObservedBed) -> dict[str, str]:
    """The paths of the root disks that there are, by node."""
    named = ((node, identity.root_volume(bed.name, node)) for node in bed.nodes)
    return {node: bed.volumes[volume].path for node, volume in named if volume in bed.volumes}
