"""host check, show, capture, share-memory; gc: the machine that beds run on."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli.commands import Group
from vmlab.cli.options import Form, On, Output, Timeout, option

if TYPE_CHECKING:
    from vmlab.lab.hosts.gc import Leftover
    from vmlab.virt.connection import Host

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The machine that beds run on: show, check, capture, share-memory.",
)
_CANNOT = 4


@app.callback()
def host() -> None:
    """The machine that beds run on."""


@app.command()
def check(on: On = None, output: Output = Form.TABLE) -> None:
    """Say what this machine lacks for beds, and what to do.

    Exits 0 if beds can run, if with warnings, else 4.

    \b
    Examples:
      vmlab host check
      vmlab host check --on ha-two-hosts.yaml
    """
    from vmlab.cli.target import ways_on
    from vmlab.lab.hosts.check import check_all
    from vmlab.report.checks import check_table
    from vmlab.report.plain import dumped, lines_of
    from vmlab.report.progress import shown
    from vmlab.report.tables import show_each

    with shown() as progress:
        found = check_all(ways_on(on), progress)
    if output is Form.JSON:
        typer.echo(dumped(lines_of(found, named=on is not None)))
    else:
        show_each({name: check_table(of_host) for name, of_host in found.items()})
    if any(line.verdict == "no" for of_host in found.values() for line in of_host):
        raise typer.Exit(_CANNOT)


@app.command("show")
def show_host(
    inventory: Annotated[
        Path | None, option("--inventory", help="Show the host that this folder records, not this machine.")
    ] = None,
    on: On = None,
    picture: Annotated[Path | None, option("--picture", help="Draw it: .svg, .png or .dot.")] = None,
    output: Output = Form.TABLE,
) -> None:
    """Show cells, CPUs, memory, HCAs and NICs, and who has what. With --on JSON is a list.

    \b
    Examples:
      vmlab host show --on qemu+ssh://root@kvm2/system
      vmlab host show --picture host.svg
      vmlab host show --inventory hosts/oss1 -o json
    """
    from vmlab.cli.target import on_hosts, refuse_away
    from vmlab.errors import UsageError
    from vmlab.lab.ground.recorded import recorded
    from vmlab.report.inventory import inventory_object, inventory_tables
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show_each
    from vmlab.virt.inventory import inventory as look

    if inventory is not None and on is not None:
        raise UsageError("--inventory and --on: a record, or hosts", hint="one of both")
    if inventory is not None:
        record = recorded(inventory)
        found = {record.name: record}
    else:
        with on_hosts(on) as hosts:
            found = hosts.each(look, failed="not all hosts could be asked")
    if picture is not None:
        from vmlab.report.hostpicture import draw

        draw(found, None, picture)
    if output is Form.JSON:
        told = [inventory_object(one) for one in found.values()]
        typer.echo(dumped(told[0] if on is None else told))
    else:
        show_each({name: inventory_tables(one) for name, one in found.items()}, titles=False)
    if on is not None:
        refuse_away(hosts, on)


@app.command()
def capture(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    on: On = None,
) -> None:
    """Write down this machine, to plan on it elsewhere.

    For `vmlab plan FILE --inventory DIR`. Serial numbers and uuids are left out; MAC addresses and GUIDs stay. Of
    several hosts (--on) each has a folder of its name below DIR.

    \b
    Example:
      vmlab host capture hosts/oss1
    """
    from vmlab.cli.target import on_hosts, refuse_away
    from vmlab.lab.ground.recorded import capture as write

    with on_hosts(on) as hosts:
        for name, host in hosts.items():
            to = folder / name if hosts.several else folder
            typer.echo(f"{to}: {write(host, to)} files", err=True)
    if on is not None:
        refuse_away(hosts, on)


@app.command("share-memory")
def share(
    on: On = None,
    timeout: Timeout = "10m",  # type: ignore[assignment]  # parsed by Typer
    output: Output = Form.TABLE,
) -> None:
    """Let guests share the memory that they have alike.

    Clones have most of it alike; what one of them writes to is its own again. The kernel's ksmd (KSM) is switched on
    for it, and off when it finds no more, after seconds. It looks at all guests of the host, other people's, too.
    `share_memory: true` in a topology has `up` do so when all is ready.

    \b
    Examples:
      vmlab host share-memory
      vmlab host share-memory --on ha-two-hosts.yaml
    """
    from vmlab.cli.target import on_hosts, refuse_away
    from vmlab.lab.hosts.share_memory import share_memory
    from vmlab.report.memory import told
    from vmlab.report.plain import dumped, lines_of
    from vmlab.report.progress import shown

    with on_hosts(on) as hosts, shown() as progress:
        failed = "not all hosts' guests share memory"
        found = hosts.each(lambda host: share_memory(host, timeout, progress), failed=failed)
    if output is Form.JSON:
        lines = lines_of({name: (one,) for name, one in found.items()}, named=on is not None)
        typer.echo(dumped(lines[0] if on is None else lines))
    else:
        for name, one in found.items():
            typer.echo(f"{name}: {told(one)}", err=True)
    if on is not None:
        refuse_away(hosts, on)


def gc(
    apply: Annotated[bool, option("--apply", help="Remove it; without this it is only listed.")] = False,
    on: On = None,
    output: Output = Form.TABLE,
) -> None:
    """List, or remove, what belongs to no bed.

    Disks and networks without nodes, exports without disks, keys, image files; image builds and runs that were cut off.
    On other machines (--on) what a vmlab there keeps for itself stays: builds, templates, runs, images.

    \b
    Examples:
      vmlab gc --apply
      vmlab gc --on ha-two-hosts.yaml
    """
    from vmlab.cli.target import on_hosts, refuse_away
    from vmlab.lab.hosts.gc import collect, leftovers
    from vmlab.report.checks import leftover_table
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show
    from vmlab.runtime.files import state_dir

    def of(host: "Host") -> "list[Leftover]":
        items = leftovers(host, state_dir() / "runs")
        return [replace(item, host=host.name) for item in (collect(host, items) if apply else items)]

    with on_hosts(on) as hosts:
        found = [item for items in hosts.each(of, failed="not all hosts could be asked").values() for item in items]
    if output is Form.JSON:
        typer.echo(dumped(found))
    elif found:
        show(leftover_table(found))
    again = "vmlab gc --apply" if on is None else f"vmlab gc --apply --on {shlex.quote(on)}"
    told = "nothing is left over" if not found else "removed" if apply else f"{again} removes it"
    typer.echo(told, err=True)
    if on is not None:
        refuse_away(hosts, on)
