"""snapshot create, list, show, revert, delete: a whole bed as one act."""

from dataclasses import asdict
from typing import Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.commands import Group
from vmlab.cli.options import Bed, Form, Output, Yes

app = typer.Typer(
    cls=Group, no_args_is_help=True, rich_markup_mode=None, help="A bed as it is, to come back to: memory and disks."
)
_Snapshot = Annotated[
    str, typer.Argument(metavar="NAME", help="The snapshot's name.", autocompletion=complete.snapshots)
]


@app.command()
def create(
    bed: Bed, name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Absent: the date.")] = None
) -> None:
    """Keep a bed as it is: the memory of what runs, and all disks.

    All nodes stand still together meanwhile, and then go on. Of nodes that are off the disks are kept. What QEMU cannot
    save (a PCI function or a folder of the host) is refused as long as its node runs.

    \b
    Examples:
      vmlab snapshot create ha
      vmlab snapshot create ha formatted
    """
    from vmlab.cli.target import at
    from vmlab.lab.beds.snapshot import create as take
    from vmlab.report.progress import shown
    from vmlab.report.snapshots import mib

    with at(bed) as (hosts, found), shown() as progress:
        taken = take(hosts, found, name, progress)
    typer.echo(taken.name)
    typer.echo(f"{found}: snapshot {taken.name}, {mib(taken.size)}", err=True)


@app.command("list")
def list_(bed: Bed, output: Output = Form.TABLE) -> None:
    """List a bed's snapshots.

    \b
    Example:
      vmlab snapshot list ha
    """
    from vmlab.cli.target import at
    from vmlab.lab.beds.snapshots import listed
    from vmlab.report.plain import dumped
    from vmlab.report.snapshots import snapshot_table
    from vmlab.report.tables import show as printed

    with at(bed) as (hosts, name):
        found = listed(hosts, name)
    if output is Form.JSON:
        typer.echo(dumped(found))
    elif found:
        printed(snapshot_table(found))
    else:
        typer.echo(f"no snapshots: vmlab snapshot create {name}", err=True)


@app.command()
def show(bed: Bed, name: _Snapshot, output: Output = Form.TABLE) -> None:
    """Show what a snapshot keeps.

    \b
    Example:
      vmlab snapshot show ha formatted
    """
    from vmlab.cli.target import at
    from vmlab.lab.beds.snapshots import named
    from vmlab.report.plain import dumped
    from vmlab.report.snapshots import kept_table, snapshot_table
    from vmlab.report.tables import show as printed

    with at(bed) as (hosts, found):
        snapshot, line = named(hosts, found, name)
    if output is Form.JSON:
        typer.echo(dumped({**asdict(snapshot), "topology": line.topology, "differs": line.differs}))
        return
    printed(snapshot_table([line]))
    printed(kept_table(snapshot))


@app.command()
def revert(bed: Bed, name: _Snapshot, yes: Yes = False) -> None:
    """Make a bed what it was; what was written since goes.

    Nodes that ran go on from there, with the time of now and new random numbers; those that were off are off.

    \b
    Example:
      vmlab snapshot revert ha formatted -y
    """
    from vmlab.cli.target import agreed, at
    from vmlab.lab.beds.snapshot import revert as go_back
    from vmlab.lab.beds.snapshots import named
    from vmlab.lab.ground.bed import existing
    from vmlab.plan.snapshots import losses
    from vmlab.report.progress import shown
    from vmlab.runtime.wait import now

    with at(bed) as (hosts, found):
        snapshot, _ = named(hosts, found, name)
        if not yes:
            lines = list(losses(snapshot, existing(hosts, found)))
            agreed(f"{found}: revert to {name}?", lines, yes=False, again=f"vmlab snapshot revert {found} {name} -y")
        begin = now()
        with shown() as progress:
            go_back(hosts, found, name, progress)
    typer.echo(f"{found}: as it was at {snapshot.created}, in {now() - begin:.1f} s", err=True)


@app.command()
def delete(bed: Bed, name: _Snapshot, yes: Yes = False) -> None:
    """Remove a snapshot; the bed stays as it is.

    \b
    Example:
      vmlab snapshot delete ha formatted -y
    """
    from vmlab.cli.target import agreed, at
    from vmlab.lab.beds.snapshots import delete as remove
    from vmlab.lab.beds.snapshots import named
    from vmlab.report.progress import shown
    from vmlab.report.snapshots import local_time, mib

    with at(bed) as (hosts, found):
        snapshot, _ = named(hosts, found, name)
        lines = [f"{found}: {name} of {local_time(snapshot.created)}, {mib(snapshot.size)}"]
        again = f"vmlab snapshot delete {found} {name} -y"
        agreed(f"{found}: delete the snapshot {name}?", lines, yes=yes, again=again)
        with shown() as progress:
            remove(hosts, found, name, progress)
    typer.echo(f"{found}: snapshot {name} is gone, {mib(snapshot.size)}", err=True)
