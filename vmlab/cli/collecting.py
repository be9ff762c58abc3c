"""collect: evidence of what went on in a bed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.options import Bed, Form, duration, option
from vmlab.records.evidence import Dump

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmlab.lab.ground.hosts import Hosts

_TIMEOUT = "2m"


def collect(
    bed: Bed,
    nodes: Annotated[
        str,
        option("--nodes", "-n", help="Node set: oss1, oss[1-4], @oss. Absent: all.", autocompletion=complete.nodes),
    ] = "*",
    since: Annotated[
        str | None, option("--since", metavar="TIME", help="Nothing older: 1h, 2d, or a date. Absent: all there is.")
    ] = None,
    dump: Annotated[
        Dump,
        option("--dump", help="Keep the memory, too: of nodes that are silent, or always. They stand still meanwhile."),
    ] = Dump.NEVER,
    folder: Annotated[
        Path | None, option("--to", metavar="DIR", help="A new folder. Absent: BED-evidence-TIME, here.")
    ] = None,
    timeout: Annotated[
        float, option("--timeout", help="Of each node, without its memory.", metavar="TIME", parser=duration)
    ] = _TIMEOUT,  # type: ignore[assignment]  # parsed by Typer
    output: Annotated[Form, option("--output", "-o", help="How to print what was collected.")] = Form.TABLE,
) -> None:
    """Collect evidence of what went on into a folder.

    First what the host has (consoles of all starts, QEMU's log, domains), which needs no guest; then kernel messages,
    journals, stacks, Lustre's debug log, LNet, packages. Texts are cut at 8 MiB, packed if they are long, and secrets
    are taken out. `index.md` says what there is, and what is missing and why.

    \b
    Examples:
      vmlab collect ha
      vmlab collect ha -n @oss --since 1h --to evidence
      vmlab collect ha -n oss1 --dump silent
    """
    from vmlab.cli.target import at, guests_only
    from vmlab.lab.beds.collect import Wanted, folder_of
    from vmlab.lab.beds.collect import collect as collect_all
    from vmlab.records.evidence import as_data
    from vmlab.records.selection import parse_moment
    from vmlab.report.plain import dumped
    from vmlab.report.progress import shown

    now = datetime.now(UTC)
    wanted = Wanted(nodes, parse_moment(since, now) if since else None, dump, timeout)
    with at(bed, guests_only(bed, nodes), tolerant=True) as (hosts, name), shown() as progress:
        to = folder or folder_of(name, now)
        found, choice = collect_all(hosts, name, wanted, to, texts=_of_bed(hosts, bed, name), progress=progress)
    if output is Form.JSON:
        typer.echo(dumped({"folder": str(to), **as_data(found)}))
    else:
        for node in found.nodes:
            if node.silent:
                typer.echo(f"vmlab: warning: {node.node} did not answer: {node.silent}", err=True)
        typer.echo(to)
    choice.refuse_rest()


def _of_bed(hosts: "Hosts", bed: str, name: str) -> "Mapping[str, tuple[str, str]]":
    """What is told of the whole bed: its nodes, as `status` has them; of its topology file it and the plan."""
    from vmlab.cli.target import described_by, find
    from vmlab.lab.beds.status import known
    from vmlab.lab.ground.bed import existing
    from vmlab.report.plain import dumped

    told = {
        "status.json": (
            "the nodes, as `vmlab status --no-guests` has them",
            dumped(known(hosts, existing(hosts, name))),
        )
    }
    file = described_by(bed)
    if file is not None and file != "-":
        path = find(file)
        told["topology.yaml"] = (f"the topology file {file}", path.read_text(errors="replace"))
        about = "what `vmlab plan -o json` says: who is where, and what is not as the file has it"
        told["plan.json"] = (about, dumped(_planned(hosts, path, name)))
    return told


def _planned(hosts: "Hosts", path: Path, name: str) -> "Mapping[str, object]":
    """The plan, or why there is none: the file may be another one by now, and no reason to leave all else."""
    from vmlab import topology, workloads
    from vmlab.errors import VmlabError
    from vmlab.lab.beds.plan import look_as_it_runs
    from vmlab.report.plan import document

    try:
        described = topology.load(path, name=name, workloads=workloads.options_by_name())
        return document(look_as_it_runs(hosts, described))
    except VmlabError as error:
        return {"error": error.message}
