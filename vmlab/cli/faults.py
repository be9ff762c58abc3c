"""fault add, list, clear: what goes wrong on purpose."""

from typing import Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.commands import Group
from vmlab.cli.options import Bed, Form, Output, option
from vmlab.cli.options import rate as read_rate
from vmlab.values.fault import Kind

app = typer.Typer(
    cls=Group, no_args_is_help=True, rich_markup_mode=None, help="Faults on purpose: power, links, delays, disks."
)


@app.command()
def add(
    bed: Bed,
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="What is to go wrong, see below.")],
    nodes: Annotated[
        str, typer.Argument(metavar="NODES", help="A node set: oss1, oss[1-4], @oss.", autocompletion=complete.nodes)
    ],
    fabric: Annotated[str, option("--fabric", help="Of link and net: which network of the nodes.")] = "",
    delay: Annotated[str, option("--delay", metavar="TIME", help="net: what is sent comes later: 20ms.")] = "",
    jitter: Annotated[str, option("--jitter", metavar="TIME", help="net: by so much earlier or later: 5ms.")] = "",
    loss: Annotated[str, option("--loss", metavar="PERCENT", help="net: so much is lost: 0.1%.")] = "",
    rate: Annotated[str, option("--rate", metavar="RATE", help="net, disk: at most 1Gbit/s, 10MB/s.")] = "",
    disk: Annotated[
        str, option("--disk", metavar="SERIAL", help="Of all that disks do: which, by its serial or target.")
    ] = "",
    iops: Annotated[int, option("--iops", help="disk: at most so many operations a second.", min=1)] = 0,
) -> None:
    """Do something bad to nodes.

    power: the mains plug. pause: virtual CPUs stand still. nmi: as `power nmi`. panic: the kernel crashes itself. link:
    the cables of a fabric. net: delay, loss and rate of what nodes send (netem in the guest). disk: slow.
    read-errors, write-errors, disk-full: what these nodes read from or write to a target's disk fails, by the device
    mapper in the guest, for targets that have `faults: true` in the topology. Nothing of it outlives a power cycle.

    \b
    Examples:
      vmlab fault add ha link oss1 --fabric ib0
      vmlab fault add ha net @client --fabric ib0 --delay 20ms --loss 0.1%
      vmlab fault add ha disk oss1 --disk lustre-OST0000 --iops 20
      vmlab fault add ha write-errors oss1 --disk lustre-OST0000
    """
    from vmlab.cli.target import at, guests_only
    from vmlab.fabrics.netem import Netem
    from vmlab.lab.nightly import faults
    from vmlab.report.progress import shown

    at_most = read_rate(rate, "--rate 1Gbit/s") if rate else None
    netem = Netem(delay, jitter, loss, at_most) if kind is Kind.NET else None
    how = faults.How(fabric, disk, netem, at_most, iops)
    with at(bed, guests_only(bed, nodes)) as (hosts, name), shown() as progress:
        faults.add(hosts, name, kind, nodes, how=how, progress=progress)


@app.command("list")
def list_(bed: Bed, output: Output = Form.TABLE) -> None:
    """Show what is wrong on purpose, or by itself.

    It is asked of libvirt and of the guests: what was done by hand is there, too.

    \b
    Example:
      vmlab fault list ha
    """
    from vmlab.cli.target import at
    from vmlab.lab.nightly.faults import listed
    from vmlab.report.plain import dumped
    from vmlab.report.tables import faults_table, show

    with at(bed) as (hosts, name):
        found = listed(hosts, name)
    if output is Form.JSON:
        typer.echo(dumped(found))
    elif found:
        show(faults_table(found))
    else:
        typer.echo("nothing is wrong that libvirt or a guest would tell", err=True)


@app.command()
def clear(
    bed: Bed,
    nodes: Annotated[
        str, typer.Argument(metavar="[NODES]", help="A node set. Absent: all.", autocompletion=complete.nodes)
    ] = "*",
) -> None:
    """Undo pauses, pulled links, delays, what disks do.

    A node that is off or has panicked stays so: vmlab power on|cycle.

    \b
    Example:
      vmlab fault clear ha @oss
    """
    from vmlab.cli.target import at, guests_only
    from vmlab.lab.nightly.faults import clear as undo
    from vmlab.report.progress import shown

    with at(bed, guests_only(bed, nodes)) as (hosts, name), shown() as progress:
        undone = undo(hosts, name, nodes, progress)
    for fault in undone:
        typer.echo(" ".join(filter(None, (f"{fault.node}: {fault.kind}", fault.on, "is cleared"))))
