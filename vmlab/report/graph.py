"""A bed as a picture: what hangs on which fabric, and who serves which disk. Graphviz or Mermaid does the layout.

Clients are at the top, servers at the bottom and their disks below them; in between alternate fabrics and routers. The
output tells nodes apart by number: no name of a file is ever part of the picture's language.
"""

import html
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vmlab.report.graphviz import FONT, INK, clean, quoted, write
from vmlab.runtime.files import write_atomically
from vmlab.topology import External, Fabric, Node, TargetSpec, Topology
from vmlab.values.nodeset import fold

_DRAWN_SINGLY = 8
_LISTED = 4
_SERVERS = {"mgs", "mds", "oss"}
_KINDS = {"infiniband": "InfiniBand", "ethernet": "Ethernet"}
_KIND_COLOURS = {"infiniband": ("#4c3fb1", "#e9e6fb"), "ethernet": ("#1d7a4c", "#dff3e7")}
_ROLE_COLOURS = {
    "mgs": ("#a15c07", "#fdf0d9"),
    "mds": ("#a15c07", "#fdf0d9"),
    "oss": ("#1b62a5", "#e1eefa"),
    "router": ("#7a3e8e", "#f5e6f9"),
}
_OTHER_COLOURS = ("#475467", "#f2f4f7")
_TIMES = "\u00d7"
_UPPER = {"mgs", "mds", "oss", "fta"}
_DISK = ("#667085", "#ffffff")


@dataclass(frozen=True, slots=True)
class Box:
    """One node, or a stack of equal ones."""

    names: tuple[str, ...]
    node: Node | External
    level: int

    @property
    def external(self) -> bool:
        """It is no guest."""
        return isinstance(self.node, External)

    @property
    def lines(self) -> tuple[str, ...]:
        """Its name, its roles if its cluster cannot say them in a word, its size, and where it has several ports."""
        roles = _roles(self.node) if self.node.roles[1:] else ""
        size = "external" if isinstance(self.node, External) else f"{self.node.cpus} vCPU, {self.node.memory}"
        ports = [f"{count} {_TIMES} {fabric}" for fabric, count in self.node.fabrics.items() if count > 1]
        if len(self.names) == 1:
            return self.names[0], roles, size, *ports
        return fold(self.names), roles, f"{len(self.names)} {_TIMES} ({size})", *ports


