"""Take a bed down: whatever of it exists goes, nothing else is touched."""

import shlex
import shutil
from contextlib import nullcontext

from vmlab.errors import HostError, VmlabError, together
from vmlab.lab.beds import channel
from vmlab.lab.beds.settle import settle
from vmlab.lab.beds.shut_down import shut_down
from vmlab.lab.ground.bed import beds_there, locked, put_back_elsewhere
from vmlab.lab.ground.bed_folder import elsewhere, move, new_folder, nodes_on
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.lanes import node_lanes
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import Action, Plan, by_name
from vmlab.plan.diff import removal
from vmlab.plan.observed import over_all
from vmlab.runtime.parallel import each
from vmlab.values.nodeset import fold
from vmlab.virt.bed_files import refresh_files
from vmlab.virt.connection import Host
from vmlab.virt.perform import perform, perform_lanes


def planned_removal(hosts: Hosts, bed: str, *, keep_disks: bool) -> dict[str, Plan]:
    """What `down` would do on each host. Raises HostError if a domain outside the bed uses one of its disks."""
    hosts.each(lambda host: refresh_files(host, bed), failed="not all hosts could be asked")
    looks = hosts.look(leaving=bed)
    return {name: removal(look.bed(bed), look, keep_disks=keep_disks) for name, look in looks.items()}


def others(hosts: Hosts) -> str:
    """The beds that are there, for who named one that is not."""
    return beds_there(hosts.look())


def refuse_of_another_host(hosts: Hosts, bed: str) -> None:
    """Nothing of the bed is here, and it is known on another host: whoever asks to take it down means that one.

    Raises HostError naming it. Its secret is the only way into its guests.
    """
    home = hosts.keeper
    if new_folder(home, bed).exists() or over_all(bed, hosts.look()).exists:
        return
    for place, uri in elsewhere(home, bed).items():
        there = shlex.quote(uri) if uri else "URI"
        raise HostError(
            f"nothing of {bed} is on {home.uri}; its ssh secret is kept for {uri or 'another host'}: {place}",
            hint=f"LIBVIRT_DEFAULT_URI={there} vmlab down {bed}; if that bed is gone: rm -r {shlex.quote(str(place))}",
        )


def down(hosts: Hosts, bed: str, *, keep_disks: bool, progress: Progress, held: bool = False) -> tuple[Action, ...]:
    """Remove the bed and return what was done: nothing, if nothing of it was there.

    With `keep_disks` its disks and ssh secret stay, and the next `up` takes them up again; guests are shut down first.
    Snapshots go in any case. `held`: the caller holds the bed. Of a host that is away, or that fails, the others are no
    part: HostError says in the end what is left where, and `down` does the rest when it answers.
    """
    with nullcontext() if held else locked(hosts, bed):
        put_back_elsewhere(hosts)
        done: tuple[Action, ...] = ()
        channel.end(hosts, bed)  # before a guest starts what is about to go
        plans = planned_removal(hosts, bed, keep_disks=keep_disks)
        if any(plan.actions for plan in plans.values()):
            move(hosts.keeper, bed)
        if keep_disks:
            settle(hosts, bed, progress)  # disks that are half put back are not worth keeping
            found = over_all(bed, hosts.look(whole=False))
            shut_down(hosts, found, found.nodes, progress)
        while any(plan.actions for plan in plans.values()):
            todo = [(hosts[name], plan) for name, plan in plans.items()]
            each(lambda part: _perform(*part, progress), todo, jobs=len(todo), failed=f"{bed}: not all of it is gone")
            done += tuple(action for plan in plans.values() for action in plan.actions)
            # Look again: a console's log, for one, is closed only when its guest is gone.
            again = planned_removal(hosts, bed, keep_disks=keep_disks)
            if again == plans:
                break
            plans = again
        secret = new_folder(hosts.keeper, bed)
        if not keep_disks and hosts.whole and secret.exists():
            shutil.rmtree(secret)
        _refuse_rest(hosts, bed)
    return done


def _refuse_rest(hosts: Hosts, bed: str) -> None:
    errors: list[VmlabError] = []
    for name, away in hosts.away.items():
        nodes = nodes_on(hosts.keeper, bed, name)
        left = f"the nodes {fold(nodes)}, their disks and networks" if nodes else "whatever is there"
        told = f"{bed}: on {name} {left} are left: {away.why.message}"
        errors.append(HostError(told, hint=f"vmlab down {bed}, when {name} answers"))
    if errors:
        raise together(errors, f"{bed}: not all of it is gone")


def _perform(host: Host, plan: Plan, progress: Progress) -> None:
    for action in plan.host:
        perform(host, action)
    node_lanes(host, plan.lanes.values(), progress, failed="not all nodes could be removed", gone=True)
    perform_lanes(host, by_name(plan.volumes), failed="not all disks could be removed")
    perform_lanes(host, by_name(plan.folders), failed="not all folders could be removed")
    perform_lanes(host, by_name(plan.networks), failed="not all networks could be removed")
