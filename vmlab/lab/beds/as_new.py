"""A bed as it was when `rebuild` had made it: kept in a snapshot of its own, to which the next `rebuild` goes back.

Nobody but `rebuild` makes that snapshot, so that a bed that goes back to it is as new: all disks and all memory of it
were made by the same command, which held the bed until the snapshot was there.
"""

import hashlib
import zlib
from dataclasses import replace

from vmlab.errors import VmlabError
from vmlab.guest.ssh import Guest
from vmlab.lab.beds.down import down
from vmlab.lab.beds.prepare import acceleration, images_of, prepare
from vmlab.lab.beds.snapshot import kept, put_back_to
from vmlab.lab.beds.up import Raised, closed_after, up
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.guests import guests
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.kept import snapshots_of
from vmlab.lab.ground.progress import Progress, Silent
from vmlab.plan.observed import over_all
from vmlab.plan.snapshots import NEW, Snapshot, why_not
from vmlab.topology import Topology


def rebuild(
    hosts: Hosts,
    topology: Topology,
    *,
    accel: str,
    timeout_s: float | None,
    jobs: int,
    keep: bool,
    progress: Progress,
) -> Raised:
    """Go back to the bed as it was when it was new, where that was kept and it would be the same; else make it anew.

    `keep`: keep that, if it can be; a bed of which it was kept already is kept again. Killed in between, `up` goes on.
    Raises what `down` and `up` raise.
    """
    bed = topology.name

    def bring_up(there: dict[str, Guest] | None = None) -> Raised:
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
            sweep="",
            there=there,
        )

    with locked(hosts, bed):
        new = next((snapshot for snapshot in snapshots_of(hosts, bed) if snapshot.name == NEW), None)
        if new is not None:
            reason = _why_not_back(hosts, topology, new, accel=accel)
            if not reason:
                # Who had to be asked for its clock is not logged in to again for what `up` looks at.
                there = guests(hosts, over_all(bed, hosts.look()))
                with closed_after(there):
                    put_back_to(hosts, bed, NEW, progress, there)
                    return replace(bring_up(there), reverted=new.created)
            progress.say(f"{bed} does not go back to what was new at {new.created}: {reason}")
        down(hosts, bed, keep_disks=False, progress=progress, held=True)
        raised = bring_up()
        if keep or new is not None:
            try:
                kept(hosts, bed, NEW, progress, asked=_asked(topology), qemu=_qemu(hosts))
            except VmlabError as error:
                progress.warn(f"{bed} is not kept as it is now: {error.message}")
        return raised


def _why_not_back(hosts: Hosts, topology: Topology, snapshot: Snapshot, *, accel: str) -> str:
    """Why a rebuild of the bed by its file cannot go back to that, in words that follow a colon; "" if it can."""
    if topology.warm == "never":
        return "nodes are to boot (--warm never)"
    if snapshot.qemu != _qemu(hosts):
        return "QEMU is another one by now"
    if snapshot.asked != _asked(topology):
        return "the topology is another one by now"
    if reason := why_not(snapshot, over_all(topology.name, hosts.look())):
        return reason
    images = images_of(hosts, topology)
    works_with = acceleration(hosts, accel, images, Silent())
    prepared = prepare(hosts, topology, accel=works_with, restart=False, images=images)
    then = {node.name: node.digest for node in snapshot.nodes}
    now = {name: node.digest for name, node in prepared.nodes.items()}
    return "" if then == now else "an image, or what else nodes are made of, is another one by now"


def _asked(topology: Topology) -> str:
    """A digest of all of a topology that makes the bed what it is."""
    told = replace(
        topology,
        file="",
        description="",
        workloads=(),
        references=None,
        limit={},
        shapes=(),
        warm="auto",
        keep=None,
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _qemu(hosts: Hosts) -> int:
    """libvirt's number of QEMU's version; of several hosts one that differs where that of one of them does."""
    told = hosts.each(
        lambda host: int(host.call(lambda connection: connection.getVersion())), failed="not all hosts could be asked"
    )
    versions = list(told.values())
    return versions[0] if len(versions) == 1 else zlib.crc32(repr(versions).encode())
