"""lnet show, ping."""

import typer

from vmlab.cli.commands import Group
from vmlab.cli.options import Bed, Form, Name, Output

app = typer.Typer(
    cls=Group, no_args_is_help=True, rich_markup_mode=None, help="LNet of a bed: NIDs, routes, who reaches whom."
)


@app.command()
def show(bed: Bed, name: Name = None, output: Output = Form.TABLE) -> None:
    """Show each node's NIDs and routes, with their state.

    \b
    Examples:
      vmlab lnet show two-hop
      vmlab lnet show two-hop-routing.yaml -o json
    """
    from vmlab.cli.target import described
    from vmlab.lab.filesystems.lnet import show as look
    from vmlab.report.lnet import lnet_table
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show as printed

    with described(bed, name) as (hosts, topology):
        nodes = look(hosts, topology)
    if output is Form.JSON:
        typer.echo(dumped(nodes))
    else:
        printed(lnet_table(nodes))


@app.command()
def ping(bed: Bed, name: Name = None, output: Output = Form.TABLE) -> None:
    """Ping every NID that a node should reach, over every path.

    From each NID of a node to each NID of the others on the same network, and over each router that leads there.
    Clients and servers, servers among themselves, routers and all; without file systems all nodes. Exits with 8 if a
    path does not work, also where another one does.

    \b
    Examples:
      vmlab lnet ping two-hop
      vmlab lnet ping two-hop-routing.yaml -o json
    """
    from vmlab.cli.target import described
    from vmlab.errors import ReferenceMissed, together
    from vmlab.lab.filesystems.lnet import ping as ask
    from vmlab.report.lnet import ping_failures, ping_matrix
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show as printed
    from vmlab.values.nodeset import fold

    with described(bed, name) as (hosts, topology):
        pings = ask(hosts, topology)
    if output is Form.JSON:
        typer.echo(dumped(pings))
    elif pings:
        printed(ping_matrix(pings))
    unsure = {one.node for one in pings if not one.source}
    if unsure:
        typer.echo(f"{fold(unsure)}: Lustre before 2.15 cannot ping from a given NID: LNet chose the paths", err=True)
    told = [ReferenceMissed(text, hint=f"vmlab lnet show {bed}") for text in ping_failures(pings)]
    if told:
        raise together(told, f"{sum(not one.ok for one in pings)} of {len(pings)} LNet pings failed")
    if not pings:
        raise ReferenceMissed(f"{topology.name}: nobody has a NID to ping", hint=f"vmlab lnet show {bed}")
    typer.echo(f"{topology.name}: all {len(pings)} LNet pings answered", err=True)
