"""One cell of a host as a table: its cores with who runs on them, its memory, and its devices with who holds them.

The fills are a lighter shade of Paul Tol's scheme "light" (personal.sron.nl/~pault), which colour-blind people can tell
apart and on which dark text can be read; names say the same as every colour.
"""

import copy
import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeVar

from lxml.etree import _Element as Element

from vmlab.inventory.model import Cell, Cpu, PciFunction
from vmlab.report.graphviz import INK, element, table, words
from vmlab.report.occupancy import Occupancy, VirtualFunction
from vmlab.values.cpuset import cpu_list
from vmlab.values.pci import PciAddress

T = TypeVar("T")

FILLS = ("#a0c4e7", "#f3e7ac", "#7ccfb8", "#ffc4cf", "#cfdb70", "#b8e7ff", "#f3ac94", "#dbcff3")
OTHERS = "#d5d8dc"
SEVERAL = "#f3efe4"
MUTED = "#556070"
LINE = "#98a2b3"
RED = "#c01515"

_CPU_WIDTH = 66
_LETTERS = 11  # of a name in a box
_LINE_LETTERS = 34  # of a remark on a device
_SPREAD = 4  # virtual functions in a row
_KIB_OF = {"TiB": 1 << 30, "GiB": 1 << 20, "MiB": 1 << 10}


def chunks(things: Sequence[T], size: int) -> list[Sequence[T]]:
    """Rows of at most `size`, as equal as they can be."""
    rows = -(-len(things) // size) or 1
    width = -(-len(things) // rows) or 1
    return [things[start : start + width] for start in range(0, len(things), width)]


def memory(kib: int) -> str:
    """`47.1 GiB`: as people compare it, not to the last byte."""
    unit, factor = next(((u, f) for u, f in _KIB_OF.items() if kib >= f), ("KiB", 1))
    return f"{kib / factor:.1f}".removesuffix(".0") + f" {unit}"


def page(kib: int) -> str:
    """`2 MiB pages`."""
    return f"{memory(kib)} pages"


def short(name: str) -> str:
    """A name that fits: its beginning and its end, where the numbers are."""
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 5]}\u2026{name[-4:]}"


def address(on: Occupancy, function: PciAddress) -> str:
    """As lspci writes it: without the domain where all are 0000."""
    text = str(function)
    return text if any(known.domain for known in on.host.functions) else text.removeprefix("0000:")


def fill(on: Occupancy, number: int) -> str:
    """The colour of a guest."""
    return FILLS[number % len(FILLS)] if on.guests[number].ours else OTHERS


def cores(cpus: Iterable[Cpu]) -> list[list[Cpu]]:
    """The threads of each core that are among `cpus`, in the order of their first CPUs."""
    found: dict[frozenset[int], list[Cpu]] = {}
    for cpu in sorted(cpus, key=lambda cpu: cpu.id):
        found.setdefault(cpu.siblings, []).append(cpu)
    return list(found.values())


def panel(*rows: Iterable[Element], **attributes: object) -> Element:
    """A box with round corners that stands on its own."""
    look = {"border": 1, "style": "rounded", "color": LINE, "bgcolor": "#fcfcfd", "cellspacing": 3, "cellpadding": 2}
    return table(*rows, **{**look, **attributes})


def cell_table(on: Occupancy, cell: Cell, devices: Element | None, tallest: Element | None, width: int) -> Element:
    """`devices` are its cards, `tallest` those of a neighbour if higher; `width` cores stand side by side."""
    about = [f"{len(cores(cell.cpus))} cores, CPUs {cpu_list(cpu.id for cpu in cell.cpus)}" if cell.cpus else "no CPUs"]
    if others := [f"{other}: {far}" for other, far in sorted(cell.distances.items()) if other != cell.id]:
        about.append("distance to " + ", ".join(others))
    own = {cpu.socket for cpu in cell.cpus}
    name = f"cell {cell.id}" + (f", socket {own.pop()}" if len(own) == 1 else "")
    heading = [words(name, 12, style="B"), *(words(f"   {text}", 8, MUTED) for text in about[:1])]
    rows = [[element("TD", *heading, align="left", port="cell")]]
    rows += [[element("TD", words(text, 8, MUTED), align="left")] for text in about[1:]]
    rows += [[element("TD", part, align="left")] for part in _memory(on, cell, width)]
    sockets = [(number, list(cpus)) for number, cpus in groupby(sorted(cell.cpus, key=_socket), key=_socket)]
    for socket, cpus in sockets:
        if sockets[1:]:
            rows.append([element("TD", words(f"socket {socket}", 9, MUTED), align="left")])
        boxes = [[_core(on, core) for core in row] for row in chunks(cores(cpus), width)]
        rows.append([element("TD", table(*boxes, cellspacing=2), align="left")])
    parts = [
        element("TD", part, align="left")
        for part in (devices, None if tallest is None else _hidden(tallest))
        if part is not None
    ]
    if parts:
        rows.append([element("TD", table(parts), align="left")])
    return panel(*rows)


