"""Tables for terminals: colours where people would rather look, nothing cut off where programs read."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from vmlab.report.errors import coloured
from vmlab.report.grid import Cell, Grid
from vmlab.values.identity import has_data
from vmlab.values.nodeset import fold
from vmlab.values.printable import printable
from vmlab.values.size import Bytes

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vmlab.domainxml.metadata import Address
    from vmlab.lab.beds.status import BedLine, NodeStatus
    from vmlab.lab.beds.up import Raised
    from vmlab.lab.hosts.warm import TemplateLine
    from vmlab.lab.images.images import FileOn
    from vmlab.lab.nightly.faults import Fault
    from vmlab.store.images import Manifest
    from vmlab.topology import Topology
    from vmlab.values.pci import PciAddress

_GOOD, _MIDDLING, _BAD = "green", "yellow", "red"
_STATES = {"running": _GOOD, "shut off": "dim", "paused": _MIDDLING, "crashed": _BAD, "external": "dim"}
_STAGES = {"ready": _GOOD, "off": "dim"}


def show(renderable: "RenderableType") -> None:
    """Print on standard output; as wide as it needs where that is no terminal, and without columns in a narrow one."""
    terminal, colours = sys.stdout.isatty(), coloured(sys.stdout)
    if isinstance(renderable, Grid):
        text = renderable.text(get_terminal_size().columns if terminal else None, coloured=colours)
        if text is not None:
            sys.stdout.write(text)
            return
    from vmlab.report.richly import print_richly  # noqa: PLC0415  slow to import

    print_richly(renderable, terminal=terminal, coloured=colours)


def show_each(found: "Mapping[str, RenderableType]", *, titles: bool = True) -> None:
    """What there is of each host, one below the other; where there are several, each with its name."""
    for number, (name, one) in enumerate(found.items()):
        if number:
            sys.stdout.write("\n")
        if titles and len(found) > 1:
            sys.stdout.write(f"{printable(name)}\n")
        show(one)


def summary(topology: "Topology") -> str:
    """One line that says what a file describes."""
    counts = {
        "node": len(topology.nodes),
        "external node": len(topology.externals),
        "fabric": len(topology.fabrics),
        "target": len(topology.targets),
    }
    parts = [f"{number} {what}{'s' * (number != 1)}" for what, number in counts.items() if number]
    return printable(f"{topology.file}: {topology.name}: {', '.join(parts)}: ok")


def bed_table(beds: Sequence["BedLine"]) -> Grid:
    """`vmlab list`."""
    table = Grid("BED", "NODES", "RUNNING", "DISKS")
    for bed in beds:
        style = _GOOD if bed.nodes and bed.running == bed.nodes else _MIDDLING if bed.running else "dim"
        table.add_row(bed.name, str(bed.nodes), Cell(str(bed.running), style), str(bed.disks))
    return table


def node_table(nodes: Sequence["NodeStatus"]) -> Grid:
    """`vmlab status`, with the nodes' hosts where there are several."""
    several = len({node.host for node in nodes if node.host}) > 1
    on = ("HOST",) if several else ()
    table = Grid("NODE", *on, "ROLE", "STATE", "STAGE", "CPUS", "MEMORY", "HOST CPUS", "ADDRESSES", "DISKS")
    for node in nodes:
        table.add_row(
            node.name,
            *((node.host or "-",) if several else ()),
            ",".join(node.roles),
            Cell(node.state, _STATES.get(node.state, _MIDDLING)),
            Cell(node.stage or "-", _STAGES.get(node.stage, _MIDDLING if node.stage else "dim")),
            str(node.vcpus or "-"),
            f"{node.memory_mib}MiB" if node.memory_mib else "-",
            node.host_cpus,
            addresses(node.addresses, node.devices),
            " ".join(name for name, path in node.disks if has_data(path)),
        )
    return table


def raised_table(raised: "Raised") -> Grid:
    """What `up` ends with."""
    from vmlab.plan.lease import interface_name  # noqa: PLC0415  slow to import

    table = Grid("NODE", "ROLE", "ADDRESSES")
    for node in raised.prepared.nodes.values():
        place = raised.prepared.places.node(node.name)
        devices = {} if place is None else {interface_name(d.fabric, d.index): d.address for d in place.devices}
        table.add_row(node.name, ",".join(node.metadata.roles), addresses(node.metadata.addresses, devices))
    return table


def addresses(places: Iterable["Address"], devices: Mapping[str, "PciAddress"]) -> str:
    """`mgmt 10.77.0.11  ib0 10.77.1.11 (soft-RoCE)`, or `ib0 10.77.1.11 (vf 0000:41:00.1)`."""

    def how(place: "Address") -> str:
        if place.interface in devices:
            return f" ({place.attach} {devices[place.interface]})"
        return " (soft-RoCE)" if place.soft else ""

    return "  ".join(f"{place.interface} {place.ip.ip}{how(place)}" for place in places)


def power_table(states: dict[str, str]) -> Grid:
    """`vmlab power`."""
    table = Grid("NODE", "STATE")
    for node, state in states.items():
        table.add_row(node, Cell(state, _STATES.get(state, _MIDDLING)))
    return table


def faults_table(faults: "Sequence[Fault]") -> Grid:
    """`vmlab fault list`."""
    table = Grid("NODE", "FAULT", "ON", "WHAT")
    for fault in faults:
        table.add_row(fault.node, Cell(fault.kind, _BAD), fault.on or "-", fault.told)
    return table


def image_table(images: Sequence[tuple["Manifest", list[str]]]) -> Grid:
    """`vmlab image list`."""
    table = Grid("IMAGE", "DISTRIBUTION", "KERNEL", "SIZE", "USER", "LUSTRE", "SYMBOLS", "CLONES")
    for image, clones in images:
        table.add_row(
            image.name,
            image.distribution or "-",
            image.kernel or "-",
            str(Bytes(image.size)),
            image.user,
            image.lustre or ("-" if image.tells else "unknown"),
            "vmlinux" if image.files.vmlinux else "-",
            fold_clones(clones),
        )
    return table


def image_file_table(files: Sequence["FileOn"]) -> Grid:
    """`vmlab image list --on`."""
    table = Grid("HOST", "IMAGE", "FILE", "SIZE", "WHOLE", "IN THIS STORE", "CLONES")
    for file in files:
        whole, here = ("yes" if told else "no" for told in (file.whole, file.here))
        table.add_row(file.host, file.image, file.file, str(Bytes(file.size)), whole, here, fold_clones(file.clones))
    return table


def template_table(lines: Sequence["TemplateLine"]) -> Grid:
    """`vmlab warm list`."""
    table = Grid("KEY", "IMAGE", "MEMORY", "CARDS", "SIZE", "MADE", "USED", "BOOT s", "OF USE")
    for line in lines:
        one = line.template
        table.add_row(
            one.key,
            one.image,
            str(Bytes(one.memory_kib << 10)),
            str(one.cards),
            str(Bytes(line.size >> 20 << 20)),
            one.made,
            line.used,
            f"{one.seconds:.1f}",
            line.useless or "yes",
        )
    return table


def fold_clones(clones: Iterable[str]) -> str:
    """`ha.oss[1-2]` from the names of nodes with their beds; "-" for none."""
    beds: dict[str, list[str]] = {}
    for clone in clones:
        bed, _, node = clone.partition(".")
        beds.setdefault(bed, []).append(node)
    return " ".join(f"{bed}.{fold(nodes)}" for bed, nodes in sorted(beds.items())) or "-"
