"""Figures as rows for other programs: CSV, JSON lines, Parquet. One row for each figure of each trial."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from vmlab.errors import HostError
from vmlab.records.run import RunRecord

_LABEL = "label_"
_COLUMNS = (
    *("run", "bed", "workload", "started", "accel", "soft", "vmlab"),
    *("metric", "value", "unit", "better", "group", "trial"),
)


def rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    """The columns above, and `label_NAME` for each label. `value` is in `unit`; labels are texts, sizes in bytes."""
    of_run = {
        "run": record.id,
        "bed": record.bed,
        "workload": record.workload,
        "started": record.started,
        "accel": record.accel,
        "soft": record.soft,
        "vmlab": record.vmlab,
    }
    for sample in record.samples:
        yield {
            **of_run,
            "metric": sample.metric.name,
            "value": sample.value,
            "unit": str(sample.metric.unit),
            "better": sample.metric.better,
            "group": sample.metric.group,
            "trial": sample.trial,
            **{f"{_LABEL}{name}": value for name, value in sample.labels.items()},
        }


def write_json_lines(records: Iterable[RunRecord], file: IO[str]) -> None:
    """A JSON object a line; a label that a figure has not is absent."""
    for record in records:
        for row in rows(record):
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n")


def write_csv(records: Iterable[RunRecord], file: IO[str]) -> None:
    """With a line of names; a label that a figure has not is empty."""
    found = [row for record in records for row in rows(record)]
    table = csv.DictWriter(file, _columns(found), restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(found)


def write_parquet(records: Iterable[RunRecord], path: Path) -> None:
    """Numbers as such, all else text; a label that a figure has not is null. Raises HostError without pyarrow."""
    try:
        import pyarrow as pa  # noqa: PLC0415  large, and needed for nothing else
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        hint = "pip install 'vmlab[parquet]', or --format csv"
        raise HostError("Parquet is written by pyarrow, which is not installed", hint=hint) from error
    found = [row for record in records for row in rows(record)]
    columns = {name: [row.get(name) for row in found] for name in _columns(found)}
    parquet.write_table(pa.table(columns), path)


def _columns(found: Sequence[Mapping[str, Any]]) -> list[str]:
    labels = sorted({name for row in found for name in row} - set(_COLUMNS))
    return [*_COLUMNS, *labels]
