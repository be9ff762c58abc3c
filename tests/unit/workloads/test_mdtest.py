"""mdtest's command lines, and recorded output: `$ COMMAND`, what it printed, `# rc=STATUS`."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.errors import WorkloadError
from vmlab.workloads import Endpoint, Measurement, Node, Output, Task
from vmlab.workloads.mdtest import Mdtest, Options

CASES = Path(__file__).parents[2] / "cases" / "mdtest"
MDTEST = Mdtest()
MPI = "program /usr/bin/mdtest\nbuilt openmpi\nmpirun openmpi /usr/bin/mpirun\n"


def node(name: str, number: int, *roles: str, mpi: str = MPI) -> Node:
    place = Endpoint("mgmt", "management", IPv4Address(f"10.77.0.{number}"), "mgmt")
    return Node(name, roles, (place,), {"mpi": mpi, "mounts": "8388608 /mnt/lustre\n"})


BED = [node("oss1", 3, "oss"), node("client1", 1, "client"), node("client2", 2, "client")]


def measured(bed: list[Node] = BED, **options: object) -> list[Measurement]:
    return [m for r in MDTEST.measurements(Options.model_validate(options), bed) for m in r]


def command(measurement: Measurement) -> str:
    return shlex.join(next(task.argv for task in measurement.commands if task.name == "mdtest"))


def test_all_clients_make_files_and_directories_in_their_own_and_in_one_directory() -> None:
    own, shared = measured()
    assert command(own).startswith("/usr/bin/mpirun ")
    assert " client1:1,client2:1 -np 2 " in command(own)
    assert command(own).endswith(" /usr/bin/mdtest -d /mnt/lustre/vmlab-mdtest -n 1000 -i 1 -u -N 1")
    assert command(shared) == command(own).replace(" -u", "")
    assert [m.labels for m in (own, shared)] == [
        {"nodes": "client[1-2]", "tasks": "2", "access": access} for access in ("unique", "shared")
    ]
    assert own.commands[0].argv[-1] == "/mnt/lustre/vmlab-mdtest"
    assert MDTEST.takes_part(Options(), BED) == ("client1", "client2")


def test_each_phase_is_about_what_another_node_made() -> None:
    assert command(measured(tasks_per_node=8)[0]).endswith(" -u -N 8")
    alone = measured(nodes="client1", tasks_per_node=8)[0]
    assert " -N " not in command(alone)
    assert MDTEST.notes(Options(), alone, {})
    assert MDTEST.notes(Options(), measured()[0], {}) == ()


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({"items": ["file"]}, "-i 1 -F -u -N 1"),
        ({"items": ["directory"]}, "-i 1 -D -u -N 1"),
        ({"file_size": "3901B", "repetitions": 3}, "-i 3 -u -N 1 -w 3901 -e 3901"),
    ],
)
def test_what_is_asked_for(options: dict[str, object], ends: str) -> None:
    assert command(measured(**options)[0]).endswith(ends)


def test_nodes_without_mdtest_or_a_file_system() -> None:
    with pytest.raises(WorkloadError, match="client2 has no mdtest"):
        measured([*BED[:2], node("client2", 2, "client", mpi="")])
    with pytest.raises(WorkloadError, match="no Lustre file system is mounted on all of its nodes"):
        measured([replace(BED[1], facts={"mpi": MPI})])


# --- reading -------------------------------------------------------------------------------------------------------


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def read(path: Path) -> tuple[Measurement, Output]:
    first, _, rest = path.read_text().partition("\n")
    body, footer = rest.rsplit("# rc=", 1)
    task = Task(name="mdtest", node="client1", argv=tuple(shlex.split(first.removeprefix("$ "))), deadline_s=60)
    status = int(re.match(r"\d+", footer)[0])  # type: ignore[index]
    return Measurement(name="case", labels={}, tasks=(task,)), Output(status, body, "", 10.0)


Rows = dict[tuple[str, str, str], float]


def rows(text: str, stderr: str = "") -> Rows:
    found = MDTEST.parse(Options(), Measurement(name="m", labels={}), {"mdtest": Output(0, text, stderr, 1.0)})
    assert {sample.metric.unit for sample in found} == {"op/s"}
    assert all(0 < sample.value < float("inf") for sample in found)
    return {(sample.labels["item"], sample.labels["operation"], sample.metric.name): sample.value for sample in found}


def good(name: str) -> str:
    return read(CASES / "good" / f"{name}.txt")[1].stdout


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed"):
        assert kind(name)
        assert all(re.search(r"-mdtest-\d+(\.\d+)+\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    measurement, output = read(path)
    samples = MDTEST.parse(Options(), measurement, {"mdtest": output})
    told = [{"metric": s.metric.name, "value": s.value, **s.labels} for s in samples]
    golden(path.with_suffix(".json"), json.dumps(told, indent=1) + "\n")
    assert MDTEST.sanity(Options(), measurement, {"mdtest": output}, samples) == ()


def test_rates_are_read_and_not_the_times_of_the_same_names() -> None:
    found = rows(good("rates-and-times-mdtest-4.1.0"))
    assert found["file", "create", "rate"] == 289311.230
    assert found["file", "create", "rate_max"] == 379875.829
    assert found["tree", "remove", "rate"] == 7674.902
    assert not any(metric.endswith("_task") for _, _, metric in found)


def test_an_old_title_says_nothing_of_rates() -> None:
    text = good("all-mdtest-3.2.1")
    assert rows(text.replace("SUMMARY rate: (", "SUMMARY: (")) == rows(text)
    with pytest.raises(WorkloadError, match="mdtest's report is cut off"):
        rows(text.replace("SUMMARY rate: (", "SUMMARY time: ("))


def test_two_tables_without_the_title_of_the_second_are_none() -> None:
    text = good("rates-and-times-mdtest-4.1.0")
    with pytest.raises(WorkloadError, match="several rows of the same name"):
        rows(re.sub("\nSUMMARY time.*", "", text))


def test_what_did_not_run_is_absent() -> None:
    found = rows(good("create-stat-only-mdtest-3.3.0"))
    assert found == {
        ("file", "create", "rate"): 252329.794,
        ("file", "create", "rate_max_task"): 252348.736,
        ("file", "create", "rate_min_task"): 252310.852,
        ("file", "stat", "rate"): 972042.728,
        ("file", "stat", "rate_max_task"): 973065.546,
        ("file", "stat", "rate_min_task"): 971019.911,
        ("tree", "create", "rate"): 119631.535,
        ("tree", "create", "rate_max_task"): 119631.535,
        ("tree", "create", "rate_min_task"): 119631.535,
    }


def test_one_repetition_has_no_best_and_worst_one() -> None:
    found = rows(good("directories-mdtest-4.1.0"))
    assert {metric for _, _, metric in found} == {"rate"}
    assert found["directory", "rename", "rate"] == 200660.399


def test_what_was_asked_for_and_is_zero_is_no_figure_but_a_failure() -> None:
    text = good("rates-and-times-mdtest-4.1.0")
    still = re.sub(r"( File stat) .*", r"\1        0.000          0.000          0.000          0.000", text, count=1)
    with pytest.raises(WorkloadError, match="was to measure stat of file, and did not"):
        rows(still)
    with pytest.raises(WorkloadError, match="was to measure read of file, and did not"):
        rows(re.sub(r"\n +File read .*", "", text))


@pytest.mark.parametrize("figure", ["nan", "-nan", "inf", "-1.000", "1e308", "fast", "", "9" * 400])
def test_a_row_that_is_none(figure: str) -> None:
    text = good("rates-and-times-mdtest-4.1.0").replace("289311.230", figure)
    with pytest.raises(WorkloadError, match="a row of mdtest's table is none"):
        rows(text)


def test_a_deviation_that_is_no_number_is_nobodys_figure() -> None:
    text = good("rates-and-times-mdtest-4.1.0")
    assert rows(text.replace("141409.796", "-nan")) == rows(text)


def test_statistics_of_each_rank_stand_before_those_of_the_repetitions() -> None:
    text = good("rates-and-times-mdtest-4.1.0")
    ranked = re.sub(r"(?m)^(   (?:File|Tree) [a-z]+ +)(?=\d)", r"\1 1.000          2.000          3.000     ", text)
    assert rows(ranked) == rows(text)


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    with pytest.raises(WorkloadError, match="mdtest's report is cut off"):
        rows(read(path)[1].stdout)


def test_a_cut_report_after_a_whole_one_is_cut_off() -> None:
    with pytest.raises(WorkloadError, match="mdtest's report is cut off"):
        rows(good("all-mdtest-4.0.0") + read(kind("truncated")[0])[1].stdout)


SAID = {
    "full-mdtest": "the file system is full: open64(",
    "full-directories": "the file system is full: unable to create directory /mnt/fs",
}


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed_whatever_the_status(path: Path) -> None:
    measurement, output = read(path)
    said = r"report is cut off|95 calls failed \(unable to create directory\)|measured no files"
    with pytest.raises(WorkloadError, match=said):
        MDTEST.parse(Options(), measurement, {"mdtest": output})
    if not output.ok:
        said = next(said for name, said in SAID.items() if path.name.startswith(name))
        assert MDTEST.explain(output).startswith(said)
    assert MDTEST.sanity(Options(), measurement, {"mdtest": output}, ()) == ()


def test_a_lost_server_is_the_file_systems_fault() -> None:
    line = 'ERROR: open64("/mnt/lustre/a", 66, 0664) failed. Error: Input/output error, (aiori-POSIX.c:618)\n'
    [problem] = MDTEST.sanity(Options(), Measurement(name="m", labels={}), {"mdtest": Output(255, line, "", 1.0)}, ())
    assert "Input/output error" in problem


def test_fewer_files_than_were_asked_for_are_told() -> None:
    measurement, output = read(CASES / "good/all-mdtest-4.0.0.txt")
    asked = replace(measurement, labels={"tasks": "2"})
    samples = MDTEST.parse(Options(), asked, {"mdtest": output})
    assert MDTEST.sanity(Options(per_task=50), asked, {"mdtest": output}, samples) == ()
    [problem] = MDTEST.sanity(Options(per_task=100), asked, {"mdtest": output}, samples)
    assert problem == "100 of 200 files or directories were made"


@pytest.mark.parametrize(
    "noise",
    [
        "WARNING: Read bytes is 0, thus, a read test will actually just open/close\n",
        "[node1:812] 1 more process has sent help message help-mpi-btl-base.txt / btl:no-nics\n",
        "V-0: Rank   0 Line  2594 Shifting ranks by 1 for each phase.\n",
        "WARNING: unable to use realpath() on file system\n",
    ],
)
@given(where=st.floats(0, 1))
def test_notes_may_stand_between_any_two_lines(noise: str, where: float) -> None:
    lines = good("rates-and-times-mdtest-4.1.0").splitlines(keepends=True)
    place = int(where * len(lines))
    assert rows("".join([*lines[:place], noise, *lines[place:]]), noise) == rows("".join(lines))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
@given(share=st.floats(0, 1))
def test_what_is_cut_has_all_figures_or_none(path: Path, share: float) -> None:
    text = read(path)[1].stdout
    try:
        found = rows(text[: int(share * len(text))])
    except WorkloadError:
        return
    assert found == rows(text)


WHOLE = [read(path)[1].stdout for path in (*kind("good"), *kind("failed"))]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 2500)], st.text())
)
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    measurement = Measurement(name="m", labels={})
    outputs = {"mdtest": Output(0, text, "", 1.0)}
    try:
        samples = MDTEST.parse(Options(), measurement, outputs)
    except WorkloadError:
        samples = ()
    for sample in samples:
        assert 0 <= sample.value < float("inf")
    MDTEST.sanity(Options(), measurement, outputs, samples)
    assert MDTEST.explain(outputs["mdtest"])
