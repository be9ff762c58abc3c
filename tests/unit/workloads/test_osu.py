"""OSU's command lines, and recorded output: `$ COMMAND`, what it printed, `# rc=STATUS`."""

import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vmlab.errors import WorkloadError
from vmlab.runtime import process
from vmlab.workloads import Endpoint, Measurement, Node, Output, Task
from vmlab.workloads.osu import Options, Osu

CASES = Path(__file__).parents[2] / "cases" / "osu"
OSU = Osu()
MPI = "program /o/osu_latency\nbuilt openmpi\nmpirun openmpi /usr/bin/mpirun\n"
TESTS = Options().tests
PROGRAMS = "".join(f"{test} /o/osu_{test}\n" for test in TESTS)


def node(number: int, *roles: str, mpi: str = MPI, osu: str = PROGRAMS) -> Node:
    place = Endpoint("mgmt", "management", IPv4Address(f"10.77.0.{number}"), "mgmt")
    return Node(f"client{number}", roles or ("client",), (place,), {"mpi": mpi, "osu": osu})


BED = [node(1), node(2), node(3), node(4)]


def measured(bed: list[Node] = BED, **options: object) -> list[Measurement]:
    return [m for r in OSU.measurements(Options.model_validate(options), bed) for m in r]


def command(measurement: Measurement) -> str:
    [task] = measurement.commands
    return shlex.join(task.argv)


def test_pairs_are_apart_and_collective_operations_are_of_all_nodes() -> None:
    found = measured(tests=["latency", "allreduce"])
    assert [m.labels for m in found] == [
        {"test": "latency", "nodes": "client[1-2]", "tasks": "2", "fabric": "mgmt"},
        {"test": "latency", "nodes": "client[3-4]", "tasks": "2", "fabric": "mgmt"},
        {"test": "allreduce", "nodes": "client[1-4]", "tasks": "4", "fabric": "mgmt"},
    ]
    assert [m.commands[0].node for m in found] == ["client1", "client3", "client1"]
    assert command(found[1]).endswith(" --host client3:1,client4:1 -np 2 /o/osu_latency")
    assert command(found[2]).endswith(" -np 4 /o/osu_allreduce -f")
    assert len(measured(tests=["bw"], pairs="each")) == 6
    assert [m.labels["test"] for m in measured(nodes=2)] == list(TESTS)
    assert {"allreduce", "reduce", "allgather", "alltoall", "bcast", "barrier"} < set(TESTS)
    assert len(measured(tests=["bw"], nodes=3)) == 1


def test_two_tasks_of_one_node_are_a_pair() -> None:
    found = measured(tests=["latency", "barrier"], nodes=1, tasks_per_node=4)
    assert [m.labels["tasks"] for m in found] == ["2", "4"]
    with pytest.raises(WorkloadError, match="one task alone has nobody to send to"):
        measured(nodes=1)


def test_what_is_asked_for() -> None:
    [latency, allreduce, barrier] = measured(
        nodes=2,
        tests=["latency", "allreduce", "barrier"],
        smallest="1B",
        largest="4KiB",
        check=True,
        tail=True,
        iterations=100,
    )
    assert command(latency).endswith(" /o/osu_latency -m 1:4096 -i 100 -c -z")
    assert command(allreduce).endswith(" /o/osu_allreduce -m 1:4096 -i 100 -f -c -z")
    assert command(barrier).endswith(" /o/osu_barrier -i 100 -f -z")
    [large] = measured(tests=["alltoall"], tasks_per_node=256)
    assert command(large).endswith(f" -M {1024 << 20} -f")
    with pytest.raises(ValidationError, match="smallest is larger than largest"):
        Options(smallest="2MiB", largest="1MiB")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="smallest needs largest"):
        Options(smallest="2MiB")  # type: ignore[arg-type]


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(WorkloadError, match="client2 has no osu_latency"):
        measured([node(1), node(2, mpi="")])
    [bw, mbw] = measured([node(1), node(2), node(3, osu=PROGRAMS.replace("bw /o", "bw /p"))], tests=["bw", "mbw_mr"])
    assert not bw.skipped
    assert mbw.skipped == "osu_mbw_mr: 3 tasks are no pairs"
    [bw] = measured([node(1), node(2, osu=PROGRAMS.replace("bw /o", "bw /p"))], tests=["bw"])
    assert bw.skipped == "osu_bw is not in one place on client[1-2]"
    [bw] = measured([node(1, osu=""), node(2, osu="")], tests=["bw"])
    assert bw.skipped == "osu_bw is not in one place on client[1-2]"


