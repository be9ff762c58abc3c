"""Take a bed down: whatever of it exists goes, nothing else is touched."""

import shlex
import shutil

from vmlab.errors import HostError
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.bed_folder import elsewhere, move, new_folder
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import Action, Plan
from vmlab.plan.diff import removal
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe
from vmlab.virt.perform import perform
from vmlab.virt.pool import BEDS, refresh_pool


def planned_removal(host: Host, bed: str, *, keep_disks: bool) -> Plan:
    """What `down` would do. Raises HostError if a domain outside the bed uses one of its disks."""
    refresh_pool(host, BEDS)
    observed = observe(host)
    return removal(observed.bed(bed), observed, keep_disks=keep_disks)


def refuse_of_another_host(host: Host, bed: str) -> None:
    """Nothing of the bed is here, and it is known on another host: whoever asks to take it down means that one.

    Raises HostError naming it. Its secret is the only way into its guests.
    """
    if new_folder(host, bed).exists() or observe(host).bed(bed).exists:
        return
    for place, uri in elsewhere(host, bed).items():
        there = shlex.quote(uri) if uri else "URI"
        raise HostError(
            f"nothing of {bed} is on {host.uri}; its ssh secret is kept for {uri or 'another host'}: {place}",
            hint=f"LIBVIRT_DEFAULT_URI={there} vmlab down {bed}; if that bed is gone: rm -r {shlex.quote(str(place))}",
        )


def down(host: Host, bed: str, *, keep_disks: bool, progress: Progress) -> tuple[Action, ...]:
    """Remove the bed and return what was done: nothing, if nothing of it was there.

    With `keep_disks` its disks and ssh secret stay, and the next `up` takes them up again.
    """
    with locked(host, bed):
        done: tuple[Action, ...] = ()
        plan = planned_removal(host, bed, keep_disks=keep_disks)
        if plan.actions:
            move(host, bed)
        while plan.actions:
            _perform(host, plan, progress)
            done += plan.actions
            # Look again: a console's log, for one, is closed only when its guest is gone.
            again = planned_removal(host, bed, keep_disks=keep_disks)
            if again.actions == plan.actions:
                break
            plan = again
        if not keep_disks and new_folder(host, bed).exists():
            shutil.rmtree(new_folder(host, bed))
    return done


def _perform(host: Host, plan: Plan, progress: Progress) -> None:
    def lane(item: tuple[str, tuple[Action, ...]]) -> None:
        for action in item[1]:
            progress.stage(item[0], action.kind)
            perform(host, action)
        progress.stage(item[0], "gone")

    def remove(action: Action) -> None:
        perform(host, action)

    for action in plan.host:
        remove(action)
    each(lane, plan.lanes.items(), jobs=LIBVIRT_JOBS, failed="not all nodes could be removed")
    each(remove, plan.volumes, jobs=LIBVIRT_JOBS, failed="not all disks could be removed")
    each(remove, plan.networks, jobs=LIBVIRT_JOBS, failed="not all networks could be removed")