@dataclass(frozen=True, slots=True)
class Disks:
    """Targets with the same servers, and the numbers of those servers' boxes, primary first."""

    targets: tuple[TargetSpec, ...]
    boxes: tuple[int, ...]
    named: bool

    @property
    def lines(self) -> tuple[str, str]:
        """Labels and size; the file system's name only where there are several."""
        first = self.targets[0]
        name = first.label if self.named else first.label.removeprefix(f"{first.fsname}-")
        indices = [target.index for target in self.targets]
        if indices == list(range(indices[0], indices[0] + len(indices))):
            name += f"-{indices[-1]:04x}" if indices[1:] else ""
        else:
            name += "".join(f", {index:04x}" for index in indices[1:_LISTED]) + (", ..." if indices[_LISTED:] else "")
        sizes = {str(target.size) if target.size else target.device or "in memory" for target in self.targets}
        size = sizes.pop() if len(sizes) == 1 else "various"
        return name, size if not indices[1:] else f"{len(self.targets)} {_TIMES} {size}"


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn, whatever draws it. Levels count upwards from the servers; fabrics have odd ones."""

    boxes: tuple[Box, ...]
    fabrics: tuple[tuple[Fabric, int], ...]
    disks: tuple[Disks, ...]

    def clusters(self) -> Iterator[tuple[str, list[int]]]:
        """The boxes of one role and level, HA partners side by side."""
        groups: dict[tuple[tuple[str, ...], int], list[int]] = defaultdict(list)
        for number in self._by_partner():
            box = self.boxes[number]
            groups[box.node.roles, box.level].append(number)
        for (roles, _), numbers in groups.items():
            yield "" if roles[1:] else _roles(self.boxes[numbers[0]].node), numbers

    def rows(self) -> Iterator[tuple[list[str], bool]]:
        """What stands on one line, and whether in this order: servers, and their disks below the primaries.

        Above them only equals keep their order; Graphviz shall put the others where lines do not cross.
        """
        order = [number for _, members in self.clusters() for number in members]
        rows: dict[tuple[object, ...], list[str]] = defaultdict(list)
        for number in order:
            box = self.boxes[number]
            rows[box.level, False].append(f"n{number}")
            rows[box.level, box.level == 0 or tuple(box.node.fabrics), True].append(f"n{number}")
        for number, (_, level) in enumerate(self.fabrics):
            rows[level, False].append(f"f{number}")
        places = {number: place for place, number in enumerate(order)}
        for number in sorted(range(len(self.disks)), key=lambda disk: places[self.disks[disk].boxes[0]]):
            rows["disks", True].append(f"d{number}")
        return ((row, bool(key[-1])) for key, row in rows.items())

    def links(self) -> Iterator[tuple[int, int, bool]]:
        """Fabric, box, and whether the box is above the fabric."""
        for number, (fabric, level) in enumerate(self.fabrics):
            for other, box in enumerate(self.boxes):
                if fabric.name in box.node.fabrics:
                    yield number, other, box.level > level

    def _by_partner(self) -> list[int]:
        order = dict.fromkeys(number for disks in self.disks for number in sorted(disks.boxes))
        return list(order | dict.fromkeys(range(len(self.boxes))))


def picture(topology: Topology) -> Picture:
    """Decide what is drawn: many equal nodes become a stack, targets of the same servers one disk."""
    levels = _levels(topology)
    stacks: dict[object, list[str]] = defaultdict(list)
    for name, node in _all(topology).items():
        size = () if isinstance(node, External) else (node.cpus, node.memory)
        shape = (node.roles, size, tuple(node.fabrics.items()), levels[name])
        stacks[shape].append(name)
    boxes: list[Box] = []
    for names in stacks.values():
        groups = [tuple(names)] if len(names) > _DRAWN_SINGLY else [(name,) for name in names]
        boxes.extend(Box(group, _all(topology)[group[0]], levels[group[0]]) for group in groups)
    drawn = {name: number for number, box in enumerate(boxes) for name in box.names}
    disks: dict[tuple[str, str, tuple[int, ...]], list[TargetSpec]] = defaultdict(list)
    for target in topology.targets:
        servers = tuple(dict.fromkeys(drawn[server] for server in target.servers))
        disks[target.fsname, target.kind, servers].append(target)
    named = len(topology.filesystems) > 1
    return Picture(
        boxes=tuple(boxes),
        fabrics=tuple((fabric, levels[fabric]) for fabric in topology.fabrics.values()),
        disks=tuple(Disks(tuple(targets), servers, named) for (_, _, servers), targets in disks.items()),
    )


def _levels(topology: Topology) -> dict[object, int]:
    """How far each node and fabric is from the servers (from all nodes, if there are none)."""
    servers = [name for name, node in topology.nodes.items() if not _SERVERS.isdisjoint(node.roles)]
    levels: dict[object, int] = dict.fromkeys(servers or _all(topology), 0)
    level = 0
    left = list(topology.fabrics.values())
    while near := [fabric for fabric in left if any(levels.get(name) == level for name in _members(topology, fabric))]:
        for fabric in near:
            left.remove(fabric)
            levels[fabric] = level + 1
            for name in _members(topology, fabric):
                levels.setdefault(name, level + 2)
        level += 2
    return {**dict.fromkeys(_all(topology), 0), **dict.fromkeys(topology.fabrics.values(), 1), **levels}


def _members(topology: Topology, fabric: Fabric) -> Iterator[str]:
    return (name for name, node in _all(topology).items() if fabric.name in node.fabrics)


def _all(topology: Topology) -> dict[str, Node | External]:
    return {**topology.nodes, **topology.externals}


def _fabric_lines(fabric: Fabric) -> tuple[str, str]:
    attach = "" if fabric.attach == "auto" else fabric.attach
    return fabric.name, ", ".join(filter(None, (_KINDS[fabric.kind], fabric.lnet, attach)))


def _roles(node: Node | External) -> str:
    return ", ".join(role.upper() if role in _UPPER else role for role in node.roles)


def _colours(node: Node | External) -> tuple[str, str]:
    return next((_ROLE_COLOURS[role] for role in node.roles if role in _ROLE_COLOURS), _OTHER_COLOURS)


def dot(topology: Topology) -> str:
    """The bed in Graphviz's language."""
    bed = picture(topology)
    partners = any(disks.boxes[1:] for disks in bed.disks)
    title = _html((topology.name, topology.description), 18, 11)
    legend = '<BR/><FONT POINT-SIZE="10">solid: primary server, dashed: failover partner</FONT>' if partners else ""
    lines = [
        "graph bed {",
        f"  graph [fontname={quoted(FONT)}, fontcolor={quoted(INK)}, labelloc=t, label=<{title}{legend}<BR/> >,",
        "         rankdir=TB, newrank=true, remincross=false, splines=line,",
        '         nodesep=0.4, ranksep=0.65, pad=0.3, bgcolor="white"]',
        f"  node [fontname={quoted(FONT)}, fontsize=12, fontcolor={quoted(INK)}, penwidth=1.2]",
        f"  edge [fontname={quoted(FONT)}, fontsize=10, fontcolor={quoted(INK)}, penwidth=1.4]",
    ]
    for number, (label, members) in enumerate(bed.clusters()):
        colour, fill = _colours(bed.boxes[members[0]].node)
        # Edges come from the middle above: the outer corner is free for the label.
        side = "r" if number and bed.boxes[members[0]].level == 0 else "l"
        lines += [
            f"  subgraph cluster_{number} {{",
            f'    graph [label={quoted(label)}, fontsize=11, fontcolor="{colour}", color="#d0d5dd",',
            f'           fillcolor="#fafbfc", style="rounded,filled", penwidth=0.8, margin=14, labeljust={side}]',
        ]
        for member in members:
            stack = ", peripheries=2" if len(bed.boxes[member].names) > 1 else ""
            style = "rounded,filled,dashed" if bed.boxes[member].external else "rounded,filled"
            lines.append(
                f'    n{member} [shape=box, style="{style}", margin="0.16,0.1", color="{colour}", '
                f'fillcolor="{fill}", label=<{_html(bed.boxes[member].lines)}>{stack}]'
            )
        lines.append("  }")
    for number, (fabric, _) in enumerate(bed.fabrics):
        colour, fill = _KIND_COLOURS[fabric.kind]
        lines.append(
            f'  f{number} [shape=ellipse, style=filled, color="{colour}", fillcolor="{fill}", '
            f"label=<{_html(_fabric_lines(fabric))}>]"
        )
    for number, box, above in bed.links():
        ends = f"n{box}:s -- f{number}" if above else f"f{number} -- n{box}:n"
        lines.append(f'  {ends} [color="{_KIND_COLOURS[bed.fabrics[number][0].kind][0]}"]')
    for number, disks in enumerate(bed.disks):
        lines.append(
            f'  d{number} [shape=cylinder, style=filled, color="{_DISK[0]}", fillcolor="{_DISK[1]}", '
            f'margin="0.12,0.06", label=<{_html(disks.lines, 11, 9)}>]'
        )
        for place, box in enumerate(disks.boxes):
            lines.append(f'  n{box}:s -- d{number}:n [color="{_DISK[0]}", style={"dashed" if place else "solid"}]')
    for row, ordered in bed.rows():
        chain = " -- ".join(row) + " [style=invis]" if ordered and row[1:] else "; ".join(row)
        lines.append(f"  {{ rank=same; {chain} }}")
    return "\n".join([*lines, "}", ""])


