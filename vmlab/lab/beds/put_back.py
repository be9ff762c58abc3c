"""A bed on its way back to a snapshot, from where there is no other way: whoever begins goes it to the end.

Each part may be done again, so that it does not matter where it was cut off: ended nodes are ended, disks that took
their places have done so, and memory is read into guests that stand still. Only when all of it is there they go on.
"""

from dataclasses import replace

from vmlab.errors import HostError
from vmlab.lab.beds import channel
from vmlab.lab.beds.standing import all_go_on, clocks_set, set_clocks
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.kept import snapshots_of
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import DiscardMemory, StartNetwork, StopDomain
from vmlab.plan.observed import ObservedBed, over_all
from vmlab.plan.snapshots import KeptNode, Reverting, Snapshot
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.values import identity
from vmlab.virt.memory import restore_memory
from vmlab.virt.perform import perform
from vmlab.virt.pool import BEDS, refresh_pool
from vmlab.virt.pool_files import PoolFiles

_WHY = "revert"


def put_back(hosts: Hosts, bed: str, mark: Reverting, progress: Progress) -> None:
    """The caller holds the bed. Raises HostError, LibvirtError: the mark stays then, and the next one tries again."""
    snapshot = next((kept for kept in snapshots_of(hosts, bed) if kept.name == mark.snapshot), None)
    if snapshot is None:
        raise HostError(
            f"{bed} was put back to {mark.snapshot} in part only, and that is not whole any more",
            hint=f"vmlab down {bed}",
        )
    found = over_all(bed, hosts.look(whole=False))
    files = PoolFiles.of(hosts.home)
    if not mark.resumed:
        _as_it_was(hosts, found, snapshot, files, progress)
        files.write(identity.reverting(bed), replace(mark, resumed=True).text())
    running = [node for node in snapshot.nodes if node.state == "running" and node.name in found.nodes]
    all_go_on(hosts, found, [node.name for node in running], progress)
    files.remove((identity.reverting(bed),))
    refresh_pool(hosts.home, BEDS)
    right = clocks_set(hosts, found, [node.name for node in running if node.wakes], progress)
    set_clocks(hosts, found, [node.name for node in running if node.name not in right], progress)
    channel.ensure(hosts, bed, found.metadata.values(), progress)


def _as_it_was(hosts: Hosts, bed: ObservedBed, snapshot: Snapshot, files: PoolFiles, progress: Progress) -> None:
    """All nodes off, their disks in place, and those that ran stand still with their memory."""

    def end(node: str) -> None:
        domain = bed.nodes[node]
        for kind in (StopDomain, DiscardMemory):
            perform(hosts.of(domain), kind(domain.facts.name, node, _WHY))
        progress.stage(node, "off")

    def restore(node: KeptNode) -> None:
        domain = bed.nodes[node.name]
        host, memory_kib = hosts.of(domain), domain.facts.memory_kib
        restore_memory(host, domain.facts.name, files.path(node.memory), memory_kib=memory_kib)
        progress.stage(node.name, "memory is back")

    each(end, bed.nodes, jobs=LIBVIRT_JOBS, failed=f"{bed.name}: not all nodes could be switched off")
    files.put_back({identity.reverting_disk(bed.name, disk.volume): disk.volume for disk in snapshot.disks})
    progress.say(f"{bed.name}: the disks are back")
    for network in bed.networks.values():
        if not network.active:
            perform(hosts.home, StartNetwork(network.facts.name, None, _WHY))
    ran = [node for node in snapshot.nodes if node.memory and node.name in bed.nodes]
    each(restore, ran, jobs=LIBVIRT_JOBS, failed=f"{bed.name}: the memory of not all nodes is back")
