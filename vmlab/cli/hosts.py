"""host check, gc: the machine that beds run on."""

from pathlib import Path
from typing import Annotated

import typer

from vmlab.cli.commands import Group
from vmlab.cli.options import Form, Output, option

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The machine that beds run on: show, check, capture.",
)
_CANNOT = 4


@app.callback()
def host() -> None:
    """The machine that beds run on."""


@app.command()
def check(output: Output = Form.TABLE) -> None:
    """Say what this machine lacks for beds, and what to do.

    Exits 0 if beds can run, if with warnings, else 4.

    \b
    Example:
      vmlab host check
    """
    from vmlab.lab.ground.bed import default_uri
    from vmlab.lab.hosts.check import check as look
    from vmlab.report.checks import check_table
    from vmlab.report.plain import dumped
    from vmlab.report.progress import shown
    from vmlab.report.tables import show
    from vmlab.virt.elsewhere import refuse_elsewhere

    refuse_elsewhere(default_uri())
    with shown() as progress:
        found = look(default_uri(), progress)
    if output is Form.JSON:
        typer.echo(dumped(found))
    else:
        show(check_table(found))
    if any(line.verdict == "no" for line in found):
        raise typer.Exit(_CANNOT)


@app.command("show")
def show_host(
    inventory: Annotated[
        Path | None, option("--inventory", help="Show the host that this folder records, not this machine.")
    ] = None,
    picture: Annotated[Path | None, option("--picture", help="Draw it: .svg, .png or .dot.")] = None,
    output: Output = Form.TABLE,
) -> None:
    """Show cells, CPUs, memory, HCAs and NICs, and who has what.

    \b
    Examples:
      vmlab host show --picture host.svg
      vmlab host show --inventory hosts/oss1 -o json
    """
    from vmlab.cli.target import here
    from vmlab.lab.ground.recorded import recorded
    from vmlab.report.inventory import inventory_object, inventory_tables
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show
    from vmlab.virt.inventory import inventory as look

    if inventory is not None:
        found = recorded(inventory)
    else:
        with here(anywhere=True) as host:
            found = look(host)
    if picture is not None:
        from vmlab.report.hostpicture import draw

        draw({found.name: found}, None, picture)
    if output is Form.JSON:
        typer.echo(dumped(inventory_object(found)))
    else:
        show(inventory_tables(found))


@app.command()
def capture(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
) -> None:
    """Write down this machine, to plan on it elsewhere.

    For `vmlab plan FILE --inventory DIR`. Serial numbers and uuids are left out; MAC addresses and GUIDs stay.

    \b
    Example:
      vmlab host capture hosts/oss1
    """
    from vmlab.cli.target import here
    from vmlab.lab.ground.recorded import capture as write

    with here(anywhere=True) as host:
        count = write(host, folder)
    typer.echo(f"{folder}: {count} files", err=True)


def gc(
    apply: Annotated[bool, option("--apply", help="Remove it; without this it is only listed.")] = False,
    output: Output = Form.TABLE,
) -> None:
    """List, or remove, what belongs to no bed.

    Disks and networks without nodes, keys, image files; image builds and runs that were cut off.

    \b
    Example:
      vmlab gc --apply
    """
    from vmlab.cli.target import here
    from vmlab.lab.hosts.gc import collect, leftovers
    from vmlab.report.checks import leftover_table
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show
    from vmlab.runtime.files import state_dir

    with here() as host:
        found = leftovers(host, state_dir() / "runs")
        if apply:
            found = collect(host, found)
    if output is Form.JSON:
        typer.echo(dumped(found))
    elif found:
        show(leftover_table(found))
    told = "nothing is left over" if not found else "removed" if apply else "vmlab gc --apply removes it"
    typer.echo(told, err=True)
