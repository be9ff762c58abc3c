"""Tables of runs in files of their own: what becomes of them in a topology, and where it is told what is wrong."""

import contextlib
import io
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmlab.errors import TopologyError
from vmlab.topology import load, load_from, schema
from vmlab.workloads import options_by_name, workloads
from vmlab.workloads._options import points

BED = (
    "name: b\nnodes:\n  c1: {role: client}\nworkloads:\n  - command: {run: 'solve {size}', cases: runs.csv, slots: 1}\n"
)


def written(folder: Path, table: str | bytes, bed: str = BED) -> Path:
    (folder / "runs.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    (folder / "bed.yaml").write_text(bed)
    return folder / "bed.yaml"


def rows(path: Path) -> object:
    [workload] = load(path, workloads=options_by_name()).workloads
    assert "cases" not in workload.options
    [point] = points(workloads()["command"], workload.options)
    return list(point.options.runs)


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("size,mode\n1,fast\n2,slow\n", [("1", "fast"), ("2", "slow")]),
        ("\ufeffsize, mode\r\n1, fast\r\n\r\n2 ,\r\n", [("1", "fast"), ("2", "")]),
        ('size,mode\n1,"a, b\nand ""c"""\n007,é', [("1", 'a, b\nand "c"'), ("007", "é")]),
    ],
)
def test_each_line_is_a_run(tmp_path: Path, table: str, found: list[tuple[str, str]]) -> None:
    assert rows(written(tmp_path, table)) == [{"size": size, "mode": mode} for size, mode in found]


def test_it_lies_beside_the_topology_and_for_standard_input_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "size\n1\n2\n")
    monkeypatch.chdir("/")
    assert rows(path) == [{"size": "1"}, {"size": "2"}]
    with pytest.raises(
        TopologyError, match=r"<stdin>:5:\d+: workload `command`: runs.csv cannot be read: No such file"
    ):
        load_from(io.BytesIO(BED.encode()), "<stdin>", workloads=options_by_name())
    monkeypatch.chdir(tmp_path)
    assert load_from(io.BytesIO(BED.encode()), "<stdin>", workloads=options_by_name()).workloads[0].options["runs"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "size,mode\n1,a\n2\n\n3,c,d\n",
            ["3:1: the row has 1 value (expected 2: size, mode)", "5:1: the row has 3 values"],
        ),
        ("size,size\n1,2\n", ["1:1: 'size,size' names no columns"]),
        ("size;mode\n1;2\n", ["1:1: 'size;mode' names no columns"]),
        ("\n\n", ["1:1: '' names no columns"]),
        ("size,mode\n", ["1:1: there is no row below"]),
        ('size\n1\n"2\n3\n', ["3:1: not CSV: unexpected end of data"]),
        ("size\n" + "1\n" * 10_001, ["10002:1: more than 10,000 rows"]),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, table: str, said: list[str]) -> None:
    with pytest.raises(TopologyError) as caught:
        rows(written(tmp_path, table))
    for one in said:
        assert f"{tmp_path}/runs.csv:{one}" in caught.value.message


@pytest.mark.parametrize(
    ("bed", "table", "said"),
    [
        (BED, b"size\n\xff\n", "runs.csv is not UTF-8"),
        (BED, b"s\n" + b"x" * (4 << 20), "has more than 4 MiB"),
        (BED, b"node\nn1\n", "a column cannot be called node"),
        (BED.replace("slots: 1", "runs: [{size: 1}]"), b"size\n1\n", "runs beside cases: runs.csv"),
        (BED.replace("runs.csv", "."), b"", "cannot be read: Is a directory"),
        (BED.replace("command: {run: 'solve {size}', ", "ior: {").replace(", slots: 1", ""), b"", "cases is no list"),
    ],
)
def test_what_is_no_table_is_told_at_the_workload(tmp_path: Path, bed: str, table: bytes, said: str) -> None:
    with pytest.raises(TopologyError, match=r"bed.yaml:5:\d+: .*" + said):
        rows(written(tmp_path, table, bed))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.one_of(st.binary(max_size=60), st.text(alphabet='a1,"\n\r\0;é', max_size=40).map(str.encode)))
def test_any_file_is_a_table_or_a_problem(tmp_path: Path, table: bytes) -> None:
    path = written(tmp_path, table)
    with contextlib.suppress(TopologyError):
        assert rows(path)


def test_editors_take_a_file_and_points() -> None:
    check = jsonschema.Draft202012Validator(schema(options_by_name()))
    assert check.is_valid(yaml.safe_load(BED))
    assert check.is_valid(yaml.safe_load(BED.replace("cases: runs.csv", "cases: [{slots: 2}]")))
    assert not check.is_valid(yaml.safe_load(BED.replace("cases: runs.csv", "cases: 5")))
