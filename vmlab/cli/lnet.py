"""lnet show, ping."""

import typer

from vmlab.cli.options import Bed, Form, Name, Output
from vmlab.cli.shells import Group

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
    from vmlab.lab.lnet import show as look
    from vmlab.report.lnet import lnet_table
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show as printed

    with described(bed, name) as (host, topology):
        nodes = look(host, topology)
    if output is Form.JSON:
        typer.echo(dumped(nodes))
    else:
        printed(lnet_table(nodes))


@app.command()
def ping(bed: Bed, name: Name = None, output: Output = Form.TABLE) -> None:
    """Ping every NID that a node should reach, from every node.

    Clients and servers, and servers among themselves; without file systems all nodes. Exits with 8 if a NID does not
    answer.

    \b
    Example:
      vmlab lnet ping two-hop
    """
    from vmlab.cli.target import described
    from vmlab.errors import ReferenceMissed, together
    from vmlab.lab.lnet import ping as ask
    from vmlab.report.lnet import ping_matrix
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show as printed

    with described(bed, name) as (host, topology):
        pings = ask(host, topology)
    if output is Form.JSON:
        typer.echo(dumped(pings))
    elif pings:
        printed(ping_matrix(pings))
    bad = [one for one in pings if not one.ok]
    if bad:
        hint = f"vmlab lnet show {bed}"
        told = [ReferenceMissed(f"{p.node} does not reach {p.other} ({p.nid}): {p.said}", hint=hint) for p in bad]
        raise together(told, f"{len(bad)} of {len(pings)} LNet pings failed")
    if not pings:
        raise ReferenceMissed(f"{topology.name}: nobody has a NID to ping", hint=f"vmlab lnet show {bed}")
    typer.echo(f"{topology.name}: all {len(pings)} LNet pings answered", err=True)