def mermaid(topology: Topology) -> str:
    """The bed in Mermaid's language, as GitHub and GitLab draw it."""
    bed = picture(topology)
    lines = ["---", f"title: {json.dumps(topology.name)}", "---", "flowchart TB"]
    styles: dict[tuple[str, str], list[str]] = defaultdict(list)
    for number, (label, members) in enumerate(bed.clusters()):
        lines.append(f"  subgraph c{number} [{_mermaid(label or ' ')}]")
        for member in members:
            styles[_colours(bed.boxes[member].node)].append(f"n{member}")
            lines.append(f"    n{member}[{_mermaid(*bed.boxes[member].lines)}]")
        lines.append("  end")
    for number, (fabric, _) in enumerate(bed.fabrics):
        styles[_KIND_COLOURS[fabric.kind]].append(f"f{number}")
        lines.append(f"  f{number}([{_mermaid(*_fabric_lines(fabric))}])")
    for number, box, above in bed.links():
        lines.append(f"  n{box} --- f{number}" if above else f"  f{number} --- n{box}")
    for number, disks in enumerate(bed.disks):
        styles[_DISK].append(f"d{number}")
        lines.append(f"  d{number}[({_mermaid(*disks.lines)})]")
        lines.extend(f"  n{box} {'-.-' if place else '---'} d{number}" for place, box in enumerate(disks.boxes))
    if machines := [f"n{number}" for number, box in enumerate(bed.boxes) if box.external]:
        lines.append("  classDef external stroke-dasharray:5 3")
        lines.append(f"  class {','.join(machines)} external")
    for number, ((colour, fill), styled) in enumerate(styles.items()):
        lines.append(f"  classDef s{number} fill:{fill},stroke:{colour},color:{INK}")
        lines.append(f"  class {','.join(styled)} s{number}")
    return "\n".join([*lines, ""])


def render(topology: Topology, path: Path) -> None:
    """Write the picture in the form that `path`'s suffix names: .svg, .png, .dot or .mmd.

    Raises UsageError for another suffix, and HostError if Graphviz is not installed or fails.
    """
    if path.suffix == ".mmd":
        write_atomically(path, mermaid(topology))
    else:
        write(path, dot(topology), hint="-o bed.svg, .png, .dot or .mmd")


def _html(lines: Iterable[str], size: int = 12, smaller: int = 10) -> str:
    first, *others = (html.escape(clean(line)) for line in lines if line)
    rest = "".join(f'<BR/><FONT POINT-SIZE="{smaller}">{line}</FONT>' for line in others)
    return f'<FONT POINT-SIZE="{size}"><B>{first}</B></FONT>{rest}'


def _mermaid(*lines: str) -> str:
    """Mermaid has entity codes instead of escapes: `#quot;`."""
    codes = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"}
    return '"' + "<br/>".join("".join(codes.get(c, c) for c in line) for line in lines if line) + '"'
