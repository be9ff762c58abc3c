"""Faults on purpose: what they are is asked of libvirt and of the guests, and never remembered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vmlab.domainxml.metadata import Address
from vmlab.errors import GuestError, HostError, UsageError
from vmlab.fabrics.netem import SHOW, Netem, cleared, read_netem
from vmlab.guest.crash import PANIC
from vmlab.guest.ssh import Guest
from vmlab.lab.beds.power import power
from vmlab.lab.ground.bed import chosen, existing
from vmlab.lab.ground.doors import doors
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.lustre import failing
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.values.fault import FAILING, Kind
from vmlab.values.rate import Rate
from vmlab.virt.connection import Host
from vmlab.virt.faults import device_faults, pause, set_link, slow_disk
from vmlab.virt.observe import domain_state

_ASK_S = 30.0
_POWER = {Kind.POWER: "off", Kind.NMI: "nmi"}


@dataclass(frozen=True, slots=True)
class How:
    """`fabric` of link and net, `disk` (its serial) of all that disks do.

    `netem` is what a net does, `rate` and `iops` a slow disk.
    """

    fabric: str = ""
    disk: str = ""
    netem: Netem | None = None
    rate: Rate | None = None
    iops: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """One that is there now: `on` is an interface or a disk, "" for the node itself."""

    node: str
    kind: Kind
    on: str
    told: str


def add(hosts: Hosts, bed: str, kind: Kind, nodes: str, *, how: How, progress: Progress) -> None:
    """Do it to all of the nodes, at once. Raises UsageError if it is not said to what, HostError if a node is off."""
    _complete(kind, how)
    if kind in _POWER:
        power(hosts, bed, nodes, _POWER[kind], progress)
        return
    found = existing(hosts, bed)
    names = list(chosen(found, nodes))
    if off := [node for node in names if not found.nodes[node].running]:
        raise HostError(f"{off[0]} is off", hint=f"vmlab power on {bed} {off[0]}")
    guests = doors(hosts, found)
    # All are looked at before one is changed.
    changes = {name: _change(hosts, found, guests[name], kind, how) for name in names}

    def change(name: str) -> None:
        progress.stage(name, kind)
        changes[name]()

    each(change, names, jobs=LIBVIRT_JOBS, failed=f"{kind} failed")


def _complete(kind: Kind, how: How) -> None:
    if kind in (Kind.LINK, Kind.NET) and not how.fabric:
        raise UsageError(f"{kind} of which fabric?", hint="--fabric ib0")
    if kind is Kind.NET and how.netem is None:
        raise UsageError("what shall the network do?", hint="--delay 20ms, --loss 0.1%, --rate 1Gbit/s")
    if kind is Kind.DISK and not (how.disk and (how.rate or how.iops)):
        raise UsageError("which disk is slow, and how slow?", hint="--disk SERIAL --iops 20, or --rate 1MB/s")
    if kind in FAILING and not how.disk:
        raise UsageError(f"{kind} of which disk?", hint="--disk lustre-OST0000")


def _change(hosts: Hosts, bed: ObservedBed, guest: Guest, kind: Kind, how: How) -> Callable[[], None]:
    """What is to be done to one node."""
    host, domain = hosts.of(bed.nodes[guest.node]), bed.nodes[guest.node].facts.name
    places = _places(bed, guest.node, how.fabric) if kind in (Kind.LINK, Kind.NET) else []
    if kind in FAILING:
        _refuse_sound(guest, kind, how.disk)
        return lambda: _run(guest, failing.fault(kind, how.disk))

    def links_down() -> None:
        for place in places:
            set_link(host, domain, place.mac, up=False)

    def emulated() -> None:
        commands = [how.netem.argv(place.interface) for place in places] if how.netem is not None else []
        for command in commands:
            _run(guest, command)

    found: dict[Kind, Callable[[], None]] = {
        Kind.PAUSE: lambda: pause(host, domain, paused=True),
        Kind.PANIC: lambda: _run(guest, PANIC),
        Kind.DISK: lambda: slow_disk(host, domain, how.disk, bytes_s=int(how.rate or 0), iops=how.iops),
        Kind.LINK: links_down,
        Kind.NET: emulated,
    }
    return found[kind]


def _places(bed: ObservedBed, node: str, fabric: str) -> list[Address]:
    """The node's interfaces on a fabric. vmlab's own way in is not cut off."""
    places = [address for address in bed.metadata[node].addresses if address.fabric == fabric]
    if any(place.kind == "management" for place in places):
        raise UsageError(f"{fabric} is how vmlab reaches {node}: it stays", hint="vmlab fault add BED power NODES")
    if not places:
        known = dict.fromkeys(a.fabric for a in bed.metadata[node].addresses if a.kind != "management")
        raise UsageError(f"{node} is not on {fabric!r:.40} (it is on {', '.join(known) or 'no fabric'})")
    return places


def _refuse_sound(guest: Guest, kind: Kind, disk: str) -> None:
    """Raises HostError if the disk is not made to fail on demand, GuestError if the guest's kernel cannot do that."""
    result = guest.run(failing.look(kind, disk), deadline_s=_ASK_S, as_root=True)
    if result.status == failing.NOT_MADE_TO:
        raise HostError(
            f"{guest.node} has no disk {disk!r:.40} that can be told to fail",
            hint="`faults: true` beside the size of that target in the topology, then: vmlab up FILE",
        )
    if not result.ok:
        raise GuestError(f"{guest.node}: {result.last_line}", node=guest.node, stage="fault")


