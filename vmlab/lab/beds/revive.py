"""A bed that begins anew by its power: whatever hung in its kernels is gone, and disks are as they were left."""

from functools import partial

from vmlab.lab.beds.boot import Boot
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.guests import guest_of
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import StartDomain, StopDomain
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline
from vmlab.virt.perform import perform
from vmlab.virt.pool import BEDS, pool_path

_WHY = "begins anew"
_JOBS = 32


def revive(hosts: Hosts, bed: str, progress: Progress, deadline: Deadline) -> None:
    """Hard off and on, all nodes at once; when this returns they are ready, with nothing of Lustre mounted.

    The caller holds the bed. Raises GuestError, HostError.
    """
    found = existing(hosts, bed)
    each(
        partial(_begin_anew, hosts, found, progress=progress, deadline=deadline),
        found.nodes,
        jobs=_JOBS,
        failed=f"{bed}: not all nodes came up again",
    )


def _begin_anew(hosts: Hosts, bed: ObservedBed, name: str, *, progress: Progress, deadline: Deadline) -> None:
    observed, metadata = bed.nodes[name], bed.metadata[name]
    host, domain = hosts.of(observed), observed.facts.name
    folder = host.call(lambda connection: pool_path(connection, BEDS))
    for action in (StopDomain, StartDomain):
        progress.stage(name, action.kind)
        perform(host, action(domain, name, _WHY))

    kind = observed.facts.kind
    boot = Boot(hosts, host, domain, kind, folder, metadata, observed.facts, bed.metadata, progress, deadline)
    with guest_of(hosts, host, metadata) as guest:
        boot.ready(guest)
        boot.take_steps(guest)
    progress.stage(name, "ready")
