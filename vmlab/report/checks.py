"""`host check` and `gc`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from vmlab.report.grid import Grid

if TYPE_CHECKING:
    from vmlab.lab.hosts.gc import Leftover
    from vmlab.virt.finding import Finding

_STYLES = {"ok": "green", "warning": "yellow", "no": "red"}


def check_table(findings: Sequence["Finding"]) -> Grid:
    """One line per thing that was looked at."""
    table = Grid("", "WHAT", "FOUND", "WHAT TO DO")
    for finding in findings:
        table.add_row(
            Text(finding.verdict, _STYLES[finding.verdict]), finding.what, Text(finding.found), Text(finding.hint)
        )
    return table


def leftover_table(items: Sequence["Leftover"]) -> Grid:
    """One line per thing that belongs to no bed."""
    several = len({item.host for item in items}) > 1
    table = Grid(*(["HOST"] if several else []), "KIND", "NAME", "WHY")
    for item in items:
        table.add_row(*([item.host] if several else []), item.kind, item.name, item.reason)
    return table
