"""What the nodes did while a run went on (`load.csv`), as curves over the run's time."""

import csv
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from vmlab.records.run import RunRecord
from vmlab.report.plots.chart import Axis, Line, Lines, Panels, Point

_NODES = 8
_PANELS = (
    ("CPUs in use", "", ("cpus",)),
    ("network, both ways", "MiB/s", ("received_mib_s", "sent_mib_s")),
    ("disks, read and written", "MiB/s", ("read_mib_s", "written_mib_s")),
)


def load_chart(record: RunRecord, text: str) -> Panels | None:
    """Shaded where a command of the run ran. Of more nodes than colours, their sum; None where nothing was counted.

    Lines that cannot be read are passed over: the last one of a killed run is a part of one.
    """
    rows = [row for row in csv.DictReader(text.splitlines()) if _time(row) is not None]
    if not rows:
        return None
    start = min(time for row in rows if (time := _time(row)) is not None)
    nodes = list(dict.fromkeys(row["node"] for row in rows))
    panels = tuple(
        Lines("", Axis("time", "s"), Axis(name, unit), _curves(rows, nodes, columns, start))
        for name, unit, columns in _PANELS
    )
    spans = [(one.timestamp() - start, one.timestamp() - start + seconds) for one, seconds in _spans(record)]
    end = max(point.x for line in panels[0].lines for point in line.points)
    inside = [(max(0.0, first), min(end, last)) for first, last in _joined(spans) if last > 0 and first < end]
    return Panels(f"During the run {record.id}", panels, inside)


def _curves(rows: Sequence[dict[str, str]], nodes: Sequence[str], columns: Sequence[str], start: float) -> list[Line]:
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        name = row["node"] if len(nodes) <= _NODES else f"all {len(nodes)} nodes"
        at = round((_time(row) or start) - start)
        series = found.setdefault(name, {})
        with suppress(TypeError, ValueError):
            series[at] = series.get(at, 0.0) + sum(float(row[column]) for column in columns)
    return [
        Line(name, [Point(x, y, y, y) for x, y in sorted(series.items())], colour=place)
        for place, (name, series) in enumerate(found.items())
    ]


def _time(row: dict[str, str]) -> float | None:
    try:
        return float(row["time"]) if row.get("written_mib_s") else None
    except (KeyError, ValueError):
        return None


def _spans(record: RunRecord) -> list[tuple[datetime, float]]:
    found = []
    for command in record.commands:
        with suppress(ValueError):
            found.append((datetime.fromisoformat(command.started), command.seconds))
    return found


def _joined(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined
