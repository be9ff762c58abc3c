"""Hosts as a picture: sockets, cells and cores with the guests on them, HCAs and who holds their functions.

A cell is one node of the graph (see `hostcell`); the rest of the graph says which cells stand in one row, and points
from each remote function to the cell of its guest.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from lxml.etree import _Element as Element

from vmlab.inventory.model import HostInventory, PciFunction
from vmlab.placement.request import Placement
from vmlab.report.graphviz import FONT, INK, element, label, quoted, table, words, write
from vmlab.report.hostcell import (
    FILLS,
    LINE,
    MUTED,
    OTHERS,
    RED,
    SEVERAL,
    address,
    cards,
    cell_table,
    chunks,
    cores,
    fill,
    height,
    memory,
    page,
    panel,
    short,
)
from vmlab.report.occupancy import Guest, Occupancy, occupancy
from vmlab.values.cpuset import cpu_list

if TYPE_CHECKING:
    from vmlab.values.pci import PciAddress

_CELLS_IN_ROW = 4
_CORES_IN_ROW = 8
_CORES_IN_NARROW_CELL = 4  # where more than two cells stand side by side
_GUESTS_IN_COLUMN = 6
_REST_IN_ROW = 4
_SIGNS_IN_ROW = 3


def draw(hosts: Mapping[str, HostInventory], placement: Placement | None, to: Path, *, bed: str = "") -> None:
    """Write the picture to `to` in the form that its suffix names: .svg, .png or .dot.

    Without a placement all domains are drawn that there are; with one, those that are not of `bed` stand back.
    Raises UsageError for another suffix, and HostError if Graphviz is not installed or fails.
    """
    write(to, dot(hosts, placement, bed=bed), hint="--picture hosts.svg, .png or .dot")


def dot(hosts: Mapping[str, HostInventory], placement: Placement | None, *, bed: str = "") -> str:
    """The hosts in Graphviz's language, one below the other."""
    drawings = [_Host(f"h{number}", occupancy(host, placement, bed)) for number, host in enumerate(hosts.values())]
    lines = [
        "graph hosts {",
        f"  graph [fontname={quoted(FONT)}, fontcolor={quoted(INK)}, rankdir=TB, newrank=true,",
        '         nodesep=0.25, ranksep=0.25, pad=0.2, bgcolor="white"]',
        f"  node [shape=plain, fontname={quoted(FONT)}, fontsize=9, fontcolor={quoted(INK)}]",
        f'  edge [fontname={quoted(FONT)}, fontsize=10, fontcolor="{RED}", color="{RED}", penwidth=1.6]',
    ]
    rows: list[Sequence[str]] = []
    for drawing in drawings:
        lines += drawing.cluster()
        rows += drawing.rows()
    lines.append(f"  legend [label={label(_legend(drawings, () if placement is None else placement.notes))}]")
    rows.append(["legend"])
    for row in rows:
        chain = " -- ".join(row) + (" [style=invis]" if row[1:] else "")
        lines.append(f"  {{ rank=same; {chain} }}")
    for above, below in pairwise(rows):
        lines += [f"  {one} -- {other} [style=invis, weight=10]" for one, other in zip(above, below, strict=False)]
    for drawing in drawings:
        lines += drawing.edges()
    return "\n".join([*lines, "}", ""])


@dataclass(frozen=True, slots=True)
class _Host:
    """One host. `id` begins the names of all its nodes of the graph."""

    id: str
    on: Occupancy

    def cluster(self) -> Iterator[str]:
        """The host's box, with one for each socket that has cells of its own."""
        host = self.on.host
        threads = [cpu for cell in host.cells for cpu in cell.cpus]
        counts = {
            "socket": len({cpu.socket for cpu in threads}),
            "cell": len(host.cells),
            "core": len(cores(threads)),
            "CPU": len(threads),
        }
        about = [host.arch, *(f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items())]
        about.append(memory(sum(cell.memory_kib for cell in host.cells)))
        rows = [[element("TD", words(host.name, 15, style="B"), words(f"   {', '.join(about)}", 10), align="left")]]
        if host.no_iommu is not None:
            rows.append([element("TD", words(f"no functions for guests: {host.no_iommu}", 10), align="left")])
        yield f"  subgraph cluster_{self.id} {{"
        yield f"    graph [label={label(table(*rows))},"
        yield f'           labeljust=l, style="rounded", color="{LINE}", penwidth=1.5, margin=12]'
        width = _CORES_IN_ROW if self._breadth() <= 2 else _CORES_IN_NARROW_CELL  # noqa: PLR2004
        devices = self._devices(max(1, width // 3))
        for socket, numbers in self._sockets():
            if socket is not None:
                yield f"    subgraph cluster_{self.id}s{socket} {{"
                yield f'      graph [label="socket {socket}", fontsize=10, style="rounded,filled", color="#d0d5dd",'
                yield '             fillcolor="#f4f5f7", penwidth=1, margin=8, labeljust=l]'
            for number in numbers:
                cell = next(cell for cell in host.cells if cell.id == number)
                row = next(row for row in self.rows() if self._node(number) in row)
                beside = [found for other, found in devices.items() if other is not None and self._node(other) in row]
                tallest = max(beside, key=height, default=None)
                own = devices.get(number)
                if tallest is not None and own is not None and height(own) >= height(tallest):
                    tallest = None
                drawn = cell_table(self.on, cell, own, tallest, width)
                yield f"      {self._node(number)} [label={label(drawn)}]"
            if socket is not None:
                yield "    }"
        if None in devices:
            heading = [element("TD", words("in no cell that the host tells", 10, style="B"), align="left")]
            drawn = panel(heading, [element("TD", devices[None], align="left")])
            yield f"    {self.id}rest [label={label(drawn)}]"
        if self.on.guests:
            yield f"    {self.id}guests [label={label(self._guests())}]"
        yield "  }"

    def rows(self) -> list[Sequence[str]]:
        """The nodes that stand side by side, from the top."""
        sockets = [[self._node(number) for number in numbers] for _, numbers in self._sockets()]
        rows = [row for nodes in sockets for row in chunks(nodes, _CELLS_IN_ROW)]
        rows += [[f"{self.id}rest"]] if None in self._functions() else []
        rows += [[f"{self.id}guests"]] if self.on.guests else []
        return rows

    def edges(self) -> Iterator[str]:
        """Between each remote function and where its guest runs, always from left to right.

        Graphviz puts the end of an edge to the right of its beginning, and would draw arrowheads at the wrong end.
        """
        places = [node for row in self.rows() for node in row]
        drawn: dict[PciAddress, tuple[str, str]] = {}
        for cell, functions in self._functions().items():
            for port, function in functions:
                known = (function.address, *(vf.address for vf in self.on.virtual_functions(function)))
                drawn |= {each: (self._node(cell), port) for each in known if each is not None and cell is not None}
        for guest in self.on.guests:
            home = guest.home(self.on.host)
            for remote in sorted(guest.remote & drawn.keys()) if home is not None else ():
                node, port = drawn[remote]
                ends = [f"{node}:{port}", f"{self._node(home)}:cell"]
                if places.index(node) > places.index(self._node(home)):
                    ends.reverse()
                yield f"  {' -- '.join(ends)} [constraint=false, label={quoted(f' {short(guest.name)} ')}]"

    def _node(self, cell: int | None) -> str:
        return f"{self.id}rest" if cell is None else f"{self.id}c{cell}"

    def _breadth(self) -> int:
        return max(len(row) for row in self.rows())

    def _devices(self, width: int) -> dict[int | None, Element]:
        """The cards of each cell that has some."""
        found = {}
        for cell, functions in self._functions().items():
            drawn = cards(self.on, functions, _REST_IN_ROW if cell is None else width)
            if drawn is not None:
                found[cell] = drawn
        return found

    def _sockets(self) -> list[tuple[int | None, list[int]]]:
        """The cells by socket; None for those that are a socket on their own, or have CPUs of several or of none."""
        whose = [{cpu.socket for cpu in cell.cpus} for cell in self.on.host.cells]
        sockets: dict[tuple[bool, int | None], list[int]] = {}
        for cell, own in zip(self.on.host.cells, whose, strict=True):
            socket = next(iter(own)) if len(own) == 1 and whose.count(own) > 1 else None
            sockets.setdefault((socket is None, socket), []).append(cell.id)
        return [(socket, numbers) for (_, socket), numbers in sockets.items()]

    def _functions(self) -> dict[int | None, list[tuple[str, PciFunction]]]:
        """By cell, with the names of their ports; a single cell has those too that the firmware tells no cell of."""
        cells = [cell.id for cell in self.on.host.cells]
        found: dict[int | None, list[tuple[str, PciFunction]]] = {}
        for number, function in enumerate(self.on.functions()):
            cell = cells[0] if len(cells) == 1 else function.cell if function.cell in cells else None
            found.setdefault(cell, []).append((f"f{number}", function))
        return found

    def _guests(self) -> Element:
        """What each guest has, in full."""
        heads = ("", "guest", "vCPUs on", "emulator on", "memory", "functions")
        side = 2 if self._breadth() <= 2 else 3  # noqa: PLR2004
        columns = []
        long = max(_GUESTS_IN_COLUMN, -(-len(self.on.guests) // side))
        numbers = range(len(self.on.guests))
        for column in (numbers[start : start + long] for start in range(0, len(numbers), long)):
            rows = [[element("TD", words(head, 8, MUTED), align="left") for head in heads]]
            for number in column:
                swatch = element("TD", words(" ", 9), bgcolor=fill(self.on, number), border=1, color=LINE, width=16)
                said = self._about(self.on.guests[number])
                rows.append([swatch, *(element("TD", words(text, 9), align="left") for text in said)])
            blank = [element("TD", words(" ", 9), border=1, color="transparent")]
            rows += [copy.deepcopy(blank) for _ in range(min(long, len(numbers)) - len(column))]
            columns.append(element("TD", panel(*rows), valign="top"))
        return table(columns, cellspacing=3)

    def _about(self, guest: Guest) -> tuple[str, ...]:
        """Its line of the table: a cell of a table of Graphviz must not be empty."""
        amounts = [memory(kib) + ("" if cell is None else f" in cell {cell}") for cell, kib in guest.memory_kib.items()]
        functions = [
            f"{fabric} {address(self.on, function)}{' (remote)' * (function in guest.remote)}".lstrip()
            for function, fabric in guest.devices.items()
        ]
        said = (
            guest.domain + ("" if guest.running else " (off)"),
            cpu_list(guest.vcpus) or ("any CPU" if guest.running else ""),
            cpu_list(guest.emulator),
            " + ".join(amounts) + "".join(f", {page(size)}" for size in guest.page_kib),
            ", ".join(functions),
        )
        return tuple(text or "-" for text in said)


def _legend(drawings: Sequence[_Host], notes: Sequence[str]) -> Element:
    """What the signs mean that are in the picture, and the remarks of the placement."""
    guests = [guest for drawing in drawings for guest in drawing.on.guests]
    shared = any(numbers[1:] for drawing in drawings for numbers in drawing.on.on_cpu.values())
    used = any(f.used_by or f.broken for drawing in drawings for f in drawing.on.functions())
    said: list[tuple[bool, dict[str, object], str]] = [
        (any(g.ours for g in guests), {"bgcolor": FILLS[0]}, "CPU with a guest's vCPU (v0 is its first); its memory"),
        (used or any(not g.ours for g in guests), {"bgcolor": OTHERS}, "taken by others, or by the host"),
        (shared, {"bgcolor": SEVERAL}, "CPU that several guests may run on"),
        (any(g.emulator for g in guests), {"style": "dashed", "color": MUTED}, "CPU for QEMU's own threads"),
        (any(g.planned for g in guests), {"style": "dashed"}, "virtual function that `up` makes"),
        (any(g.remote for g in guests), {"color": RED, "border": 2}, "function in another cell than its guest"),
    ]
    items = []
    for shown, look, text in said:
        if shown:
            swatch = element("TD", words(" ", 9), **{"border": 1, "color": LINE, "width": 16, **look})
            items.append([swatch, element("TD", words(f"{text}   ", 9), align="left")])
    if not all(guest.running for guest in guests):
        sample = element("TD", words("name", 9, style="I"))
        items.append([sample, element("TD", words("defined, but not running", 9), align="left")])
    rows = [[part for item in row for part in item] for row in chunks(items, _SIGNS_IN_ROW)] if items else []
    parts = [table(*rows, cellspacing=4)] if rows else []
    parts += [words(note, 9) for note in notes]
    return table(*([element("TD", part, align="left")] for part in parts or [words(" ", 9)]))
