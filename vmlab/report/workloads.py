"""Workloads that there are, and runs that there were."""

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from vmlab.records.run import RunRecord
from vmlab.report.grid import Grid
from vmlab.workloads._options import WorkloadHelp


def workload_help(help_: WorkloadHelp) -> Group:
    """One workload: what it is, its options, its metrics."""
    options = Grid("OPTION", "FORM", "DEFAULT", "")
    for option in help_.options:
        options.add_row(option.name, Text(option.form), Text(option.default or "-"), Text(option.help))
    metrics = Grid("METRIC", "UNIT", "BETTER", "")
    for metric in help_.metrics:
        metrics.add_row(metric.name, str(metric.unit), metric.better, metric.summary)
    return Group(Text(f"{help_.name}: {help_.summary}", "bold"), "", options, "", metrics)


def runs_table(records: Sequence[RunRecord]) -> Grid:
    """`vmlab results list`."""
    table = Grid("RUN", "BED", "WORKLOAD", "ACCEL", "FIGURES", "OUTCOME")
    for record in records:
        outcome = Text("ok", "green")
        if record.problems:
            outcome = Text(f"{len(record.problems)} failed", "red")
        elif record.faults:
            outcome = Text(f"{len(record.faults)} not measured", "red")
        elif record.incomplete:
            outcome = Text(f"incomplete: {record.incomplete}", "red")
        accel = record.accel + (", soft-RoCE" if record.soft else "")
        table.add_row(record.id, record.bed, record.workload, accel, str(len(record.samples)), outcome)
    return table
