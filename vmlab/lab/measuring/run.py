"""Run workloads on a bed that is there: hold it, open its guests, measure."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from vmlab.domainxml.metadata import NodeMetadata
from vmlab.errors import UsageError
from vmlab.guest.child import Watch
from vmlab.guest.patience import Advance
from vmlab.guest.ssh import Door, Guest
from vmlab.judgement.references import Reference
from vmlab.lab.ground.bed import existing, locked
from vmlab.lab.ground.doors import advances, doors, external_doors, open_door, open_outside
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.lab.measuring.bedside import Bedside
from vmlab.lab.measuring.consoles import Consoles
from vmlab.lab.measuring.deeds import Deeds
from vmlab.lab.measuring.native import stand_ins
from vmlab.lab.measuring.participants import Bare, InGuest
from vmlab.lab.measuring.renewal import Renewal
from vmlab.lab.measuring.turns import Often
from vmlab.lab.measuring.witness import Witness
from vmlab.lab.measuring.workload import run_workload
from vmlab.plan.filesystems import lnet, targets
from vmlab.plan.observed import ObservedBed, ObservedDomain
from vmlab.records.run import RunRecord
from vmlab.runtime.descriptors import STARTING, require
from vmlab.runtime.parallel import each
from vmlab.store.runs import runs_dir
from vmlab.topology import External, Topology
from vmlab.values.nodeset import expand, fold
from vmlab.virt.pins import vcpu_pins
from vmlab.workloads import Bed, Workload
from vmlab.workloads._options import Point

_JOBS = 32


def measure(
    hosts: Hosts,
    bed: str,
    workload: Workload[Any],
    points: Sequence[Point[Any]],
    *,
    topology: Topology | None,
    progress: Progress,
    often: Often,
    resume: bool,
    references: Sequence[Reference] = (),
) -> RunRecord:
    """One run; what went wrong while measuring is in the record (`lab.measuring.workload.verdict`).

    Without the bed's `topology` no workload runs that does something to the bed, as `failover` does, and no nodes are
    made anew. Raises UsageError if there is no such bed, GuestError if a node that takes part cannot be reached.
    """
    if often.fresh and topology is None:
        raise UsageError(
            f"nodes of {bed} can be made anew by its topology only, and its file is not here",
            hint="vmlab run FILE WORKLOAD --trials N --fresh",
        )
    with locked(hosts, bed), contextlib.ExitStack() as stack:
        found = existing(hosts, bed)
        if topology is not None:
            workload = workload.of_bed(partial(_laid_out, topology, found))
        metadata = _in_order(found.metadata, topology)
        machines = _machines(topology)
        guests, outside = doors(hosts, found), external_doors(topology)
        known = (*(InGuest(node).node for node in metadata.values()), *(machine.node for machine in machines.values()))
        taking = {name for point in points for name in workload.takes_part(point.options, known)}
        domains = {name: found.nodes[name] for name in metadata if name in taking}
        _refuse_off(bed, domains)
        mine = {name: guests[name] for name in domains}
        theirs = {name: door for name, door in outside.items() if name in taking}
        on = advances(hosts, found)
        _connect(stack, mine, theirs, on)
        accel = _accel(domains)
        deeds: Deeds | None = None
        consoles = stack.enter_context(Consoles(hosts, found, spared=lambda: deeds.struck if deeds is not None else ()))
        if topology is not None:
            how = accel if domains else "auto"
            deeds = Deeds(hosts, topology, how, progress, guests=mine, advances=on, forget=consoles.forget)
        renewal = None
        if often.fresh and topology is not None and deeds is not None:
            renewal = Renewal(hosts, topology, mine, on, accel=accel, struck=deeds.struck, progress=progress)
        for guest in mine.values():
            guest.watch = _both(guest.watch, consoles.watch)
        pins = {name: _pins(hosts, domain) for name, domain in domains.items()}
        native = any(point.native is not None for point in points)
        in_guests = {
            name: InGuest(node, pins.get(name), host=found.nodes[name].host) for name, node in metadata.items()
        }
        return run_workload(
            {**guests, **theirs},
            {**in_guests, **machines},
            workload,
            points,
            bed=bed,
            runs_dir=runs_dir(),
            accel=accel,
            deeds=deeds,
            progress=progress.say,
            noticed=consoles.findings,
            beside=Bedside(hosts, bed, consoles, progress),
            witness=Witness(hosts, domains),
            topology=_as_data(topology),
            often=often,
            resume=resume,
            stand_ins=stand_ins(hosts, domains, metadata, pins) if native else {},
            renewal=renewal,
            references=references,
        )


def _laid_out(topology: Topology, found: ObservedBed) -> Bed:
    """Raises UsageError if the bed has not all nodes of its topology yet."""
    if missing := topology.nodes.keys() - found.metadata.keys():
        raise UsageError(f"{topology.name} has no {fold(missing)} yet", hint="vmlab up FILE")
    configs = lnet(topology, {name: metadata.addresses for name, metadata in found.metadata.items()})
    return Bed(topology, targets(topology, configs), configs)


def _connect(
    stack: contextlib.ExitStack, guests: Mapping[str, Guest], machines: Mapping[str, Door], on: Mapping[str, Advance]
) -> None:
    """Open the doors of all that take part, until the stack ends. Raises HostError, GuestError."""
    require(len(guests) + len(machines) + STARTING, f"connections to {len(guests) + len(machines)} machines")
    for door in (*guests.values(), *machines.values()):
        stack.enter_context(door)
    each(lambda name: open_door(guests[name], on[name]), guests, jobs=_JOBS, failed="not all nodes can be reached")
    each(open_outside, machines.values(), jobs=_JOBS, failed="not all machines can be reached")


def _accel(domains: Mapping[str, ObservedDomain]) -> str:
    if not domains:
        return "bare"
    return "kvm" if all(domain.facts.kind == "kvm" for domain in domains.values()) else "tcg"


def _machines(topology: Topology | None) -> dict[str, Bare]:
    """Those that are no guests, which only the topology tells of."""
    if topology is None:
        return {}

    def bare(machine: External) -> Bare:
        kinds = {fabric: topology.fabrics[fabric].kind for fabric in machine.addresses}
        places = {fabric: (kinds[fabric], address) for fabric, address in machine.addresses.items()}
        return Bare(machine.name, machine.roles, places)

    return {name: bare(machine) for name, machine in topology.externals.items()}


def _refuse_off(bed: str, domains: Mapping[str, ObservedDomain]) -> None:
    if off := [name for name, domain in domains.items() if not domain.running]:
        told = fold(off)
        raise UsageError(f"{bed}: {told} {'is' if len(off) == 1 else 'are'} off", hint=f"vmlab power on {bed} '{told}'")


def _as_data(topology: Topology | None) -> dict[str, Any] | None:
    """As JSON has it; sizes are bytes."""
    if topology is None:
        return None
    data: dict[str, Any] = json.loads(json.dumps(asdict(topology), default=str))
    return data


def _in_order(nodes: Mapping[str, NodeMetadata], topology: Topology | None) -> dict[str, NodeMetadata]:
    """As the topology file has them; without one by their numbers."""
    places = {name: place for place, name in enumerate(topology.nodes if topology else expand(fold(nodes)))}
    return {name: nodes[name] for name in sorted(nodes, key=lambda name: places.get(name, len(places)))}


def _pins(hosts: Hosts, domain: ObservedDomain) -> Mapping[int, tuple[int, ...]]:
    return vcpu_pins(hosts.of(domain), domain.facts.name)


def _both(first: Watch, second: Watch) -> Watch:
    def watch() -> None:
        first()
        second()

    return watch
