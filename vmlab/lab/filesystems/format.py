"""Format a bed's targets, and look at what their disks hold before."""

from dataclasses import dataclass

from vmlab.errors import HostError
from vmlab.lab.filesystems.lustre_bed import opened
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.leftovers import end_leftovers
from vmlab.lab.ground.progress import Progress
from vmlab.lab.ground.stages import StageTime
from vmlab.lustre.target import Target, read_on_disk
from vmlab.plan.filesystems import FORMAT, Wishes, filesystem_stages, lnet_stages
from vmlab.plan.serving import refuse_external
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline
from vmlab.shell import script
from vmlab.topology import Topology

_JOBS = 64
_LOOK_S = 60.0

_LOOK = script(__file__, "content.sh")


@dataclass(frozen=True, slots=True)
class Content:
    """What a target's disk holds, in words: `is formatted as ...`, `holds ext4`. `own`: it is this target's."""

    text: str
    own: bool


def contents(hosts: Hosts, topology: Topology) -> dict[str, Content]:
    """What the targets' disks hold, by label, without those that are empty."""
    refuse_external(topology, None, "formatted")
    with opened(hosts, topology) as bed:
        primary = {target.label: target.servers[0] for target in topology.targets}

        def look(target: Target) -> Content | None:
            pool = target.pool if target.backend == "zfs" else ""
            command = ("sh", "-c", _LOOK, "vmlab", target.device, pool, target.disk)
            said = bed.guests[primary[target.label]].run(command, deadline_s=_LOOK_S, as_root=True).stdout
            return _content(target, said)

        disks = [target for target in bed.targets.values() if target.disk]
        found = each(look, disks, jobs=_JOBS, failed="not all disks could be looked at")
        return {target.label: content for target, content in zip(disks, found, strict=True) if content is not None}


def _content(target: Target, said: str) -> Content | None:
    found = read_on_disk(said)
    if found is not None:
        text = f"is formatted as {found.service}" + (f" ({found.comment})" if found.comment else "")
        foreign = found.comment.startswith("vmlab ") and found.comment != target.comment
        return Content(text, own=found.service == target.service and not foreign)
    _, holds, what = said.partition("Holds: ")
    return Content(f"holds {what.strip()}", own=False) if holds else None


def format_(
    hosts: Hosts, topology: Topology, progress: Progress, deadline: Deadline, *, reformat: bool
) -> tuple[StageTime, ...]:
    """Format the targets whose disks are empty; with `reformat` all of them, whatever is on them.

    Raises HostError if one to be formatted anew is mounted anywhere, GuestError for a disk with foreign content.
    """
    with locked(hosts, topology.name), opened(hosts, topology) as bed:
        end_leftovers(bed.guests)
        mounted = bed.active()
        if reformat and mounted:
            where = ", ".join(f"{label} on {node}" for label, node in mounted.items())
            raise HostError(f"mounted, so not formatted: {where}", hint=f"vmlab fs umount {topology.name}")
        bed.refuse_left(bed.targets)
        bed.refuse_strangers(bed.targets)
        everyone = bed.members
        labels = frozenset(bed.targets) if reformat else frozenset()
        stages = (
            *lnet_stages(topology, everyone)[:1],  # disks and modules
            *(s for s in filesystem_stages(topology, everyone, Wishes(reformat=labels)) if s.name == FORMAT),
        )
        return bed.drive(stages, progress, deadline)
