"""validate, schema, graph, plan: what can be known of a topology file before anything is done."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.options import Accel, Acceleration, File, Form, Name, Output, Restart, Settings, option

_PENDING = 10


def validate(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Topology files, or -.", autocompletion=complete.topologies),
    ],
) -> None:
    """Check topology files; each problem as FILE:LINE:COLUMN.

    \b
    Example:
      vmlab validate my-bed.yaml ha-topology.yaml
    """
    from vmlab.cli.target import load
    from vmlab.errors import Problem, TopologyError
    from vmlab.report.tables import summary

    problems: list[Problem] = []
    for file in files:
        try:
            typer.echo(summary(load(file)))
        except TopologyError as error:
            problems += error.problems
    if problems:
        raise TopologyError(problems)


def schema(
    night: Annotated[bool, option("--night", help="Of the files of `vmlab nightly`, instead of topologies.")] = False,
) -> None:
    """Print the JSON Schema of topology files, for editors.

    \b
    Examples:
      vmlab schema > ~/.config/vmlab-schema.json
      vmlab schema --night > ~/.config/vmlab-night-schema.json
    """
    from vmlab.report.plain import dumped
    from vmlab.workloads import options_by_name

    if night:
        from vmlab.nights.json_schema import schema as described
    else:
        from vmlab.topology import schema as described

    typer.echo(dumped(described(options_by_name())))


def graph(
    file: File,
    to: Annotated[
        Path | None, option("--to", "-o", help="Picture to write: .svg, .png, .dot or .mmd. Absent: print dot.")
    ] = None,
) -> None:
    """Draw a bed: nodes, fabrics, shared disks, who serves what.

    \b
    Examples:
      vmlab graph ha-topology.yaml -o ha.svg
      vmlab graph ha-topology.yaml | dot -Tx11
    """
    from vmlab.cli.target import load
    from vmlab.report.graph import dot, render

    topology = load(file)
    if to is None:
        typer.echo(dot(topology), nl=False)
    else:
        render(topology, to)


def plan(
    file: File,
    name: Name = None,
    settings: Settings = None,
    output: Output = Form.TABLE,
    detailed_exitcode: Annotated[
        bool, option("--detailed-exitcode", help="Exit 10 if there is anything to do.")
    ] = False,
    accel: Acceleration = Accel.AUTO,
    restart: Restart = False,
    inventory: Annotated[
        list[str] | None,
        option("--inventory", help="Plan on the host that this folder records; for several, NAME=DIR each."),
    ] = None,
    picture: Annotated[Path | None, option("--picture", help="Draw who goes where: .svg, .png or .dot.")] = None,
) -> None:
    """Show what `up` would do, and why. Changes nothing.

    \b
    Examples:
      vmlab plan ha-topology.yaml
      vmlab plan ha-topology.yaml --set nodes.oss1.memory=4GiB
      vmlab plan fta-sriov.yaml --inventory hosts/fta --picture fta.svg
    """
    from vmlab.cli.target import load
    from vmlab.lab.beds.plan import look, look_at_records
    from vmlab.lab.ground.bed import hosts_of
    from vmlab.report.plain import dumped
    from vmlab.report.plan import document, text
    from vmlab.report.progress import shown

    topology = load(file, name, settings or ())
    with shown() as progress:
        if inventory:
            prepared = look_at_records(topology, inventory, progress=progress)
        else:
            with hosts_of(topology) as hosts:
                prepared = look(hosts, topology, accel=accel, restart=restart, progress=progress)
    if picture is not None:
        from vmlab.report.hostpicture import draw

        draw(prepared.places.hosts, prepared.places.placement, picture, bed=topology.name)
    if output is Form.JSON:
        typer.echo(dumped(document(prepared)))
    else:
        typer.echo(text(prepared, sys.stdout))
    if detailed_exitcode and (prepared.plan.actions or prepared.plan.pending):
        raise typer.Exit(_PENDING)
