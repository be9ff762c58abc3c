"""hpcc's command line and input, and recorded `hpccoutf.txt`: `$ COMMAND`, the file, `# rc=STATUS`.

What failed before it wrote anything is there as it was printed.
"""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from vmlab.errors import WorkloadError
from vmlab.metrics import Sample
from vmlab.workloads import Endpoint, Measurement, Node, Output
from vmlab.workloads.hpcc import Hpcc, Options

CASES = Path(__file__).parents[2] / "cases" / "hpcc"
HPCC = Hpcc()
MPI = "program /usr/bin/hpcc\nbuilt openmpi\nmpirun openmpi /usr/bin/mpirun\n"


def node(name: str, number: int, *roles: str, mpi: str = MPI) -> Node:
    place = Endpoint("mgmt", "management", IPv4Address(f"10.77.0.{number}"), "mgmt")
    return Node(name, roles, (place,), {"mpi": mpi})


BED = [node("oss1", 3, "oss"), node("client1", 1, "client"), node("client2", 2, "client")]


def measured(bed: list[Node] = BED, **options: object) -> Measurement:
    [[found]] = HPCC.measurements(Options.model_validate(options), bed)
    return found


def test_one_mpirun_over_all_clients_with_its_input_beside_it() -> None:
    found = measured()
    [task] = found.commands
    assert task.node == "client1"
    assert shlex.join(task.argv).endswith(" client1:1,client2:1 -np 2 /usr/bin/hpcc")
    assert task.brings == ("hpccoutf.txt",)
    assert found.labels == {"nodes": "client[1-2]", "tasks": "2", "fabric": "mgmt"}
    assert HPCC.takes_part(Options(), BED) == ("client1", "client2")


@pytest.mark.parametrize(("tasks", "grid"), [(1, (1, 2)), (2, (2, 2)), (6, (3, 4)), (13, (2, 13)), (32, (8, 8))])
def test_all_tasks_are_in_the_grid(tasks: int, grid: tuple[int, int]) -> None:
    [task] = measured(tasks_per_node=tasks, order=1000).commands
    text = task.files["hpccinf.txt"]
    assert isinstance(text, str)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[5:6]] == ["1000"]
    assert (int(lines[10].split()[0]), int(lines[11].split()[0])) == grid
    assert grid[0] * grid[1] == 2 * tasks


def test_the_input_is_that_of_a_run_that_was_read() -> None:
    """Its lines count: hpcc reads them by their number. Those of 32 onwards are PTRANS's."""
    [task] = measured(order=256).commands
    lines = str(task.files["hpccinf.txt"]).splitlines()
    assert len(lines) == 36
    assert lines[12].split() == ["16.0", "threshold"]
    assert lines[31].startswith("##### This line (no. 32) is ignored")


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(WorkloadError, match="one task alone has nobody to send to"):
        measured(BED[:2])
    with pytest.raises(WorkloadError, match="client2 has no hpcc"):
        measured([*BED[:2], node("client2", 2, "client", mpi="")])
    with pytest.raises(WorkloadError, match="not on the fabric"):
        measured(fabric="ib0")
    with pytest.raises(ValidationError):
        Options(order=64)


# --- reading -------------------------------------------------------------------------------------------------------


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def read(path: Path) -> Output:
    body, footer = path.read_text().partition("\n")[2].rsplit("# rc=", 1)
    output = Output(int(re.match(r"\d+", footer)[0]), "", "", 10.0)  # type: ignore[index]
    return written(body, output) if body.startswith("####") else replace(output, stdout=body)


OUTPUT = Output(0, "", "", 10.0)


def written(text: str, output: Output = OUTPUT) -> Output:
    return replace(output, files={"hpccoutf.txt": text.encode()})


def text(name: str) -> str:
    return read(CASES / f"{name}.txt").text("hpccoutf.txt")


def parse(output: Output, **labels: str) -> tuple[Sample, ...]:
    return HPCC.parse(Options(), Measurement(name="m", labels=labels), {"hpcc": output})