def cards(on: Occupancy, functions: Sequence[tuple[str, PciFunction]], width: int) -> Element | None:
    """The functions, `width` of them side by side. The name that comes with each is that of its port."""
    rows = [[card(on, port, function) for port, function in row] for row in chunks(functions, width)]
    return table(*rows, cellspacing=3) if functions else None


def height(content: Element) -> float:
    """About how high it is: enough to compare two that are built alike."""
    if content.tag == "TABLE":
        return sum(max(height(cell) for cell in row) for row in content)
    inner = [height(part) for part in content if part.tag == "TABLE"]
    return sum(inner) if inner else 1 + sum(1 for _ in content.iter("BR"))


def _hidden(content: Element) -> Element:
    """As high, but narrow and not to be seen. Graphviz centres what is in one row: cells are to be equally high."""
    made = copy.deepcopy(content)
    for row in made.iter("TR"):
        keep = max(row, key=height)
        row[:] = [keep]
    for part in made.iter():
        for name in ("BGCOLOR", "PORT", "WIDTH"):
            part.attrib.pop(name, "")
        if "BORDER" in part.attrib:
            part.set("COLOR", "transparent")
        if part.text:
            part.text = " "
    return made


def _socket(cpu: Cpu) -> int:
    return cpu.socket


def _core(on: Occupancy, threads: Sequence[Cpu]) -> Element:
    rows = [[_thread(on, cpu.id)] for cpu in threads]
    return element("TD", table(*rows, border=1, color=LINE, cellspacing=1))


def _thread(on: Occupancy, cpu: int) -> Element:
    """A CPU: its number, and the guest whose vCPU it runs."""
    numbers = on.on_cpu.get(cpu, ())
    look: dict[str, object] = {"width": _CPU_WIDTH, "border": 1, "color": "#e4e7ec", "cellpadding": 2}
    if len(numbers) == 1:
        guest = on.guests[numbers[0]]
        vcpus = f" v{cpu_list(guest.vcpus[cpu])}" if guest.vcpus[cpu] else ""
        said = [words(short(guest.name), 9, style="B"), words(vcpus, 8)]
        look |= {"bgcolor": fill(on, numbers[0])}
    elif numbers:
        said = [words(f"{len(numbers)} guests", 9)]
        look |= {"bgcolor": SEVERAL}
    elif any(cpu in guest.emulator for guest in on.guests):
        said = [words("emulator", 8)]
        look |= {"style": "dashed", "color": MUTED}
    else:
        said = [words(" ", 9)]
    return element("TD", words(str(cpu), 8, INK if numbers else MUTED), element("BR"), *said, **look)


def _memory(on: Occupancy, cell: Cell, width: int) -> list[Element]:
    """In words, and as a bar of the guests' shares."""
    if not cell.memory_kib:
        return [words("no memory", 9)]
    shares = [(number, guest.memory_kib.get(cell.id, 0)) for number, guest in enumerate(on.guests)]
    text = [f"{memory(cell.memory_kib)} memory"]
    if taken := sum(kib for _, kib in shares):
        text.append(f"{memory(taken)} for guests")
    if cell.available_kib is not None:
        text.append(f"{memory(cell.available_kib)} available now")
    parts = [words(", ".join(text), 9)]
    for pool in (pool for _, pool in sorted(cell.huge.items()) if pool.total):
        free = "" if pool.free is None else f", {pool.free} free now"
        parts.append(words(f"{page(pool.size_kib)}: {pool.total}{free}", 9))
    long = width * (_CPU_WIDTH + 8)
    bar = []
    left = long
    for number, kib in shares:
        points = min(left, round(kib / cell.memory_kib * long))
        if points > 1:
            left -= points
            bar.append(_segment(points, fill(on, number)))
    if left > 1:
        bar.append(_segment(left, "#ffffff"))
    return [*parts, table(bar, border=1, color=LINE)]


