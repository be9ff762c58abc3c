"""sriov show, create, release."""

from pathlib import Path
from typing import Annotated

import typer

from vmlab.cli.commands import Group
from vmlab.cli.options import Form, On, Output, Yes, option

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Virtual functions (SR-IOV): show, create, release.",
)
_PF_HELP = "A physical function: its PCI address, or its network or RDMA device's name."
_Pf = Annotated[str, typer.Argument(metavar="PF", help=_PF_HELP)]


@app.command()
def show(
    pf: Annotated[str | None, typer.Argument(metavar="[PF]", help=f"{_PF_HELP} Absent: all.")] = None,
    inventory: Annotated[
        Path | None, option("--inventory", help="Show the host that this folder records, not this machine.")
    ] = None,
    on: On = None,
    output: Output = Form.TABLE,
) -> None:
    """Show virtual functions, and who has each.

    \b
    Examples:
      vmlab sriov show --on ha-two-hosts.yaml
      vmlab sriov show
      vmlab sriov show mlx5_0 -o json
    """
    from vmlab.cli.target import on_hosts, refuse_away
    from vmlab.errors import UsageError
    from vmlab.lab.ground.recorded import recorded
    from vmlab.lab.hosts.sriov import show as look
    from vmlab.report.plain import dumped, lines_of
    from vmlab.report.sriov import sriov_table
    from vmlab.report.tables import show_each
    from vmlab.virt.inventory import inventory as inventory_of

    if inventory is not None and on is not None:
        raise UsageError("--inventory and --on: a record, or hosts", hint="one of both")
    if inventory is not None:
        known = {"": recorded(inventory)}
    else:
        with on_hosts(on) as hosts:
            known = hosts.each(inventory_of, failed="not all hosts could be asked")
    found = {name: look(host, pf) for name, host in known.items()}
    if output is Form.JSON:
        typer.echo(dumped(lines_of(found, named=on is not None)))
    elif any(found.values()):
        show_each({name: sriov_table(of_host) for name, of_host in found.items() if of_host})
    else:
        typer.echo("no function of this host has SR-IOV" if on is None else "no function there has SR-IOV", err=True)
    if on is not None:
        refuse_away(hosts, on)


@app.command()
def create(
    pf: _Pf, number: Annotated[int, typer.Argument(metavar="N", help="How many it shall have.", min=1, max=4096)]
) -> None:
    """Make virtual functions.

    Nothing is done if there are N already; another number than 0 is only changed while nobody has one of them. Those
    of an HCA get node and port GUIDs, always the same ones. They are gone when the host boots.

    \b
    Example:
      vmlab sriov create 0000:41:00.0 4
    """
    from vmlab.cli.target import here
    from vmlab.lab.hosts.sriov import create as make
    from vmlab.report.progress import shown
    from vmlab.report.sriov import sriov_table
    from vmlab.report.tables import show as printed

    with here() as host, shown() as progress:
        made, changed = make(host, pf, number, progress)
    printed(sriov_table([made]))
    typer.echo(f"{made.address}: {number} VFs{'' if changed else ' (nothing to change)'}", err=True)


@app.command()
def release(pf: _Pf, yes: Yes = False) -> None:
    """Destroy all virtual functions of a physical one.

    Refused while a guest, a defined domain or the host has one of them.

    \b
    Example:
      vmlab sriov release mlx5_0
    """
    from vmlab.cli.target import agreed, here
    from vmlab.lab.hosts.sriov import losses
    from vmlab.lab.hosts.sriov import release as destroy

    with here() as host:
        if not yes:
            function, lines = losses(host, pf)
            agreed(f"{function.address}: destroy its VFs?", lines, yes=yes, again=f"vmlab sriov release {pf} -y")
        address, number = destroy(host, pf)
    typer.echo(f"{address}: {f'{number} VFs released' if number else 'it has no VFs'}", err=True)
