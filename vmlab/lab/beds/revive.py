"""A bed that begins anew by its power: whatever hung in its kernels is gone, and disks are as they were left."""

from functools import partial

from vmlab.guest.boot import WAITS, Deadlines, Vigil, wait_until_ready
from vmlab.guest.patience import Patience
from vmlab.guest.satisfy import satisfy
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.doors import advance
from vmlab.lab.ground.guests import guest_of, steps_of
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import StartDomain, StopDomain
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline
from vmlab.values import identity
from vmlab.virt.console import console_text
from vmlab.virt.observe import domain_state
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
    for kind in (StopDomain, StartDomain):
        progress.stage(name, kind.kind)
        perform(host, kind(domain, name, _WHY))

    def state() -> str:
        return domain_state(host, domain)

    def console() -> str:
        return console_text(host, folder, identity.console_volume(bed.name, name))

    deadlines = Deadlines.of("kvm" if observed.facts.kind == "kvm" else "tcg")
    gets_on = advance(host, domain, observed.facts.kind, console)
    with guest_of(hosts, metadata) as guest:
        wait_until_ready(
            guest,
            console=console,
            domain_state=state,
            on_stage=lambda stage: progress.stage(name, WAITS[stage]),
            deadlines=deadlines,
            overall=deadline,
            advances=gets_on,
        )
        progress.stage(name, "roles")
        satisfy(
            guest,
            steps_of(hosts, metadata, observed.facts, bed.metadata),
            deadline=Patience.of(deadlines.roles_s, deadline, gets_on),
            watch=Vigil(guest, console, state, "roles"),
            advances=gets_on,
        )
    progress.stage(name, "ready")
