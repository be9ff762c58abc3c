"""results report: runs as pages, tables, data and plots."""

from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.options import option, rate
from vmlab.cli.selecting import (
    Beds,
    Last,
    Since,
    Tags,
    Until,
    Where,
    Workloads,
    chosen,
    named_or_latest,
    selection,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmlab.records.run import RunRecord
    from vmlab.records.selection import Selection
    from vmlab.report.benchmark.page import Asked
    from vmlab.report.plots.chart import Chart


class Kind(StrEnum):
    """The forms of a report."""

    HTML = "html"
    MARKDOWN = "md"
    CSV = "csv"
    JSON = "json"
    JUNIT = "xml"
    SVG = "svg"
    PNG = "png"


_Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN]...",
        help="Runs by their IDs; absent: those that are selected, or the latest.",
        autocompletion=complete.runs,
    ),
]


def report(
    runs: _Runs = None,
    output: Annotated[
        Path | None,
        option("--output", "-o", help="A file: .html, .md, .csv, .json, .xml (JUnit), .svg, .png. Absent: printed."),
    ] = None,
    form: Annotated[
        Kind | None, option("--format", help="Instead of the file's suffix; absent without a file: md.")
    ] = None,
    plot: Annotated[
        str | None,
        option(
            "--plot", metavar="METRIC", help="What is drawn as .svg or .png, of several plots all; A,B: both in one."
        ),
    ] = None,
    limit: Annotated[
        str | None, option("--limit", metavar="RATE", help="A line in plots: 25GB/s. Absent: the network's, if known.")
    ] = None,
    published: Annotated[
        Path | None,
        option("--published", metavar="FILE", help="Published figures (YAML), drawn beside as what they are."),
    ] = None,
    bed: Beds = None,
    workload: Workloads = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    tag: Tags = None,
    last: Last = None,
) -> None:
    """Report runs: page, text, data, plots.

    Pages need no network and no other file. Several runs are told apart by bed, pinning, or ID.

    \b
    Examples:
      vmlab results report -o report.html
      vmlab results report 20260801T020000Z-ha-rdma 20260802T020000Z-ha-rdma -o two.html
      vmlab results report --bed 'dac[1-4]' --workload iozone --since 2d -o servers.html
      vmlab results report -o latency.svg --plot latency
      vmlab results report --format csv > figures.csv
    """
    from vmlab.errors import UsageError
    from vmlab.report.benchmark.forms import as_csv, as_json, as_junit
    from vmlab.report.benchmark.page import page
    from vmlab.report.pages import html, markdown

    kind = form or _by_suffix(output)
    if plot is not None and kind not in (Kind.SVG, Kind.PNG):
        raise UsageError("--plot is for .svg and .png", hint="-o plot.svg --plot METRIC")
    records = _read(runs or (), selection(bed, workload, since, until, where, tag, last))
    asked = _asked(records, limit, published, loads=kind is Kind.HTML)
    match kind:
        case Kind.HTML:
            text = html.render(page(records, asked))
        case Kind.MARKDOWN:
            text = markdown.render(page(records, asked, pictures=False))
        case Kind.CSV:
            text = as_csv(records)
        case Kind.JSON:
            text = as_json(records)
        case Kind.JUNIT:
            text = as_junit(records)
        case Kind.SVG | Kind.PNG:
            _draw(records, asked, plot, output, kind)
            return
    _write(output, text)


def _by_suffix(output: Path | None) -> Kind:
    from vmlab.errors import UsageError

    if output is None:
        return Kind.MARKDOWN
    try:
        return Kind(output.suffix.removeprefix(".").lower())
    except ValueError:
        names = ", ".join(f".{kind}" for kind in Kind)
        raise UsageError(f"{str(output)!r} has no suffix of a report ({names})", hint="--format FORM") from None


def _read(runs: "Sequence[str]", wanted: "Selection") -> "tuple[RunRecord, ...]":
    from vmlab.errors import UsageError

    if not runs and not wanted.narrow:
        return (named_or_latest(""),)
    if not (found := tuple(chosen(runs, wanted))):
        raise UsageError("no such runs", hint="vmlab results list")
    return found


def _asked(records: "Sequence[RunRecord]", limit: str | None, published: Path | None, *, loads: bool) -> "Asked":
    from vmlab.errors import UsageError
    from vmlab.report.benchmark.page import Asked
    from vmlab.report.benchmark.published import read_published
    from vmlab.store.runs import runs_dir

    try:
        text = published.read_text(encoding="utf-8") if published is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise UsageError(f"{published} cannot be read: {why}") from None
    series = read_published(text, str(published)) if published is not None else ()
    found = {}
    for record in records if loads else ():
        # The record names the file: one of its own folder, whatever it says.
        path = runs_dir() / record.id / Path(record.load).name
        if record.load and path.is_file():
            found[record.id] = path.read_text(encoding="utf-8", errors="replace")
    return Asked(rate(limit, "--limit 25GB/s") if limit is not None else None, series, found)


def _draw(records: "Sequence[RunRecord]", asked: "Asked", plot: str | None, output: Path | None, kind: Kind) -> None:
    from vmlab.errors import UsageError
    from vmlab.report.plots.draw import png, svg

    if output is None:
        raise UsageError("a plot needs a file", hint="-o plot.svg --plot METRIC")
    found = _charts(records, asked, plot)
    for number, chart in enumerate(found, 1):
        path = output if number == 1 else output.with_name(f"{output.stem}-{number}{output.suffix}")
        _write(path, png(chart) if kind is Kind.PNG else svg(chart))
        if len(found) > 1:
            typer.echo(f"{path}: {chart.title}", err=True)


def _charts(records: "Sequence[RunRecord]", asked: "Asked", plot: str | None) -> "list[Chart]":
    from vmlab.errors import UsageError
    from vmlab.report.benchmark.page import by_workload, drawn, drawn_together
    from vmlab.topology.wording import expected

    metrics = {sample.metric.name: sample.metric for record in records for sample in record.samples}
    names = [plot] if plot in metrics else plot.split(",", 1) if plot is not None else [*metrics][:1] or [""]
    if unknown := [name for name in names if name not in metrics]:
        raise UsageError(
            f"nothing was measured of `{unknown[0]:.60}` ({expected(unknown[0], metrics)})", hint="--plot METRIC"
        )
    found: list[Chart] = []
    for some in by_workload(records):
        own = [
            list(dict.fromkeys(s.metric for record in some for s in record.samples if s.metric.name == name))
            for name in names
        ]
        for pair in product(*own):
            made = drawn(some, pair[0], asked) if not pair[1:] else drawn_together(some, pair[0], pair[1], asked)
            found += [one.chart for one in made]
    if not found and names[1:]:
        raise UsageError(
            f"`{names[0]:.60}` and `{names[1]:.60}` make no chart together: of the same labels, or over no common x",
            hint="-o plot.svg --plot METRIC",
        )
    if not found:
        raise UsageError(f"of `{names[0]:.60}` there is a single figure, which makes no plot", hint="-o report.html")
    return found


def _write(output: Path | None, content: str | bytes) -> None:
    from vmlab.runtime.files import write_atomically

    if output is None:
        typer.echo(content, nl=False)
    else:
        write_file(output, lambda path: write_atomically(path, content))
