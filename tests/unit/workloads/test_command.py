"""Commands of one's own, and recorded output: `$ COMMAND`, what it printed, `# rc=STATUS`."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_guest import LocalGuest, nodes
from pydantic import ValidationError

from vmlab.errors import UsageError, WorkloadError
from vmlab.lab.measuring.workload import run_workload
from vmlab.records.run import RunRecord
from vmlab.workloads import Job, Measurement, Node, Output
from vmlab.workloads._options import points
from vmlab.workloads.command import Command, Options

CASES = Path(__file__).parents[2] / "cases" / "command"
COMMAND = Command()
BED = [Node("oss1", ("oss",)), Node("client1", ("client",)), Node("client2", ("client",))]

METRICS: dict[str, list[dict[str, object]]] = {
    "dd": [
        {"name": "bandwidth", "unit": "MB/s", "pattern": r"copied, .*, ([0-9.]+) GB/s", "factor": 1000},
        {"name": "took", "unit": "s", "better": "lower", "pattern": r"copied, (?P<value>[0-9.]+) s"},
        {"name": "records", "pattern": r"^(?P<value>\d+)\+\d+ records (?P<way>\w+)$"},
    ],
    "json": [
        {"name": "iops", "unit": "IOPS", "path": "$.jobs[*].read.iops"},
        {"name": "p99", "unit": "us", "path": 'jobs[1].read.clat_ns.percentile."99.000000"', "factor": 0.001},
    ],
}


def options(metrics: list[dict[str, object]], **more: object) -> Options:
    return Options.model_validate({"run": "true", "metrics": metrics} | more)


def figures(chosen: Options, *outputs: Output) -> list[tuple[str, float, dict[str, str]]]:
    of_nodes = {f"command.n{place}": output for place, output in enumerate(outputs, start=1)}
    found = COMMAND.parse(chosen, Measurement(name="m", labels={}), of_nodes)
    return [(s.metric.name, s.value, dict(s.labels)) for s in found if s.metric.name != "seconds"]


def printed(text: str, stderr: str = "", **files: str) -> Output:
    return Output(0, text, stderr, 1.5, files={name: content.encode() for name, content in files.items()})


# --- command lines -------------------------------------------------------------------------------------------------


def test_it_runs_on_all_clients_with_one_start() -> None:
    chosen = Options(run="date; hostname")
    [[only]] = COMMAND.measurements(chosen, BED)
    [job] = only.tasks
    assert isinstance(job, Job)
    assert [(task.node, task.argv) for task in job.tasks] == [
        (name, ("sh", "-c", "date; hostname")) for name in ("client1", "client2")
    ]
    assert COMMAND.takes_part(chosen, BED) == ("client1", "client2")


def test_or_on_one_node_after_the_other_with_files_put_and_brought() -> None:
    metrics = [{"name": "x", "pattern": "(.)", "file": "out.txt"}, {"name": "y", "pattern": "(.)", "file": "out.txt"}]
    chosen = options(metrics, nodes="@oss,client1", at_once=False, files={"in.txt": "1\n"}, bring=["*.log"])
    [[only]] = COMMAND.measurements(chosen, BED)
    assert [task.name for task in only.tasks if not isinstance(task, Job)] == ["command.oss1", "command.client1"]
    for task in only.commands:
        assert task.files == {"in.txt": "1\n"}
        assert task.brings == ("*.log", "out.txt")


def test_nothing_to_run_and_nodes_that_are_not_there() -> None:
    with pytest.raises(UsageError, match="there is nothing to run"):
        COMMAND.takes_part(Options(), BED)
    with pytest.raises(UsageError, match="no node 'client9'"):
        COMMAND.takes_part(Options(run="true", nodes="client9"), BED)
    with pytest.raises(WorkloadError, match="no node has the role client"):
        COMMAND.takes_part(Options(run="true"), BED[:1])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"metrics": [{"name": "x"}]}, "x: expected either a pattern or a path"),
        ({"metrics": [{"name": "x", "pattern": "(.)", "path": "a"}]}, "x: expected either a pattern or a path"),
        ({"metrics": [{"name": "x", "pattern": "(("}]}, "is no regular expression"),
        ({"metrics": [{"name": "x", "pattern": "no group"}]}, "does not tell the figure"),
        ({"metrics": [{"name": "x", "pattern": "(a)(b)"}]}, "does not tell the figure"),
        ({"metrics": [{"name": "x", "path": "a..b"}]}, "is no path"),
        ({"metrics": [{"name": "x", "path": "a"}, {"name": "x", "path": "b"}]}, "the metric 'x' is there already"),
        ({"metrics": [{"name": "seconds", "path": "a"}]}, "the metric 'seconds' is there already"),
        ({"metrics": [{"name": "x", "path": "a", "factor": 0}]}, "greater than 0"),
        ({"files": {"../x": ""}}, "no plain name of a file"),
        ({"bring": ["/etc/passwd"]}, "no plain name of a file"),
        ({"metrics": [{"name": "x", "path": "a", "file": "../x"}]}, "no plain name of a file"),
        ({"metrics": [{"name": "x", "path": "a", "file": ""}]}, "no plain name of a file"),
    ],
)
def test_wrong_options(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Options.model_validate(wrong)


def test_a_whole_run_on_three_nodes_at_once(tmp_path: Path) -> None:
    """In place of the guests this machine: what is put is found, what is written comes back."""
    settings = {
        "run": "sed s/a/b/ in.txt >out.log; echo x=7 >&2",
        "nodes": "n[1-3]",
        "files": {"in.txt": "a=5\n"},
        "metrics": [
            {"name": "x", "unit": "furlong", "pattern": r"x=(\d)"},
            {"name": "b", "pattern": r"^b=(\d)$", "file": "out.log", "factor": 0.5},
        ],
    }
    names = ("n1", "n2", "n3")
    mark, said = f"VMLAB_TEST_{time.monotonic_ns()}", list[str]()
    record = run_workload(
        {name: LocalGuest(mark) for name in names},
        nodes(*names),
        COMMAND,
        points(COMMAND, settings),
        runs_dir=tmp_path,
        accel="kvm",
        bed="bed",
        deeds=None,
        progress=said.append,
    )
    assert (record.problems, record.faults, said) == ((), (), ["1/1 n[1-3]"])
    found = {(s.metric.name, s.labels["node"]): s.value for s in record.samples if s.metric.name != "seconds"}
    assert found == {(metric, name): value for name in names for metric, value in (("x", 7), ("b", 2.5))}


TABLE: list[dict[str, object]] = [{"size": 100 * n, "mode": mode} for n in (1, 2) for mode in ("fast", "it's exact")]


def rows(bed: list[Node], **more: object) -> list[list[Measurement]]:
    settings = {"run": "solve {size} ${size} {other} '{mode}' {size}", "files": {"in": "{size}\n"}, "runs": TABLE}
    chosen = Options.model_validate(settings | {"nodes": "@client"} | more)
    return [list(r) for r in COMMAND.measurements(chosen, bed)]


def test_each_row_of_a_table_is_a_run_with_its_columns_in_command_and_files() -> None:
    found = rows(BED)
    assert [[m.name for m in r] for r in found] == [[f"row{n}.client[1-2]"] for n in (1, 2, 3, 4)]
    assert found[2][0].labels == {"nodes": "client[1-2]", "size": "200", "mode": "fast"}
    [task, _] = found[1][0].commands
    assert task.argv[-1] == "solve 100 ${size} {other} 'it's exact' 100"
    assert task.files == {"in": "100\n"}


def test_rows_at_once_are_on_disjoint_nodes() -> None:
    bed = [Node(f"client{number}", ("client",)) for number in range(1, 6)]
    found = rows(bed, slots=2, runs=TABLE[:3])
    assert [[m.name for m in r] for r in found] == [["row1.client[1-2]", "row2.client[3-4]"], ["row3.client[1-2]"]]
    with pytest.raises(WorkloadError, match="3 slots are wanted, and 2 nodes take part"):
        rows(BED, slots=3)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([{"a": 1}, {"b": 1}], r"row 2 has the columns b \(expected a\)"),
        ([{}], "row 1 has the columns none"),
        ([{"node": "n1"}], "a column cannot be called node"),
        ([{"a b": 1}], "String should match pattern"),
        ([{"a": [1]}], "valid string"),
    ],
)
def test_tables_that_are_none(table: list[dict[str, object]], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Options.model_validate({"run": "true", "runs": table})


def test_a_table_that_was_broken_off_goes_on_behind_its_last_row(tmp_path: Path) -> None:
    settings = {
        "run": f"echo {{size}}.{{mode}} >>{tmp_path}/log; echo x={{size}}",
        "nodes": "n[1-2]",
        "runs": [{"size": n, "mode": "m"} for n in (1, 2, 3)],
        "slots": 2,
        "metrics": [{"name": "x", "pattern": r"x=(\d)"}],
    }
    mark = f"VMLAB_TEST_{time.monotonic_ns()}"

    def run(progress: Callable[[str], None], *, resume: bool) -> RunRecord:
        return run_workload(
            {name: LocalGuest(mark) for name in ("n1", "n2")},
            nodes("n1", "n2"),
            COMMAND,
            points(COMMAND, settings),
            runs_dir=tmp_path / "runs",
            accel="kvm",
            bed="bed",
            deeds=None,
            progress=progress,
            resume=resume,
        )

    def stop(said: str) -> None:
        if said.startswith("3/3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stop, resume=False)
    assert sorted((tmp_path / "log").read_text().split()) == ["1.m", "2.m"]
    record = run(lambda _: None, resume=True)
    assert sorted((tmp_path / "log").read_text().split()) == ["1.m", "2.m", "3.m"]
    assert (record.problems, record.faults, record.incomplete) == ((), (), "")
    found = sorted((s.labels["size"], s.labels["node"], s.value) for s in record.samples if s.metric.name == "x")
    assert found == [("1", "n1", 1.0), ("2", "n2", 2.0), ("3", "n1", 3.0)]


# --- reading -------------------------------------------------------------------------------------------------------


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def read(path: Path) -> tuple[Options, Output]:
    _, _, rest = path.read_text().partition("\n")
    body, footer = rest.rsplit("# rc=", 1)
    metrics = METRICS["json" if "fio" in path.name else "dd"]
    return options(metrics), Output(int(re.match(r"\d+", footer)[0]), body, "", 1.5)  # type: ignore[index]


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed"):
        assert kind(name)
        assert all(re.search(r"-(coreutils|fio)-\d+(\.\d+)+\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    found = [{"metric": name, "value": value, **labels} for name, value, labels in figures(*read(path))]
    golden(path.with_suffix(".json"), json.dumps(found, indent=1) + "\n")


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"bandwidth of n1: nothing fits|iops of n1: .* cut off"):
        figures(*read(path))


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed(path: Path) -> None:
    _, output = read(path)
    assert re.fullmatch(r"dd: .*: (No such file or directory|No space left on device)", COMMAND.explain(output))


def test_each_node_has_its_figures_and_the_time_it_took() -> None:
    chosen = options([{"name": "x", "unit": "furlong", "better": "lower", "pattern": r"x=(\S+)"}])
    outputs = {"command.n1": printed("x=1"), "command.n2": printed("", stderr="x=-2.5e3")}
    found = COMMAND.parse(chosen, Measurement(name="m", labels={}), outputs)
    assert [(s.metric.name, s.metric.unit, s.metric.better, s.value, s.labels["node"]) for s in found] == [
        ("seconds", "s", "lower", 1.5, "n1"),
        ("x", "furlong", "lower", 1, "n1"),
        ("seconds", "s", "lower", 1.5, "n2"),
        ("x", "furlong", "lower", -2500, "n2"),
    ]
    with pytest.raises(WorkloadError, match="x of n2: nothing fits"):
        figures(chosen, printed("x=1"), printed("y=1"))


def test_figures_of_files_that_are_brought() -> None:
    chosen = options([{"name": "x", "path": "a[0]", "file": "out"}, {"name": "y", "pattern": "(.)$", "file": "log"}])
    assert figures(chosen, printed("", out='{"a": [1, 2]}', log="it was 5")) == [
        ("x", 1, {"node": "n1"}),
        ("y", 5, {"node": "n1"}),
    ]
    with pytest.raises(WorkloadError, match="x of n1: there is no out"):
        figures(chosen, printed('{"a": [1, 2]}'))


@pytest.mark.parametrize(
    "value", ['"fast"', "null", "true", "NaN", "Infinity", "1e999", "9" * 400, "[]", '{"b": 1}', '""']
)
def test_what_is_no_number_is_no_figure(value: str) -> None:
    with pytest.raises(WorkloadError, match=r"x of n1: .* is no number"):
        figures(options([{"name": "x", "path": "a"}]), printed(f'{{"a": {value}}}'))


@pytest.mark.parametrize("path", ["b", "a[2]", "a.b", "a[*].b", "a[0][0]"])
def test_a_path_that_leads_nowhere(path: str) -> None:
    with pytest.raises(WorkloadError, match="leads nowhere"):
        figures(options([{"name": "x", "path": path}]), printed('{"a": [1, 2]}'))


WHOLE = [read(path)[1].stdout for path in kind("good")]


@given(
    st.text()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.dictionaries(st.sampled_from("ab"), inner) | st.lists(inner),
    ).map(json.dumps)
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 3000)], st.text())
)
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    metrics = [*METRICS["dd"], *METRICS["json"], {"name": "a", "path": "a[*].b"}, {"name": "b", "path": "a"}]
    for metric in metrics:
        try:
            found = figures(options([metric]), printed(text))
        except WorkloadError:
            continue
        assert found
        assert all(abs(value) < float("inf") for _, value, _ in found)
