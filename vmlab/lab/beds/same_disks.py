"""Disks and folders that nodes on several hosts are given by one name: each of those hosts has to see the same one."""

from collections.abc import Mapping

from vmlab.errors import HostError
from vmlab.lab.beds.decide import Prepared
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.actions import StartDomain
from vmlab.plan.observed import ObservedBed
from vmlab.topology import Topology
from vmlab.virt.disk_seen import disk_seen
from vmlab.virt.folder_seen import refuse_unshared
from vmlab.virt.machine import machine_of


def refuse_other_disks(hosts: Hosts, topology: Topology, bed: ObservedBed) -> None:
    """Raise HostError for a disk of nodes on several hosts that is another one on one of them.

    Not asked as long as one of those nodes runs: what it writes changes what is compared, and it was asked before.
    """
    for device, places in shared_over_hosts(topology, bed).items():
        if not all(name in hosts for name in places):
            continue
        seen = {name: disk_seen(machine_of(hosts[name]), device) for name in places}
        first, *others = seen
        for name in others:
            if (why := seen[first].why_another(seen[name])) is not None:
                raise HostError(
                    f"{device} is not one disk on {first} and on {name}: {why} (here {first}, there {name})",
                    hint=f"lsblk -o NAME,SIZE,WWN {device}, on both",
                )


def refuse_other_folders(hosts: Hosts, prepared: Prepared) -> None:
    """Raise HostError where a folder in which servers that are about to start have disks is no place for that.

    It is tried with a file that comes and goes, so `plan` does not ask.
    """
    starting = {action.node for action in prepared.plan.actions if isinstance(action, StartDomain)}
    for part in prepared.parts.values():
        for folder in part.desired.folders:
            servers = folder.servers(prepared.topology)
            if not starting.isdisjoint(servers):
                places = sorted({prepared.place(server)[0] for server in servers}, key=list(hosts).index)
                mounted = prepared.topology.filesystems[folder.filesystem].folder
                refuse_unshared(mounted, {name: machine_of(hosts[name]) for name in places})


def shared_over_hosts(topology: Topology, bed: ObservedBed) -> Mapping[str, list[str]]:
    """The disks that nodes on different hosts have by the same name, none of which runs, with those hosts."""
    found: dict[str, dict[str, None]] = {}
    running = set()
    for node in topology.nodes.values():
        there = bed.nodes.get(node.name)
        for disk in node.disks:
            if disk.device is None:
                continue
            places = [there.host] if there is not None else [node.host] if node.host is not None else topology.hosts
            found.setdefault(disk.device, {}).update(dict.fromkeys(places))
            if there is not None and there.running:
                running.add(disk.device)
    return {device: list(places) for device, places in found.items() if len(places) > 1 and device not in running}
