"""Switch a bed off with its memory kept, so that the next `up` goes on from there: file systems mounted, and no boot.

libvirt keeps the memory, and whoever starts a node has it go on: none begins anew beside disks that others went on
with. A kill in between leaves some nodes saved and others standing still, which `settle` lets go on.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from vmlab.errors import HostError, Interrupted
from vmlab.lab.beds import channel
from vmlab.lab.beds.room import be_sure_of, pool_files
from vmlab.lab.beds.settle import settle
from vmlab.lab.beds.standing import all_go_on, set_clocks, stand_still, stop_saving
from vmlab.lab.ground.bed import existing, locked
from vmlab.lab.ground.bed_folder import to_keep
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import StartDomain
from vmlab.plan.observed import ObservedBed, over_all
from vmlab.plan.snapshots import KEEP_WARM, memory_of, refuse_unsavable
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.topology import Topology
from vmlab.values import identity
from vmlab.virt.memory import end_saved
from vmlab.virt.perform import perform
from vmlab.virt.pool_files import PoolFiles

WARM = "warm"
"""What `keep` of a topology says."""

_WHY = "not all could be kept"


def keep_warm(hosts: Hosts, bed: str, progress: Progress) -> tuple[str, ...]:
    """The nodes whose memory is kept. Raises HostError, before anything is done, where it cannot be.

    When libvirt fails with one of them, or an interrupt comes, all go on.
    """
    with locked(hosts, bed):
        _refuse_away(hosts, bed)
        existing(hosts, bed)
        settle(hosts, bed, progress)
        found = over_all(bed, hosts.look())
        running = tuple(node for node, domain in found.nodes.items() if domain.running)
        kept = _kept(found)
        if kept and not running:
            return kept
        if not running:
            raise HostError(f"no node of {bed} runs: there is no memory to keep", hint=f"vmlab status {bed}")
        refuse_unsavable(found, hint=f"vmlab down {bed} --keep-disks; all of it goes with --no-keep-warm")
        files = pool_files(hosts, bed)
        here = {host: [node for node in running if found.nodes[node].host == host] for host in files}
        for host in files:
            room, needed = files[host].room(bed, ()), memory_of(found, here[host])
            what, told = f"the memory of {bed}", "its memory"
            be_sure_of(room, needed, what, told=told, hosts=hosts, host=host, bed=bed, progress=progress)
        channel.end(hosts, bed)
        begun = identity.snapshot_begun(bed, KEEP_WARM)
        ran = [node for node in running if found.nodes[node].state != "paused"]
        try:
            for host, nodes in here.items():
                files[host].write(begun, json.dumps([node for node in nodes if node in ran]))
            _save(hosts, found, running, progress)
        except BaseException as error:
            _go_on(hosts, found, running, ran, progress)
            _forget(files, begun)
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted("all nodes go on") from error
            raise
        _forget(files, begun)
    return (*kept, *running)


def _refuse_away(hosts: Hosts, bed: str) -> None:
    if hosts.away:
        raise HostError(
            f"the memory of {bed} is kept on all of its hosts, or none: {', '.join(hosts.away)} is away",
            hint=f"vmlab down {bed} --no-keep-warm",
        )


def _forget(files: Mapping[str, PoolFiles], begun: str) -> None:
    for there in files.values():
        there.remove((begun,))


def to_be_kept(hosts: Hosts, bed: str, topology: Topology | None) -> bool:
    """Whether `down` keeps it warm without being told: as its file says, or said when it was brought up.

    Where no node runs, and none was kept, there is nothing to keep.
    """
    asked = to_keep(hosts.keeper, bed) if topology is None else topology.keep
    if asked != WARM:
        return False
    found = over_all(bed, hosts.look(whole=False))
    return bool(_kept(found)) or any(domain.running for domain in found.nodes.values())


def _kept(bed: ObservedBed) -> tuple[str, ...]:
    return tuple(node for node, domain in bed.nodes.items() if domain.saved == "libvirt")


def _save(hosts: Hosts, bed: ObservedBed, running: tuple[str, ...], progress: Progress) -> None:
    def save(node: str) -> None:
        domain = bed.nodes[node]
        facts = domain.facts
        end_saved(hosts.of(domain), facts.name, paused=domain.state == "paused", memory_kib=facts.memory_kib)
        progress.stage(node, "memory is saved")

    stand_still(hosts, bed, running, progress)
    failed = f"{bed.name}: not all memory could be saved"
    jobs = LIBVIRT_JOBS * len(hosts)
    each(save, running, jobs=jobs, failed=failed, cut_short=lambda: stop_saving(hosts, bed, running))


def _go_on(hosts: Hosts, bed: ObservedBed, running: Iterable[str], ran: Sequence[str], progress: Progress) -> None:
    """Those that are off by now from their saved memory, the others from where they stand; who was paused stays so."""

    def start(node: str) -> None:
        domain = bed.nodes[node]
        perform(hosts.of(domain), StartDomain(domain.facts.name, node, _WHY))

    each(start, running, jobs=LIBVIRT_JOBS * len(hosts), failed=f"{bed.name}: not all nodes go on")
    all_go_on(hosts, bed, ran, progress)
    set_clocks(hosts, bed, ran, progress)
    channel.ensure(hosts, bed.name, bed.metadata.values(), progress)
