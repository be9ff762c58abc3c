"""The bed's picture, drawn from what a run's record holds of its topology, and where its nodes were on their hosts."""

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lxml import etree

from vmlab.errors import HostError
from vmlab.records.run import RunHost, RunRecord
from vmlab.report.benchmark.figures import pinned
from vmlab.report.graph import render
from vmlab.report.plots.chart import Seat, Seats
from vmlab.report.plots.draw import embedded
from vmlab.topology import Topology
from vmlab.values.size import Bytes

_MOST_CPUS = 512


def bed_picture(record: RunRecord, name: str) -> str:
    """SVG for a page. Raises HostError if Graphviz is not installed or fails, ValueError if the record has no topology.

    A newer vmlab's topology, which this one does not know, is a ValueError, too.
    """
    try:
        topology = _made(Topology, record.topology)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the record's topology cannot be read: {error}") from error
    with TemporaryDirectory(prefix="vmlab-") as folder:
        path = Path(folder) / "bed.svg"
        render(topology, path)
        try:
            tree = etree.fromstring(path.read_bytes(), etree.XMLParser(remove_comments=True, resolve_entities=False))
        except etree.XMLSyntaxError as error:
            raise HostError(f"Graphviz wrote no SVG: {error}") from error
    for title in list(tree.iter("{*}title")):
        parent = title.getparent()
        if parent is not None:
            parent.remove(title)
    return f'<div class="white">{embedded(tree, name, f"The bed {record.bed}")}</div>'


def seats(record: RunRecord) -> tuple[Seats, ...]:
    """Of each host whose CPUs are known, the nodes on them; guests only."""
    found = []
    for host in record.hosts:
        on = []
        for node in record.nodes:
            state = pinned(node)
            if node.name in host.nodes and node.where == "vm" and state is not None:
                cpus = frozenset(cpu for may in node.vcpus.values() for cpu in may)
                on.append(Seat(node.name, cpus, state, host.remote_memory.get(node.name, 0.0)))
        count = max(host.cpus, *(cpu + 1 for seat in on for cpu in seat.cpus), 0) if on else 0
        if 0 < count <= _MOST_CPUS:
            found.append(Seats(f"Nodes on the {count} CPUs of {host.name}", count, on, _cells(host, on)))
    return tuple(found)


def _cells(host: RunHost, on: Sequence[Seat]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """None where a single one says nothing, or a node is on a CPU of which no cell is known."""
    known = {cpu for cpus in host.cells.values() for cpu in cpus}
    if len(host.cells) < 2 or any(seat.cpus - known for seat in on):  # noqa: PLR2004
        return ()
    return tuple((cell, tuple(sorted(cpus))) for cell, cpus in host.cells.items() if cpus)


def _made(kind: Any, value: Any) -> Any:
    """A value of this type from what JSON made of it. What the type has and the value lacks is left to its default."""
    if value is None:
        return None
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _made(next(one for one in arguments if one is not types.NoneType), value)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
        given = {name: _made(hints[name], value[name]) for name in hints if name in value or name in needed}
        return kind(**given)
    if origin is tuple:
        return tuple(_made(arguments[0], one) for one in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _made(arguments[1], one) for key, one in value.items()}
    return kind(value) if kind in (Bytes, IPv4Address, IPv4Network) else value
