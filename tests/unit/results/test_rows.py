"""Figures for other programs."""

import csv
import io
import json
from pathlib import Path

import pytest

from vmlab.report.rows import write_csv, write_json_lines, write_parquet

from .test_index import record


def test_csv_has_a_row_for_each_figure_and_a_column_for_each_label() -> None:
    text = io.StringIO()
    write_csv([record(0), record(1, samples=())], text)
    (row,) = csv.DictReader(io.StringIO(text.getvalue()))
    assert (row["run"], row["metric"], row["value"], row["unit"]) == (record(0).id, "bandwidth", "5.0", "MiB/s")
    assert (row["label_size"], row["label_nodes"]) == ("1048576", "c[1-4]")


def test_json_lines_are_objects() -> None:
    text = io.StringIO()
    write_json_lines([record(0), record(1)], text)
    found = [json.loads(line) for line in text.getvalue().splitlines()]
    assert [row["run"] for row in found] == [record(0).id, record(1).id]
    assert found[0]["value"] == 5.0


def test_parquet_is_read_back_with_its_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet([record(0)], tmp_path / "runs.parquet")
    (row,) = parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    assert (row["value"], row["trial"], row["soft"], row["label_size"]) == (5.0, 1, False, "1048576")
