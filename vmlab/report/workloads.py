"""Workloads that there are, and runs that there were."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vmlab.report.grid import Cell, Grid

if TYPE_CHECKING:
    from rich.console import Group

    from vmlab.workloads._options import WorkloadHelp


def workload_help(help_: "WorkloadHelp") -> "Group":
    """One workload: what it is, its options, its metrics."""
    from rich.console import Group  # noqa: PLC0415  slow to import
    from rich.text import Text  # noqa: PLC0415

    options = Grid("OPTION", "FORM", "DEFAULT", "")
    for option in help_.options:
        options.add_row(option.name, Text(option.form), Text(option.default or "-"), Text(option.help))
    metrics = Grid("METRIC", "UNIT", "BETTER", "")
    for metric in help_.metrics:
        metrics.add_row(metric.name, str(metric.unit), metric.better, metric.summary)
    return Group(Text(f"{help_.name}: {help_.summary}", "bold"), "", options, "", metrics)


def runs_table(runs: Sequence[Mapping[str, Any]]) -> Grid:
    """`vmlab results list`, of what the index tells of each run."""
    tagged = any(run["tags"] or run["note"] for run in runs)
    table = Grid("RUN", "BED", "WORKLOAD", "ACCEL", "FIGURES", "OUTCOME", *(("TAGS",) if tagged else ()))
    for run in runs:
        outcome = Cell("ok", "green")
        if run["problems"]:
            outcome = Cell(f"{len(run['problems'])} failed", "red")
        elif run["faults"]:
            outcome = Cell(f"{len(run['faults'])} not measured", "red")
        elif run["incomplete"]:
            outcome = Cell(f"incomplete: {run['incomplete']}", "red")
        accel = run["accel"] + (", soft-RoCE" if run["soft"] else "")
        said = " ".join(filter(None, (",".join(run["tags"]), f"({run['note']})" if run["note"] else "")))
        cells = (run["id"], run["bed"], run["workload"], accel, str(run["figures"]), outcome)
        table.add_row(*cells, *((said,) if tagged else ()))
    return table
