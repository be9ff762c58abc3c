"""What a killed `snapshot` or `up` left: guests that stand still go on, a bed half put back is put back whole.

Whoever holds the bed and changes it comes by here first. What no snapshot has a description of is removed, and a
clone that was not ended is begun anew.
"""

import json

from vmlab.lab.beds.clone import end_half_made
from vmlab.lab.beds.put_back import put_back
from vmlab.lab.beds.standing import all_go_on
from vmlab.lab.ground.hosts import Hosts, only
from vmlab.lab.ground.kept import FileNames, content, file_names, reverting, snapshots_of
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import RemoveVolume
from vmlab.plan.observed import over_all
from vmlab.plan.snapshots import cut_off, half_way
from vmlab.values import identity
from vmlab.virt.perform import perform


def settle(hosts: Hosts, bed: str, progress: Progress) -> None:
    """The caller holds the bed. Raises what `put_back` raises, if a revert was cut off.

    Without a host that is away nothing is put back, and no snapshot can be told from what is left of one.
    """
    names = file_names(hosts, bed)
    for host, there in names.items():
        if any(map(identity.of_clone, there)):
            end_half_made(hosts[host], over_all(bed, only(hosts[host]).look(whole=False)), there)
    if not any(identity.of_snapshot(name) for there in names.values() for name in there):
        return
    mark = reverting(hosts, bed)
    if not hosts.whole:
        if mark is not None:
            raise half_way(bed, mark)
        return
    if mark is not None:
        progress.say(f"{bed}: a revert to {mark.snapshot} was cut off: it goes on")
        put_back(hosts, bed, mark, progress)
    let_go(hosts, bed, names, progress)
    whole = snapshots_of(hosts, bed)
    for host, there in file_names(hosts, bed).items():
        for name in cut_off(there, whole, reverting=False):
            perform(hosts[host], RemoveVolume(name, None, "left by a snapshot that was cut off"))


def let_go(hosts: Hosts, bed: str, names: FileNames, progress: Progress) -> None:
    """Nodes that stand still for a snapshot that was cut off go on; where one is whole they do already."""
    begun = [(hosts[host], name) for host, there in names.items() for name in there if _begun(bed, name)]
    if not begun:
        return
    found = over_all(bed, hosts.look(whole=False))
    whole = {snapshot.name for snapshot in snapshots_of(hosts, bed)}
    for host, name in begun:
        if identity.snapshot_of(name) not in whole:
            all_go_on(hosts, found, _stood_still(content(host, name)), progress)


def _begun(bed: str, name: str) -> bool:
    snapshot = identity.snapshot_of(name)
    return snapshot is not None and name == identity.snapshot_begun(bed, snapshot)


def _stood_still(text: str) -> list[str]:
    try:
        return [str(node) for node in json.loads(text)]
    except (ValueError, TypeError):
        return []