def _run(guest: Guest, argv: Sequence[str]) -> None:
    result = guest.run(argv, deadline_s=_ASK_S, as_root=True)
    if not result.ok:
        why = "its kernel has no sch_netem" if "qdisc kind is unknown" in result.stderr else result.last_line
        raise GuestError(f"{guest.node}: {why}", node=guest.node, stage="fault")


def listed(hosts: Hosts, bed: str) -> list[Fault]:
    """What is done to the bed's nodes now, in the nodes' order. Guests that do not answer are not asked in vain."""
    found = existing(hosts, bed)
    return _listed(hosts, found, list(found.nodes), _doors(hosts, found))


def _doors(hosts: Hosts, bed: ObservedBed) -> Mapping[str, Guest]:
    """None where nobody is behind the domains."""
    return doors(hosts, bed) if hosts.have_guests else {}


def _listed(hosts: Hosts, bed: ObservedBed, names: Sequence[str], guests: Mapping[str, Guest]) -> list[Fault]:
    asked = each(lambda name: _of(hosts, bed, name, guests.get(name)), names, jobs=len(names), failed="not all told")
    return [fault for some in asked for fault in some]


def _of(hosts: Hosts, bed: ObservedBed, node: str, guest: Guest | None) -> list[Fault]:
    observed = bed.nodes[node]
    host, domain = hosts.of(observed), observed.facts.name
    if not observed.running:
        return [Fault(node, Kind.POWER, "", "off")]
    devices = device_faults(host, domain)
    interfaces = {address.mac.lower(): address.interface for address in bed.metadata[node].addresses}
    found = [Fault(node, Kind.LINK, interfaces.get(mac, mac), "down") for mac in sorted(devices.links_down)]
    found += [Fault(node, Kind.DISK, serial, told) for serial, told in devices.slow.items()]
    if domain_state(host, domain) == "paused":
        return [Fault(node, Kind.PAUSE, "", "paused"), *found]
    try:
        return [*found, *(_in_guest(guest) if guest is not None else ())]
    except GuestError as error:
        return [*found, Fault(node, Kind.PANIC, "", error.message)] if error.stage == "panic" else found


def _in_guest(guest: Guest) -> list[Fault]:
    nets = read_netem(guest.run(SHOW, deadline_s=_ASK_S).stdout)
    disks = failing.read_failing(guest.run(failing.SHOW, deadline_s=_ASK_S, as_root=True).stdout)
    return [
        *(Fault(guest.node, Kind.NET, interface, what) for interface, what in nets.items()),
        *(Fault(guest.node, kind, label, what) for label, (kind, what) in disks.items()),
    ]


def clear(hosts: Hosts, bed: str, nodes: str, progress: Progress) -> list[Fault]:
    """Undo what is done to the nodes; returns what was undone. Who is off, or dead, stays so: `power` is for that."""
    found = existing(hosts, bed)
    guests = _doors(hosts, found)
    undone = []
    for fault in _listed(hosts, found, list(chosen(found, nodes)), guests):
        observed = found.nodes[fault.node]
        host, domain = hosts.of(observed), observed.facts.name
        if _undo(host, domain, guests.get(fault.node), bed=found, fault=fault):
            progress.stage(fault.node, f"{fault.kind} cleared")
            undone.append(fault)
    return undone


def _undo(host: Host, domain: str, guest: Guest | None, *, bed: ObservedBed, fault: Fault) -> bool:
    macs = {address.interface: address.mac for address in bed.metadata[fault.node].addresses}
    match fault.kind:
        case Kind.PAUSE:
            pause(host, domain, paused=False)
        case Kind.LINK:
            set_link(host, domain, macs.get(fault.on, fault.on), up=True)
        case Kind.DISK:
            slow_disk(host, domain, fault.on, bytes_s=0, iops=0)
        case Kind.NET if guest is not None:
            _run(guest, cleared(fault.on))
        case Kind.READS | Kind.WRITES | Kind.FULL if guest is not None:
            _run(guest, failing.fault(None, fault.on))
        case _:
            return False
    return True
