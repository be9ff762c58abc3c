"""File systems as tables: targets and clients, what a failover took."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from vmlab.report.grid import Grid
from vmlab.values.nodeset import fold
from vmlab.values.size import Bytes

if TYPE_CHECKING:
    from vmlab.lab.filesystems.failover import Failover
    from vmlab.lab.filesystems.status import ClientStatus, FsStatus, TargetStatus

_GOOD, _MIDDLING, _BAD = "green", "yellow", "red"
_UNDER_WAY = ("formatting", "mounting", "unmounting")
_STATES = {"mounted": _GOOD, "off": "dim", **dict.fromkeys(("unmounted", "unknown", *_UNDER_WAY), _MIDDLING)}
_MIB = 1024**2


def fs_tables(found: "FsStatus") -> Group:
    """`vmlab fs status`."""
    silent = [Text(f"{node}: {why}", _MIDDLING) for node, why in found.silent.items()]
    targets = (_targets(found.targets), "") if found.targets else ()  # those of an external one are not ours to ask
    return Group(*targets, _clients(found.clients), *silent)


def _targets(targets: Sequence["TargetStatus"]) -> Grid:
    table = Grid("TARGET", "STATE", "NODE", "RECOVERY", "USED", "AVAILABLE", "SIZE", "SERVERS", "DEVICE")
    for one in targets:
        moved = one.state == "mounted" and one.node != one.servers[0]
        table.add_row(
            one.target,
            _state(one),
            Text(one.node or "-", _MIDDLING if moved else ""),
            _recovery(one),
            *(_space(figure) for figure in (one.used, one.available, one.total)),
            " ".join(one.servers),
            one.device,
        )
    return table


def _state(one: "TargetStatus") -> Text:
    inactive = f", inactive on {fold(one.inactive_on)}" if one.inactive_on else ""
    return Text(f"{one.state}{inactive}", _BAD if inactive else _STATES.get(one.state, _BAD))


def _recovery(one: "TargetStatus") -> Text:
    if not one.recovery:
        return Text("-", "dim")
    counts = f" {one.clients}/{one.expected}" if one.expected else ""
    evicted = f", {one.evicted} evicted" if one.evicted else ""
    left = f", {one.remaining_s} s left" if one.remaining_s else ""
    over = one.recovery in ("COMPLETE", "INACTIVE")
    return Text(f"{one.recovery}{counts}{evicted}{left}", (_BAD if one.evicted else "") if over else _MIDDLING)


def _space(figure: int | None) -> str:
    return "-" if figure is None else str(Bytes(figure // _MIB * _MIB))


def _clients(clients: Sequence["ClientStatus"]) -> Grid:
    table = Grid("CLIENT", "FILE SYSTEM", "MOUNT POINT", "STATE", "CONNECTIONS")
    for one in clients:
        counts = " ".join(f"{number} {state}" for state, number in one.connections.items())
        broken = f" ({' '.join(one.broken)})" if one.broken else ""
        table.add_row(
            one.node,
            one.filesystem,
            one.point,
            Text(one.state, _STATES.get(one.state, _BAD)),
            Text(f"{counts}{broken}" or "-", _BAD if broken else ""),
        )
    return table


def failover_table(done: "Failover") -> Group:
    """`vmlab fs failover` and `failback`."""
    table = Grid("TARGET", "FROM", "TO", "MOUNT s", "RECOVERED AFTER s", "RECOVERY", "CLIENTS", "EVICTED")
    for one in done.moved:
        table.add_row(
            one.target,
            one.source,
            one.destination,
            f"{one.mount_s:.1f}",
            f"{one.recovery_s:.1f}",
            one.recovery or "-",
            f"{one.clients}/{one.expected}" if one.expected else "-",
            Text(str(one.evicted), _BAD if one.evicted else ""),
        )
    return Group(table, f"{done.how}: down after {done.down_s:.1f} s, all recovered after {done.total_s:.1f} s")