@pytest.mark.parametrize("name", ["osu_latency", "mpitests-osu_latency"])
def test_programs_are_found_by_either_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).write_text("#!/bin/sh\n: ompi_mpi_comm_world\n")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    said = {fact: process.run(OSU.facts[fact], deadline_s=30).stdout for fact in ("mpi", "osu")}
    assert f"program {tmp_path}/{name}\nbuilt openmpi\n" in said["mpi"]
    assert f"latency {tmp_path}/{name}\n" in said["osu"]


# --- reading -------------------------------------------------------------------------------------------------------


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def read(path: Path) -> tuple[Measurement, Output]:
    first, _, rest = path.read_text().partition("\n")
    body, footer = rest.rsplit("# rc=", 1)
    task = Task(name="osu", node="n1", argv=tuple(shlex.split(first.removeprefix("$ "))), deadline_s=60)
    output = Output(int(re.match(r"\d+", footer)[0]), body, "", 10.0)  # type: ignore[index]
    return Measurement(name="case", labels={}, tasks=(task,)), output


Figures = dict[tuple[str, str], float]


def figures(measurement: Measurement, text: str) -> Figures:
    found = OSU.parse(Options(), measurement, {"osu": Output(0, text, "", 1.0)})
    return {(sample.labels.get("size", ""), sample.metric.name): sample.value for sample in found}


def good(name: str) -> tuple[Measurement, str]:
    measurement, output = read(CASES / "good" / f"{name}.txt")
    return measurement, output.stdout


