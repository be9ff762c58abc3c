"""A bed on its way back to a snapshot, from where there is no other way: whoever begins goes it to the end.

Each part may be done again, so that it does not matter where it was cut off: ended nodes are ended, disks that took
their places have done so, and memory is read into guests that stand still. Only when all of it is there they go on.
"""

from collections.abc import Mapping
from dataclasses import replace

from vmlab.errors import HostError
from vmlab.guest.ssh import Guest
from vmlab.lab.beds import channel
from vmlab.lab.beds.room import pool_files
from vmlab.lab.beds.standing import all_go_on, clocks_set, set_clocks
from vmlab.lab.ground.doors import NONE_OPEN
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.kept import snapshots_of
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import DiscardMemory, EndExport, ExportVolume, StartNetwork, StopDomain
from vmlab.plan.export import attached
from vmlab.plan.observed import Observed, ObservedBed, over_all
from vmlab.plan.snapshots import KeptNode, Reverting, Snapshot
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.values import identity
from vmlab.virt.bed_files import refresh_files
from vmlab.virt.memory import restore_memory
from vmlab.virt.perform import perform
from vmlab.virt.pool_files import PoolFiles

_WHY = "revert"


def put_back(
    hosts: Hosts, bed: str, mark: Reverting, progress: Progress, there: Mapping[str, Guest] = NONE_OPEN
) -> None:
    """The caller holds the bed. Raises HostError, LibvirtError: the mark stays then, and the next one tries again.

    `there` are doors of the caller's: what had to be opened of them stays open.
    """
    snapshot = next((kept for kept in snapshots_of(hosts, bed) if kept.name == mark.snapshot), None)
    if snapshot is None:
        raise HostError(
            f"{bed} was put back to {mark.snapshot} in part only, and that is not whole any more",
            hint=f"vmlab down {bed}",
        )
    looks = hosts.look(whole=False)
    found = over_all(bed, looks)
    files = pool_files(hosts, bed)
    home = hosts.home.name
    if not mark.resumed:
        _disks_as_they_were(hosts, found, snapshot, files, progress)
        _networks_on(hosts, bed, looks)
        _remember(hosts, found, snapshot, files, progress)
        files[home].write(identity.reverting(bed), replace(mark, resumed=True).text())
    running = [node for node in snapshot.nodes if node.state == "running" and node.name in found.nodes]
    all_go_on(hosts, found, [node.name for node in running], progress)
    for host in sorted(files, key=lambda name: name != home):  # without the first host's the others mean nothing
        files[host].remove((identity.reverting(bed),))
    hosts.each(lambda host: refresh_files(host, bed), failed="not all hosts could be asked")
    right = clocks_set(hosts, found, [node.name for node in running if node.wakes], progress)
    set_clocks(hosts, found, [node.name for node in running if node.name not in right], progress, there)
    channel.ensure(hosts, bed, found.metadata.values(), progress)


def _disks_as_they_were(
    hosts: Hosts, bed: ObservedBed, snapshot: Snapshot, files: Mapping[str, PoolFiles], progress: Progress
) -> None:
    """All nodes off, and their disks in place.

    What the first host exports of these disks it exports anew: who had it open has the one that was.
    """

    def end(node: str) -> None:
        domain = bed.nodes[node]
        for kind in (StopDomain, DiscardMemory):
            perform(hosts.of(domain), kind(domain.facts.name, node, _WHY))
        progress.stage(node, "off")

    each(end, bed.nodes, jobs=LIBVIRT_JOBS * len(hosts), failed=f"{bed.name}: not all nodes could be switched off")
    exported = {volume: place for domain in bed.nodes.values() for volume, place in attached(domain).items()}
    for volume in exported:
        perform(hosts.home, EndExport(volume, None, _WHY))
    # Each host has the copies of its own disks, and nothing of the others'.
    places = {identity.reverting_disk(bed.name, disk.volume): disk.volume for disk in snapshot.disks}
    for there in files.values():
        there.put_back(places)
    progress.say(f"{bed.name}: the disks are back")
    for volume, place in exported.items():
        perform(hosts.home, ExportVolume(volume, None, _WHY, place))


def _networks_on(hosts: Hosts, bed: str, looks: Mapping[str, Observed]) -> None:
    for host, look in looks.items():
        for network in look.bed(bed).networks.values():
            if not network.active:
                perform(hosts[host], StartNetwork(network.facts.name, None, _WHY))


def _remember(
    hosts: Hosts, bed: ObservedBed, snapshot: Snapshot, files: Mapping[str, PoolFiles], progress: Progress
) -> None:
    """Those that ran stand still with their memory."""

    def restore(node: KeptNode) -> None:
        domain = bed.nodes[node.name]
        host, memory_kib = hosts.of(domain), domain.facts.memory_kib
        restore_memory(host, domain.facts.name, files[host.name].path(node.memory), memory_kib=memory_kib)
        progress.stage(node.name, "memory is back")

    ran = [node for node in snapshot.nodes if node.memory and node.name in bed.nodes]
    each(restore, ran, jobs=LIBVIRT_JOBS * len(hosts), failed=f"{bed.name}: the memory of not all nodes is back")