def problems(output: Output) -> tuple[str, ...]:
    return HPCC.sanity(Options(), Measurement(name="m", labels={}), {"hpcc": output}, ())


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed", "wrong"):
        assert kind(name)
        assert all(re.search(r"-hpcc-\d+(\.\d+)+\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    output = read(path)
    told = [{"metric": s.metric.name, "unit": s.metric.unit, "value": round(s.value, 6)} for s in parse(output)]
    golden(path.with_suffix(".json"), json.dumps(told, indent=1) + "\n")
    assert problems(output) == ()


def test_units_are_those_of_the_metrics() -> None:
    found = {sample.metric.name: (sample.value, sample.metric.unit) for sample in parse(read(kind("good")[0]))}
    assert found["latency_pingpong"] == (0.309292, "us")
    assert found["bandwidth_pingpong"] == (pytest.approx(10.7145e9 / 2**20), "MiB/s")
    assert found["bandwidth_ptrans"] == (pytest.approx(0.881761e9 / 2**20), "MiB/s")
    assert found["hpl"] == (pytest.approx(3.34958), "Gflop/s")
    assert found["gups"] == (0.00752189, "GUP/s")


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"hpccoutf\.txt is cut off"):
        parse(read(path))


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed(path: Path) -> None:
    output = read(path)
    assert not output.ok
    with pytest.raises(WorkloadError, match=r"there is no hpccoutf\.txt|Failed to allocate memory|is cut off"):
        parse(output)
    assert problems(output) == ()
    assert HPCC.explain(output) == (
        "task 1 on node1 was ended by signal 11 (Segmentation fault)" if output.stdout else "status 124"
    )


def test_a_wrong_result_is_the_fault_of_what_is_measured_and_has_no_figures() -> None:
    output = read(CASES / "wrong/residual-hpcc-1.5.0.txt")
    assert output.ok
    assert problems(output) == ("verification failed: HPL: the residual 0.0095668 is too large",)
    with pytest.raises(WorkloadError, match=r"the residual 0\.0095668 is too large"):
        parse(output)


GOOD = text("good/order-256-hpcc-1.5.0")


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (
            "Found 0 errors in 65536 locations (passed).",
            "Found 900 errors in 65536 locations (failed).",
            "900 of 65536",
        ),
        ("0.00 PASSED    0.882  0.00", "0.00 FAILED    0.882  0.00", "PTRANS: a transposed matrix is wrong"),
        (
            "Solution Validates:",
            "Failed Validation on array a[], AvgRelAbsErr > epsilon\nx",
            "STREAM: Failed Validation",
        ),
        ("Node(s) with error 0", "Node(s) with error 2", "a result is wrong on 2 nodes"),
        ("Success=1", "Success=0", r"a result is wrong \(Success=0\)"),
    ],
)
def test_each_check_is_looked_at(was: str, now: str, said: str) -> None:
    assert was in GOOD
    wrong = written(GOOD.replace(was, now, 1))
    [problem] = problems(wrong)
    assert re.search(said, problem)
    with pytest.raises(WorkloadError, match=said):
        parse(wrong)


def test_a_node_without_memory_is_no_wrong_result() -> None:
    short = written(
        GOOD.replace("Success=1", "Success=0").replace(
            "Node(s) with error 0", "Failed to allocate memory for the main table.\nNode(s) with error 1", 1
        )
    )
    assert problems(short) == ()
    with pytest.raises(WorkloadError, match="Failed to allocate memory for the main table"):
        parse(short)


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-2", "fast", "", "1e999", "1.2.3", "0x10", "9" * 400])
def test_what_is_no_number_is_no_figure(value: str) -> None:
    text = re.sub("(?m)^(AvgPingPongLatency_usec)=.*", rf"\1={value}", GOOD)
    with pytest.raises(WorkloadError, match="AvgPingPongLatency_usec is no number"):
        parse(written(text))


def test_what_was_not_measured_is_absent_and_the_network_must_be() -> None:
    without = {s.metric.name for s in parse(written(re.sub("(?m)^(MPIFFT_Gflops)=.*", r"\1=-1", GOOD)))}
    assert {s.metric.name for s in parse(written(GOOD))} - without == {"fft"}
    for gone in (r"\1=-1", r"\1=0", ""):
        with pytest.raises(WorkloadError, match="hpcc did not measure RandomlyOrderedRingLatency_usec"):
            parse(written(re.sub("(?m)^(RandomlyOrderedRingLatency_usec)=.*", gone, GOOD)))


def test_tasks_that_do_not_know_of_each_other_are_no_measurement() -> None:
    assert parse(written(GOOD), tasks="2")
    with pytest.raises(WorkloadError, match="only 2 of 4 MPI tasks worked together"):
        parse(written(GOOD), tasks="4")


def test_another_matrix_than_was_asked_for_is_told() -> None:
    measurement = Measurement(name="m", labels={})
    [note] = HPCC.notes(Options(), measurement, {"hpcc": written(GOOD)})
    assert note.startswith("the matrix was of order 256, not 512")
    assert HPCC.notes(Options(order=256), measurement, {"hpcc": written(GOOD)}) == ()
    assert HPCC.notes(Options(), measurement, {"hpcc": written(GOOD[:9000])}) == ()
    assert HPCC.notes(Options(), measurement, {}) == ()


def test_the_last_run_of_an_appended_file_counts() -> None:
    other = text("good/order-512-hpcc-1.5.0")
    assert [s.value for s in parse(written(other + GOOD))] == [s.value for s in parse(written(GOOD))]
    assert problems(written(text("wrong/residual-hpcc-1.5.0") + GOOD)) == ()


@given(share=st.floats(0, 1))
def test_what_is_cut_has_all_figures_or_none(share: float) -> None:
    try:
        found = parse(written(GOOD[: int(share * len(GOOD))]))
    except WorkloadError:
        return
    assert found == parse(written(GOOD))


@given(
    st.text()
    | st.builds(lambda a, b, c: GOOD[:a] + c + GOOD[b:], st.integers(0, 21_000), st.integers(0, 21_000), st.text())
    | st.builds(
        lambda name, value: re.sub(rf"(?m)^(\w*{name}\w*)=.*", lambda found: f"{found[1]}={value}", GOOD),
        st.sampled_from(["Latency", "GBytes", "HPL_Tflops", "Success", "CommWorldProcs"]),
        st.text() | st.floats().map(str) | st.integers().map(str),
    )
)
@example(re.sub(r"(?m)^(\w*GBytes\w*)=.*", r"\1=100e304", GOOD))  # in bytes that is no float any more
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    output = replace(written(""), files={"hpccoutf.txt": text.encode(errors="replace")})
    try:
        samples = parse(output)
    except WorkloadError:
        samples = ()
    assert all(0 <= sample.value < float("inf") for sample in samples)
    problems(output)
