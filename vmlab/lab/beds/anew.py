"""Make nodes of a bed anew: clones of their images again, booted for the first time."""

from collections.abc import Callable, Iterable, Mapping

from vmlab.lab.beds.prepare import images_of, lustre_in
from vmlab.lab.beds.settle import settle
from vmlab.lab.beds.shut_down import shut_down
from vmlab.lab.beds.up import Raised, up
from vmlab.lab.filesystems.mount import unmount
from vmlab.lab.ground.bed import existing, locked
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
    """All nodes: unmount, shut down, remove the root disks, bring up; other disks stay. The caller holds the bed.

    Killed in between, the bed is one of which some nodes are off: `up` goes on. Raises what these raise.
    """
    nodes = existing(hosts, topology.name).nodes
    _remove(hosts, topology, nodes, _is_root, progress)
    _bring_up(hosts, topology, accel=accel, timeout_s=timeout_s, jobs=_JOBS, progress=progress)


def rebuild(
    hosts: Hosts,
    topology: Topology,
    nodes: Iterable[str],
    *,
    accel: str,
    timeout_s: float | None,
    jobs: int,
    progress: Progress,
) -> Raised:
    """These nodes, with all disks that are theirs alone. What nodes share stays; it is unmounted, and mounted again.

    Killed in between, `up` goes on. Raises what `up` raises.
    """
    with locked(hosts, topology.name):
        settle(hosts, topology.name, progress)
        _remove(hosts, topology, nodes, _is_own, progress)
        return _bring_up(hosts, topology, accel=accel, timeout_s=timeout_s, jobs=jobs, progress=progress)


def own_disks(bed: ObservedBed, node: str) -> list[str]:
    """The disks that `rebuild` of a node makes anew, by their volumes' names."""
    return sorted(_volumes(bed, node, _is_own))


def _bring_up(
    hosts: Hosts, topology: Topology, *, accel: str, timeout_s: float | None, jobs: int, progress: Progress
) -> Raised:
    return up(
        hosts,
        topology,
        accel=accel,
        restart=False,
        timeout_s=timeout_s,
        jobs=jobs,
        wait=True,
        progress=progress,
        held=True,
    )


Which = Callable[[str, str, str], bool]
"""Whether a volume of a bed and a node goes."""


def _is_root(bed: str, node: str, volume: str) -> bool:
    return volume == identity.root_volume(bed, node)


def _is_own(bed: str, node: str, volume: str) -> bool:
    return identity.owner_of(volume) == (bed, node) and identity.has_data(volume)


def _volumes(bed: ObservedBed, node: str, which: Which) -> Mapping[str, str]:
    """The paths of those that there are, by name."""
    return {name: volume.path for name, volume in bed.volumes.items() if which(bed.name, node, name)}


def _remove(hosts: Hosts, topology: Topology, nodes: Iterable[str], which: Which, progress: Progress) -> None:
    """Shut nodes down and remove disks of theirs."""
    found, nodes = existing(hosts, topology.name), list(nodes)
    mounted = topology.filesystems and lustre_in(images_of(hosts, topology)) is not False
    if mounted and any(domain.running for domain in found.nodes.values()):
        unmount(hosts, topology, progress, Deadline.after(_UNMOUNT_S), held=True)
    shut_down(hosts, found, nodes, progress)
    looks = hosts.look()
    beds = {host: look.bed(topology.name) for host, look in looks.items()}
    for host, bed in beds.items():
        doomed = {path for node in nodes for path in _volumes(bed, node, which).values()}
        refuse_used_elsewhere(bed, looks[host], doomed)

    def remove(place: tuple[str, str]) -> None:
        host, node = place
        domain = beds[host].nodes[node]
        progress.stage(node, _WHY)
        if domain.running:
            perform(hosts[host], StopDomain(domain.facts.name, node, _WHY))
        for volume in _volumes(beds[host], node, which):
            perform(hosts[host], RemoveVolume(volume, node, _WHY))

    places = [(host, node) for host, bed in beds.items() for node in nodes if node in bed.nodes]
    each(remove, places, jobs=LIBVIRT_JOBS * len(hosts), failed="not all nodes could be made anew")
