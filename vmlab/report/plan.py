"""A plan: for people by node, with signs and reasons; for programs as the topology page specifies it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from vmlab.domainxml.metadata import CLOUD_INIT
from vmlab.lab.beds.decide import Prepared
from vmlab.lustre.lnet import routes
from vmlab.placement.request import PlacedCell, PlacedDevice
from vmlab.plan.actions import Action, Plan, together
from vmlab.report.errors import painted
from vmlab.topology import External, Topology
from vmlab.topology.bed import DEFAULT_HOST
from vmlab.topology.select import powered
from vmlab.values import identity
from vmlab.values.nid import Nid
from vmlab.values.nodeset import fold
from vmlab.values.printable import printable

_RED, _GREEN, _YELLOW = "31", "32", "33"
# By the first word of an action's kind.
_SIGNS = {
    "create": ("+", _GREEN),
    "join": ("+", _GREEN),
    "define": ("+", _GREEN),
    "start": ("+", _GREEN),
    "write": ("+", _GREEN),
    "take": ("+", _GREEN),
    "return": ("-", _RED),
    "stop": ("-", _RED),
    "undefine": ("-", _RED),
    "remove": ("-", _RED),
    "leave": ("-", _RED),
    "discard": ("-", _RED),
    "attach": ("+", _GREEN),
    "set": ("~", _YELLOW),
    "export": ("+", _GREEN),
    "end": ("-", _RED),
}

_LISTED = 12
_ORDINARY_PAGE_KIB = 4


def document(prepared: Prepared) -> dict[str, Any]:
    """What `vmlab plan -o json` prints. Cells are empty where guests are bound to nothing: emulated ones."""
    topology = prepared.topology
    roles = {name: node.roles for name, node in topology.nodes.items()}
    on = _hosts(prepared)
    return {
        "bed": topology.name,
        "changes": bool(prepared.plan.actions or prepared.plan.pending),
        "reserve": _reserve(prepared),
        "nodes": [
            {
                "name": name,
                **_placed(prepared, name),
                "role": list(node.metadata.roles),
                "addresses": {place.interface: str(place.ip.ip) for place in node.metadata.addresses},
                "nids": [str(nid) for nid in _nids(prepared, name)],
                "first_boot": node.metadata.first_boot or CLOUD_INIT,
                "powers": list(powered(name, node.metadata.powers, roles)),
            }
            for name, node in prepared.nodes.items()
        ],
        "externals": [_external(topology, external) for external in topology.externals.values()],
        "routes": list(_routes(prepared)),
        "actions": [_action(action) | _on(action, on) for action in prepared.plan.actions],
        "pending": [_action(action) | _on(action, on) for action in prepared.plan.pending],
    }


def _hosts(prepared: Prepared) -> dict[int, str]:
    """The host of each action, by the action's `id`, of a bed on several hosts; nothing of a bed on one."""
    if len(prepared.parts) == 1:
        return {}
    plans = ((host, part.plan) for host, part in prepared.parts.items())
    return {id(action): host for host, plan in plans for action in (*plan.actions, *plan.pending)}


def _on(action: Action, hosts: Mapping[int, str]) -> dict[str, str]:
    return {"host": hosts[id(action)]} if id(action) in hosts else {}


def _external(topology: Topology, external: External) -> dict[str, Any]:
    nets = {fabric: topology.lnet(fabric) for fabric in external.addresses}
    return {
        "name": external.name,
        "external": external.uri,
        "role": list(external.roles),
        "addresses": {fabric: str(address) for fabric, address in external.addresses.items()},
        "nids": [str(Nid(address, net)) for fabric, address in external.addresses.items() if (net := nets[fabric])],
    }


def _reserve(prepared: Prepared) -> dict[str, Any]:
    """What each host keeps for itself, and which of it is the default. Nothing where guests are bound to nothing."""
    placement = prepared.places.placement
    if placement is None or prepared.accel != "kvm":
        return {}
    return {
        host: {
            "cpus": kept.cpus,
            "memory_mib": kept.kib // 1024,
            "default": [key for key, usual in (("cpus", kept.usual_cpus), ("memory", kept.usual_kib)) if usual],
        }
        for host, kept in placement.kept.items()
    }


def _placed(prepared: Prepared, name: str) -> dict[str, Any]:
    place = prepared.places.node(name)
    if place is None:
        host = prepared.topology.nodes[name].host or next(iter(prepared.topology.hosts), DEFAULT_HOST)
        return {"host": host, "cells": [], "emulator_cpus": [], "devices": []}
    bound = prepared.accel == "kvm"
    return {
        "host": place.host,
        "cells": [_cell(cell) for cell in place.cells] if bound else [],
        "emulator_cpus": list(place.emulator_cpus) if bound else [],
        "devices": [_device(device) for device in place.devices],
    }


def _cell(cell: PlacedCell) -> dict[str, Any]:
    return {
        "host_cell": cell.host_cell,
        "vcpus": {str(vcpu): list(cpus) for vcpu, cpus in sorted(cell.vcpus.items())},
        "memory_mib": cell.memory_kib // 1024,
        "page_kib": cell.page_kib or _ORDINARY_PAGE_KIB,
    }