def _segment(points: int, colour: str) -> Element:
    return element("TD", words(" ", 5), width=points, bgcolor=colour, border=1, color="#ffffff")


def card(on: Occupancy, port: str, function: PciFunction) -> Element:
    """A function with its virtual ones, and why it cannot be given away."""
    name = function.product_name.rpartition("[")[2].removesuffix("]") or f"{function.vendor:04x}:{function.product:04x}"
    heading = [words(address(on, function.address), 9, style="B"), words(f"  {name[:_LINE_LETTERS]}", 9), _end()]
    group = "" if function.iommu_group is None else f", IOMMU group {function.iommu_group}"
    small = [(function.driver or "no driver") + group]
    for at in function.ports:
        layer = "InfiniBand" if at.link_layer == "infiniband" else "Ethernet"
        small.append(" ".join(filter(None, (f"port {at.number}: {layer}", at.interface or at.rdma, at.state))))
    virtual = on.virtual_functions(function)
    holders = on.holders.get(function.address, ())
    if function.total_vfs or virtual:
        small.append(f"{len(virtual) or 'no'} VFs of at most {max(function.total_vfs, len(virtual))}")
    if not (holders or virtual or function.used_by or function.broken):
        small.append("free")
    reasons = [("the host: ", function.used_by), ("broken: ", function.broken)]
    taken = [line for why, text in reasons if text for line in textwrap.wrap(why + text, _LINE_LETTERS)]
    rows = [[_text(*heading, *_lines(small, INK if taken else MUTED), *_lines(taken, INK))]]
    if holders:
        rows.append([element("TD", table([_chip(on, function.address, "", holders)], cellspacing=2), align="left")])
    if virtual:
        chips = [_virtual(on, run) for run in _runs(on, virtual)]
        rows.append([element("TD", table(*chunks(chips, _SPREAD), cellspacing=2), align="left")])
    look = table(*rows, border=1, color=LINE, bgcolor=OTHERS if taken else "#ffffff", cellpadding=2)
    return element("TD", look, port=port, align="left", valign="top")


def _text(*content: Element, **look: object) -> Element:
    return element("TD", *content, align="left", valign="top", balign="left", **look)


def _end() -> Element:
    return element("BR", align="left")


def _lines(lines: Iterable[str], colour: str) -> list[Element]:
    # The blank makes the line higher: an underscore would touch the next one.
    return [part for line in lines for part in (words(line, 8, colour), words(" ", 10), _end())]


def _runs(on: Occupancy, virtual: Iterable[VirtualFunction]) -> list[list[VirtualFunction]]:
    """Those that nobody has, of the same kind, together; the others one by one."""

    def alike(function: VirtualFunction) -> tuple[bool, int]:
        held = function.address is not None and function.address in on.holders
        return function.planned, function.number if held else -1

    return [list(run) for _, run in groupby(virtual, key=alike)]


def _virtual(on: Occupancy, run: Sequence[VirtualFunction]) -> Element:
    first = run[0]
    name = f"VF {cpu_list(function.number for function in run)}"
    holders = on.holders.get(first.address, ()) if first.address is not None else ()
    return _chip(on, first.address, name, holders, planned=first.planned)


def _chip(
    on: Occupancy, function: PciAddress | None, name: str, holders: Sequence[int], *, planned: bool = False
) -> Element:
    """Who has a function: red if that is remote, dashed if `up` has to make it, in italics if its owner is off."""
    guests = [on.guests[number] for number in holders]
    look: dict[str, object] = {"border": 1, "color": LINE, "bgcolor": "#ffffff", "cellpadding": 2}
    if planned:
        look |= {"style": "dashed", "color": MUTED}
    said = [words("free", 8, MUTED)]
    if guests:
        more = f" +{len(guests) - 1}" if guests[1:] else ""
        said = [words(short(guests[0].name) + more, 9, style="B" if guests[0].running else "I")]
        look["bgcolor"] = fill(on, holders[0])
    if any(function in guest.remote for guest in guests):
        look |= {"color": RED, "border": 2, "style": "solid", "bgcolor": "#ffffff"}
        said = [words(short(guests[0].name), 9, RED, style="B"), element("BR"), words("remote", 8, RED)]
    above = [words(name, 8, INK), element("BR")] if name else []
    return element("TD", *above, *said, **look)