def problems(measurement: Measurement, output: Output) -> tuple[str, ...]:
    return OSU.sanity(Options(), measurement, {"osu": output}, ())


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed", "wrong"):
        assert kind(name)
        assert all(re.search(r"-osu-\d+(\.\d+)+\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    measurement, output = read(path)
    samples = OSU.parse(Options(), measurement, {"osu": output})
    told = [{"metric": s.metric.name, "unit": s.metric.unit, "value": round(s.value, 6), **s.labels} for s in samples]
    golden(path.with_suffix(".json"), json.dumps(told, indent=1) + "\n")
    assert problems(measurement, output) == ()


@pytest.mark.parametrize(
    ("name", "expected", "rows"),
    [
        ("latency-osu-5.3", {("0", "latency"): 0.30, ("8192", "latency"): 2.39, ("4194304", "latency"): 594.62}, 24),
        ("bibw-osu-5.3", {("1", "bandwidth"): 12.99e6 / 2**20, ("4194304", "bandwidth"): 9483.53e6 / 2**20}, 23),
        ("bw-one-size-osu-7.2", {("1048576", "bandwidth"): 12165.98e6 / 2**20}, 1),
        ("latency-tail-osu-7.4", {("1024", "latency"): 0.75, ("1024", "latency_p99"): 0.89}, 11 * 4),
        ("latency-validated-osu-7.4", {("4096", "latency"): 1.74}, 13),
        ("bibw-validated-osu-7.4", {("2048", "bandwidth"): 6079.13e6 / 2**20}, 13),
        ("tagged-osu-7.4", {("4", "latency"): 0.57, ("64", "latency"): 0.34}, 7),
        ("warnings-osu-7.2", {("8192", "latency"): 2.06}, 1),
        ("barrier-osu-7.4", {("", "latency"): 0.87, ("", "latency_min"): 0.87, ("", "latency_max"): 0.87}, 3),
        ("barrier-plain-osu-7.4", {("", "latency"): 0.98}, 1),
        ("mbw_mr-osu-7.4", {("1", "message_rate"): 3960249.00, ("1024", "bandwidth"): 1634.60e6 / 2**20}, 22),
    ],
)
def test_figures_are_those_of_their_columns(name: str, expected: Figures, rows: int) -> None:
    found = figures(*good(name))
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert len(found) == rows


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    measurement, output = read(path)
    with pytest.raises(WorkloadError, match=r"the table is cut off: it ends at (?:128|2097152) of 4194304 bytes"):
        OSU.parse(Options(), measurement, {"osu": output})


def test_why_it_was_cut_off_is_told() -> None:
    output = read(CASES / "truncated/timeout-osu-7.4.txt")[1]
    assert OSU.explain(output) == "it was ended after 3 seconds"


SAID = {
    "one-task-osu-7.4": "This test requires exactly two processes",
    "no-such-option-osu-7.4": "this version has no option -q",
    "no-such-option-osu-5.3": "this version has no option -m",
}


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed(path: Path) -> None:
    measurement, output = read(path)
    assert not output.ok or "5.3" in path.stem
    assert OSU.explain(output) == SAID[path.stem]
    with pytest.raises(WorkloadError, match="there is no table"):
        OSU.parse(Options(), measurement, {"osu": output})
    assert problems(measurement, output) == ()


@pytest.mark.parametrize("path", kind("wrong"), ids=lambda path: path.stem)
def test_data_that_are_not_what_was_sent(path: Path) -> None:
    measurement, output = read(path)
    with pytest.raises(WorkloadError, match="a row is cut off, or none: '16 "):
        OSU.parse(Options(), measurement, {"osu": output})
    assert problems(measurement, output) == ("data that arrived are not what was sent, in messages of 16 bytes",)
    assert OSU.explain(output) == "DATA VALIDATION ERROR in messages of 16 bytes"


@pytest.mark.parametrize("figure", ["nan", "inf", "-1.00", "0,56", "1e3", "0.5", "9" * 400 + ".00", "0.00", "0.567"])
def test_a_figure_that_is_none(figure: str) -> None:
    measurement, text = good("latency-osu-7.4")
    with pytest.raises(WorkloadError, match=r"a row is cut off, or none|nothing was measured"):
        figures(measurement, re.sub(r"(?m)^(16 +)\S+$", rf"\g<1>{figure}", text))


def test_rows_that_are_missing_or_doubled() -> None:
    measurement, text = good("latency-osu-7.4")
    row = re.search(r"(?m)^16 .*\n", text)
    assert row is not None
    for changed in (text.replace(row[0], ""), text.replace(row[0], 2 * row[0])):
        with pytest.raises(WorkloadError, match="the table has gaps"):
            figures(measurement, changed)
    with pytest.raises(WorkloadError, match="the table has gaps"):
        figures(measurement, re.sub(r"(?m)^(?:1|2|4|8) .*\n", "", text))
    with pytest.raises(WorkloadError, match="there are several tables"):
        figures(measurement, 2 * text)
    measurement, text = good("barrier-plain-osu-7.4")
    with pytest.raises(WorkloadError, match="there are several rows"):
        figures(measurement, f"{text}             0.98\n")


def test_datatypes_are_told_apart_and_none_of_them_is_missing() -> None:
    measurement, text = good("allreduce-of-datatypes-osu-7.4")
    found = OSU.parse(Options(), measurement, {"osu": Output(0, text, "", 1.0)})
    means = {(s.labels["datatype"], s.labels["size"]): s.value for s in found if s.metric.name == "latency"}
    assert (len(means), means["MPI_INT", "8"], means["MPI_FLOAT", "8"]) == (15, 0.40, 0.42)
    with pytest.raises(WorkloadError, match="cut off: it has MPI_CHAR, MPI_INT of MPI_CHAR, MPI_INT, MPI_FLOAT"):
        figures(measurement, text.partition("# Datatype: MPI_FLOAT")[0])
    with pytest.raises(WorkloadError, match="cut off: it ends at 32 of 64 bytes"):
        figures(measurement, re.sub(r"(?m)^64 .*\n(?=# Datatype: MPI_INT)", "", text))


def test_unknown_columns_are_not_taken_for_others() -> None:
    measurement, text = good("latency-osu-7.4")
    with pytest.raises(WorkloadError, match="unknown columns: 'Energy'"):
        figures(measurement, text.replace("Avg Latency(us)", "Avg Latency(us)   Energy"))
    with pytest.raises(WorkloadError, match="there is no table"):
        figures(measurement, text.replace("Latency(us)", "Latency(ms)"))
    measurement, text = good("latency-tail-osu-7.4")
    other = figures(measurement, text.replace("P99 Tail", "P95 Tail"))
    assert "latency_p99" not in {metric for _, metric in other}


@pytest.mark.parametrize(
    "tag",
    [
        *("[1,0]<stdout>:", "[1,0]<stdout>: ", "[0] ", "0: ", "Sun Nov 29 20:25:28 2026<stdout>:"),
        # Open MPI 5.0.7: --output rank, timestamp, tag-detailed, tag-fullname, and two of them.
        *("[0]<stdout>: ", "[Sun Nov 29 20:25:28 2026]<stdout>: ", "[1,0][vm:11068]<stdout>: "),
        *("[prterun-vm-11075@1,0]<stdout>: ", "[Sun Nov 29 20:25:28 2026][1,0]<stdout>: "),
    ],
)
def test_tags_of_mpirun_mpiexec_and_srun(tag: str) -> None:
    for name in ("latency-tail-osu-7.4", "barrier-osu-7.4", "latency-osu-5.3"):
        measurement, text = good(name)
        assert figures(measurement, re.sub("(?m)^", tag, text)) == figures(measurement, text)


@pytest.mark.parametrize(
    "noise",
    [
        "[node1:26895] MCW rank 1 bound to socket 0[core 1[hwt 0]]: [./B]\n",
        "[1,1]<stderr>:128   3.00\n",
        "[prterun-vm-11075@1,1]<stderr>: 128   3.00\n",
        "--------------------------------------------------------------------------\n",
        "A requested component was not found, or was unable to be opened.\n",
        "# Datatype: MPI_CHAR.\n",
    ],
)
@given(where=st.floats(0, 1))
def test_notes_may_stand_between_any_two_lines(noise: str, where: float) -> None:
    measurement, text = good("latency-tail-osu-7.4")
    lines = text.splitlines(keepends=True)
    place = int(where * len(lines))
    assert figures(measurement, "".join([*lines[:place], noise, *lines[place:]])) == figures(measurement, text)


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
@given(share=st.floats(0, 1))
def test_what_is_cut_has_all_figures_or_none(path: Path, share: float) -> None:
    measurement, output = read(path)
    try:
        found = figures(measurement, output.stdout[: int(share * len(output.stdout))])
    except WorkloadError:
        return
    assert found == figures(measurement, output.stdout)


WHOLE = [read(path)[1].stdout for path in (*kind("good"), *kind("failed"), *kind("wrong"))]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 1500)], st.text())
)
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    measurement = Measurement(name="m", labels={})
    outputs = {"osu": Output(0, text, "", 1.0)}
    try:
        samples = OSU.parse(Options(), measurement, outputs)
    except WorkloadError:
        samples = ()
    assert all(0 < sample.value < float("inf") for sample in samples)
    OSU.sanity(Options(), measurement, outputs, samples)
    assert OSU.explain(replace(outputs["osu"], status=1))