def _device(device: PlacedDevice) -> dict[str, Any]:
    return {
        "address": str(device.address),
        "fabric": device.fabric,
        "host_cell": device.host_cell,
        "iommu_group": device.iommu_group,
        "function": device.function,
        "remote": device.remote,
        "planned": device.planned,
        "group": [str(address) for address in device.group],
    }


def _action(action: Action) -> dict[str, Any]:
    return {"kind": action.kind, "name": action.name, "node": action.node, "reason": action.reason}


def _nids(prepared: Prepared, node: str) -> Iterator[Nid]:
    for place in prepared.nodes[node].metadata.addresses:
        net = prepared.topology.lnet(place.fabric)
        if net is not None:
            yield Nid(place.ip.ip, net)


def _routes(prepared: Prepared) -> Iterator[dict[str, Any]]:
    nids = {name: {nid.net: nid for nid in reversed(list(_nids(prepared, name)))} for name in prepared.nodes}
    site = prepared.topology.site_routers
    memberships = {name: set(nets) for name, nets in nids.items()}
    nids |= {str(nid): {nid.net: nid} for nid in site}
    memberships |= {str(nid): {nid.net, *beyond} for nid, beyond in site.items()}
    for route in routes(memberships, [*_routers(prepared.topology), *map(str, site)]):
        gateways = [str(nids[router][net]) for router, net in route.gateways if net in nids[router]]
        if route.node in prepared.nodes and gateways:
            yield {"node": route.node, "net": route.net, "gateways": gateways, "hops": route.hops}


def _routers(topology: Topology) -> list[str]:
    return [name for name, node in topology.nodes.items() if "router" in node.roles]


def text(prepared: Prepared, to: TextIO) -> str:
    """The actions by node, then what waits for `--restart`; coloured if `to` is a terminal.

    Lines and not a Rich table, which takes longer for a thousand nodes than all the planning.
    """
    plan = prepared.plan
    parts = []
    if plan.actions:
        parts.append(_columns(_rows(prepared), to))
    if plan.pending:
        on = _hosts(prepared)
        held = [("~", _YELLOW, _who(action, on), _what(action), action.reason) for action in plan.pending]
        parts.append(painted("Only with --restart:", "1", to) + "\n" + _columns(held, to))
    if not parts:
        parts.append(painted(f"{prepared.topology.name}: nothing to change", _GREEN, to))
    if prepared.topology.externals:
        parts.append(f"External, left alone: {fold(prepared.topology.externals)}")
    return "\n\n".join(parts)


Row = tuple[str, str, str, str, str]
"""Sign, its style, node, action, reason."""


def _rows(prepared: Prepared) -> Iterator[Row]:
    plan = prepared.plan
    there, on = prepared.bed.nodes, _hosts(prepared)
    for action in (*plan.host, *plan.networks, *plan.folders, *plan.volumes):
        host = on.get(id(action))
        yield *_SIGNS[action.kind.partition("-")[0]], f"({host})" if host else "-", _what(action), action.reason
    for node, lane in plan.lanes.items():
        changed = node in there and node in prepared.nodes
        for number, action in enumerate(lane):
            sign, style = ("~", _YELLOW) if changed else _SIGNS[action.kind.partition("-")[0]]
            yield sign, style, "" if number else _who(action, on), _what(action), action.reason


def _who(action: Action, hosts: Mapping[int, str]) -> str:
    """The node of an action, and the host in brackets where there are several."""
    host = hosts.get(id(action))
    return " ".join(filter(None, (action.node, host and f"({host})"))) or "-"


def _columns(found: Iterable[Row], to: TextIO) -> str:
    rows = [(sign, style, *map(printable, said)) for sign, style, *said in found]
    nodes = max(len("NODE"), *(len(row[2]) for row in rows))
    actions = max(len("ACTION"), *(len(row[3]) for row in rows))
    lines = [painted(f"   {'NODE':{nodes}}  {'ACTION':{actions}}  REASON", "1", to)]
    for sign, style, node, action, reason in rows:
        lines.append(
            f"{painted(sign, style, to)}  {node:{nodes}}  {painted(f'{action:{actions}}', style, to)}  {reason}"
        )
    return "\n".join(lines)


def _what(action: Action) -> str:
    return f"{action.kind} {action.name}"


def removal_lines(bed: str, plans: Iterable[Plan]) -> list[str]:
    """What `down` is going to remove, one line per kind; nothing if there is nothing."""
    plan = together(plans)
    kinds = (("nodes", [fold(plan.lanes)] if plan.lanes else []), ("networks", _names(plan.networks, "remove-network")))
    disks = [n for n in _names(plan.actions, "remove-volume") if identity.has_data(n)]
    snapshots = {s for n in _names(plan.actions, "remove-volume") if (s := identity.snapshot_of(n)) is not None}
    memory = _names(plan.actions, "discard-memory")
    all_kinds = (*kinds, ("disks", disks), ("snapshots", list(snapshots)), ("saved memory", memory))
    told = [f"  {kind}: {_listed(names)}" for kind, names in all_kinds if names]
    return [f"{bed}: this goes:", *told] if told else []


def _listed(names: list[str]) -> str:
    names = list(dict.fromkeys(names))  # several hosts of a bed have networks of one name
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(sorted(names)[:_LISTED]) + more


def _names(actions: Iterable[Action], kind: str) -> list[str]:
    return [action.name for action in actions if action.kind == kind]
