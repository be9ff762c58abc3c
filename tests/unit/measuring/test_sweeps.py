"""Sweeps, trials and going on with a run that was cut off: whole runs with processes of this machine."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from local_guest import LocalGuest, nodes
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from typing_extensions import override

from vmlab.errors import Interrupted, UsageError, WorkloadError
from vmlab.lab.measuring.resume import from_cut_off
from vmlab.lab.measuring.turns import ONCE, Often
from vmlab.lab.measuring.workload import run_workload
from vmlab.metrics import Metric, Sample, summaries
from vmlab.records.run import RunRecord, to_json
from vmlab.report.run import run_table
from vmlab.runtime.wait import Deadline, until
from vmlab.store.runs import RECORD, complete, incomplete, read
from vmlab.values.size import Bytes
from vmlab.workloads import Measurement, Node, Outputs, Task, Workload
from vmlab.workloads._nodes import NodeNames, clients_of
from vmlab.workloads._options import parse_set, points
from vmlab.workloads._sizes import Size

SPEED = Metric("speed", "things/s", "higher", "speed")


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: NodeNames | None = None
    block: Size = Bytes(4096)
    jobs: int = 1
    tests: tuple[str, ...] = ("a",)
    script: str = "echo $block"


class Swept(Workload[Options]):
    """A measurement for each of `tests`; a task prints the figure."""

    name = "swept"
    summary = "for tests"
    metrics = (SPEED,)
    options = Options

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        return tuple(node.name for node in clients_of(self.name, options.nodes, nodes))

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        if options.jobs > 100:
            raise WorkloadError("more jobs than a guest has room for")
        chosen = clients_of(self.name, options.nodes, nodes)
        values = f"block={int(options.block)} jobs={options.jobs} nodes={len(chosen)}"
        return tuple(
            (
                Measurement(
                    name=test,
                    labels={"test": test, "nodes": "many"},
                    tasks=(
                        Task(
                            name="client",
                            node=chosen[0].name,
                            argv=("sh", "-c", f"{values} test={test}; {options.script}"),
                            deadline_s=30,
                        ),
                    ),
                ),
            )
            for test in options.tests
        )

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        try:
            return (Sample(SPEED, float(outputs["client"].stdout), measurement.labels),)
        except ValueError as error:
            raise WorkloadError("no figure") from error


def run(
    runs: Path, settings: Mapping[str, Any], *, often: Often = ONCE, resume: bool = False, mark: str = ""
) -> RunRecord:  # fmt: skip
    guest = LocalGuest(mark or f"VMLAB_TEST_{time.monotonic_ns()}")
    names = [f"c{number}" for number in range(1, 12)]
    return run_workload(
        dict.fromkeys(names, guest),
        nodes(*names, role="client"),
        Swept(),
        points(Swept(), settings),
        runs_dir=runs,
        accel="kvm",
        bed="bed",
        deeds=None,
        progress=lambda _: None,
        often=often,
        resume=resume,
    )


def figures(record: RunRecord) -> list[tuple[str, float]]:
    return [(" ".join(f"{k}={v}" for k, v in s.labels.items()), s.value) for s in record.samples]


def made(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    return [dict(point.labels) for point in points(Swept(), settings)]


# Points --------------------------------------------------------------------------------------------------------------


def test_a_list_is_a_sweep_where_one_value_is_taken_and_lists_of_lists_where_a_list_is() -> None:
    assert made({}) == [{}]
    assert made({"tests": ["a", "b"]}) == [{}]
    assert made({"block": ["4k", "1m", "10KB"]}) == [{"block": "4096"}, {"block": "1048576"}, {"block": "10000"}]
    assert made({"tests": [["a"], ["a", "b"]]}) == [{"tests": "a"}, {"tests": "a,b"}]
    assert made({"block": ["4k"]}) == [{"block": "4096"}]


def test_several_make_their_product_in_the_written_order() -> None:
    assert made({"jobs": [1, 2], "block": ["4k", "8k"]}) == [
        {"jobs": "1", "block": "4096"},
        {"jobs": "1", "block": "8192"},
        {"jobs": "2", "block": "4096"},
        {"jobs": "2", "block": "8192"},
    ]


def test_cases_are_points_and_lists_in_them_products() -> None:
    cases = [{"block": ["4k", "8k"], "jobs": 64}, {"block": "1m", "jobs": 8}]
    expected = [
        {"block": "4096", "jobs": "64"},
        {"block": "8192", "jobs": "64"},
        {"block": "1048576", "jobs": "8"},
    ]
    assert made({"cases": cases}) == expected
    assert made({"script": "echo 1", "cases": cases}) == expected
    # A sweep beside them is one in each case.
    assert len(made({"nodes": "1..3", "cases": cases})) == 9
    assert [point.options.jobs for point in points(Swept(), {"jobs": 5, "cases": cases})] == [64, 64, 8]


def test_a_range_of_nodes_takes_the_first_of_them() -> None:
    assert made({"nodes": "1..3"}) == [{"nodes": "1"}, {"nodes": "2"}, {"nodes": "3"}]
    assert made({"nodes": [1, 4, "c[2-3]"]}) == [{"nodes": "1"}, {"nodes": "4"}, {"nodes": "c[2-3]"}]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"block": []}, "swept: block: a sweep without values"),
        ({"block": ["4k", "4x"]}, "swept: block: '4x' is no size"),
        ({"nodes": "3..1"}, r"nodes: 3\.\.1 is no range"),
        ({"nodes": 0}, "nodes: 0 nodes measure nothing"),
        ({"cases": {}}, "cases is no list of points"),
        ({"cases": [4]}, "cases is no list of points"),
        ({"cases": [{"blok": "4k"}]}, "blok: no such option .did you mean `block`"),
        ({"jobs": list(range(200)), "block": ["4k"] * 200}, "a sweep of more than 10,000 points"),
    ],
)
def test_what_is_no_sweep(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        points(Swept(), settings)


def test_sweeps_on_the_command_line() -> None:
    said = ["block=[4k, 64k]", "jobs=[1,2]", "nodes=1..2", "tests=a,b", "cases=[{script: x}, {script: y}]"]
    assert parse_set(Swept(), said) == {
        "block": ["4k", "64k"],
        "jobs": [1, 2],
        "nodes": "1..2",
        "tests": ["a", "b"],
        "cases": [{"script": "x"}, {"script": "y"}],
    }
    assert parse_set(Swept(), ["tests=[[a], [a, b]]"])["tests"] == [["a"], ["a", "b"]]


# Runs ----------------------------------------------------------------------------------------------------------------


def test_one_record_holds_all_points_with_their_labels(tmp_path: Path) -> None:
    record = run(tmp_path, {"block": ["4k", "8k"], "nodes": "2..3", "script": "echo $((block + nodes))"})
    assert figures(record) == [
        ("test=a nodes=2 block=4096", 4098),
        ("test=a nodes=3 block=4096", 4099),
        ("test=a nodes=2 block=8192", 8194),
        ("test=a nodes=3 block=8192", 8195),
    ]
    assert record.points[1] == {"block": "4KiB", "nodes": "3"}
    assert record.options == {"jobs": 1, "tests": ["a"], "script": "echo $((block + nodes))"}
    assert [node.name for node in record.nodes] == ["c1", "c2", "c3"]
    [command, *_] = record.commands
    assert (tmp_path / record.id / command.stdout).read_text() == "4098\n"
    assert len({c.stdout for c in record.commands}) == 4
    assert read(tmp_path, record.id) == record


def test_points_are_called_by_one_word(tmp_path: Path) -> None:
    record = run(tmp_path, {"script": ["echo 1", "echo  2\n"]})
    assert [c.measurement for c in record.commands] == ["script=echo_1.a", "script=echo_2.a"]
    assert [s.labels["script"] for s in record.samples] == ["echo 1", "echo  2\n"]


def test_a_point_that_cannot_be_measured_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    record = run(tmp_path, {"jobs": [1, 1000]})
    assert record.skipped == ("jobs=1000: more jobs than a guest has room for",)
    assert len(record.samples) == 1
    with pytest.raises(WorkloadError, match="12 nodes are wanted, and 11 are client or fta"):
        run(tmp_path, {"nodes": 12})
    with pytest.raises(WorkloadError, match=r"nothing can be measured: jobs=500: .*; jobs=600: "):
        run(tmp_path, {"jobs": [500, 600]})


def counting(tmp_path: Path, *values: object) -> str:
    """A script whose n-th run prints the n-th value, and says which measurement that was."""
    (tmp_path / "values").write_text("".join(f"{value}\n" for value in values))
    at = tmp_path / "count"
    return f"echo $test >>{tmp_path}/ran; echo x >>{at}; sed -n $(wc -l <{at})p {tmp_path}/values"


def printed(record: RunRecord) -> str:
    console = Console(width=180, record=True, file=io.StringIO())
    console.print(run_table(record))
    return console.export_text()


def test_trials_are_summed_up_and_warming_up_does_not_count(tmp_path: Path) -> None:
    script = counting(tmp_path, 1000, 10, 14, 11)
    record = run(tmp_path, {"script": script}, often=Often(3, 1))
    assert [(s.value, s.trial) for s in record.samples] == [(10, 1), (14, 2), (11, 3)]
    assert [c.measurement for c in record.commands] == ["a.warm-up1", "a.trial1", "a.trial2", "a.trial3"]
    (one,) = summaries(record.samples)
    assert (one.median, one.mean, one.minimum, one.maximum, one.spread) == (11, pytest.approx(35 / 3), 10, 14, 4)
    content = json.loads((tmp_path / record.id / RECORD).read_text())
    assert content["summaries"][0] | {"labels": 0} == {
        "metric": "speed", "unit": "things/s", "labels": 0, "trials": 3, "median": 11, "mean": pytest.approx(35 / 3),
        "minimum": 10, "maximum": 14, "spread": 4,
    }  # fmt: skip
    assert read(tmp_path, record.id) == record
    text = printed(record)
    assert "bed: swept speed (kvm), 3 trials after 1 to warm up" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("a "))
    assert row == ["a", "many", "speed", "11", "11.7", "10", "14", "4", "things/s"]
    assert "summaries" not in to_json(run(tmp_path, {}))


def test_a_whole_sweep_comes_before_the_next_trial(tmp_path: Path) -> None:
    record = run(tmp_path, {"jobs": [1, 2]}, often=Often(2))
    assert [c.measurement for c in record.commands] == [
        "jobs=1.a.trial1", "jobs=2.a.trial1", "jobs=1.a.trial2", "jobs=2.a.trial2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((10, 20, 30, 11, 21, 31), ["", "", "best"]),
        ((10, 29, 30, 11, 33, 31), ["", "no difference to the best", "no difference to the best"]),
    ],
)
def test_a_difference_smaller_than_the_spread_is_none(
    tmp_path: Path, values: tuple[int, ...], words: list[str]
) -> None:
    record = run(tmp_path, {"jobs": [1, 2, 3], "script": counting(tmp_path, *values)}, often=Often(2))
    rows = [line for line in printed(record).splitlines() if line.startswith("a ")]
    assert [row.partition("things/s")[2].strip() for row in rows] == words


# Going on ------------------------------------------------------------------------------------------------------------


def interrupted(runs: Path, settings: dict[str, Any], **more: Any) -> None:
    with pytest.raises(Interrupted):
        run(runs, settings, **more)


class Stops(LocalGuest):
    """Somebody presses Ctrl-C when the task of test `b` is to run, once."""

    once = True

    @override
    def run(self, argv: Sequence[str], **how: Any) -> Any:
        if Stops.once and any("test=b" in word for word in argv):
            Stops.once = False
            raise KeyboardInterrupt
        return super().run(argv, **how)


def test_what_was_measured_before_ctrl_c_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"tests": ["a", "b", "c"], "script": counting(tmp_path, 1, 2, 3)}
    monkeypatch.setattr(sys.modules[__name__], "LocalGuest", Stops)
    Stops.once = True
    runs = tmp_path / "runs"
    interrupted(runs, settings)
    [first] = complete(runs)
    assert (read(runs, first).incomplete, len(read(runs, first).samples)) == ("interrupted", 1)
    with pytest.raises(UsageError, match="no run of bed swept with these options was cut off"):
        run(runs, settings | {"jobs": 2}, resume=True)
    with pytest.raises(UsageError, match="was cut off"):
        run(runs, settings, resume=True, often=Often(2))
    record = run(runs, settings, resume=True)
    assert record.id == first
    assert (record.incomplete, [s.value for s in record.samples]) == ("", [1, 2, 3])
    assert (tmp_path / "ran").read_text().split() == ["a", "b", "c"]
    assert record.measured == ("a", "b", "c")
    assert [c.measurement for c in record.commands] == ["a", "b", "c"]
    assert complete(runs) == (first,)
    with pytest.raises(UsageError, match="was cut off"):
        run(runs, settings, resume=True)


def test_of_several_workloads_the_one_that_was_cut_off_goes_on_and_those_behind_it_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = [
        (Swept(), points(Swept(), {"tests": tests, "script": "echo 1"})) for tests in (["a"], ["a", "b"], ["a", "c"])
    ]
    with pytest.raises(UsageError, match="was cut off"):
        from_cut_off(tmp_path, "bed", todo, ONCE)
    run(tmp_path, {"tests": ["a"], "script": "echo 1"})
    monkeypatch.setattr(sys.modules[__name__], "LocalGuest", Stops)
    Stops.once = True
    interrupted(tmp_path, {"tests": ["a", "b"], "script": "echo 1"})
    assert from_cut_off(tmp_path, "bed", todo, ONCE) == todo[1:]
    with pytest.raises(UsageError, match="was cut off"):
        from_cut_off(tmp_path, "other", todo, ONCE)


def test_a_table_has_swept_sizes_as_people_write_them(tmp_path: Path) -> None:
    text = printed(run(tmp_path, {"block": ["4k", "1m"], "script": "echo 1"}))
    assert [line.split()[:3] for line in text.splitlines() if line.startswith("a ")] == [
        ["a", "many", "4KiB"],
        ["a", "many", "1MiB"],
    ]


def test_what_could_not_be_measured_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"tests": ["a", "x", "b"], "script": counting(tmp_path, 1, "none", 3, 4)}
    monkeypatch.setattr(sys.modules[__name__], "LocalGuest", Stops)
    Stops.once = True
    interrupted(tmp_path / "runs", settings)
    record = run(tmp_path / "runs", settings, resume=True)
    assert (tmp_path / "ran").read_text().split() == ["a", "x", "x", "b"]
    assert (record.faults, [s.value for s in record.samples]) == ((), [1, 3, 4])


def test_a_killed_run_goes_on_too(tmp_path: Path) -> None:
    """SIGKILL, for real: what it had is in the partial folder."""
    runs, flag = tmp_path / "runs", tmp_path / "flag"
    mark = f"VMLAB_TEST_{os.getpid()}_{time.monotonic_ns()}"
    script = f"echo $test >>{tmp_path}/ran; [ $test != b ] || [ -e {flag} ] || {{ touch {flag}; sleep 60; }}; echo 7"
    settings = {"tests": ["a", "b"], "script": script}
    code = (
        "import sys, json\nfrom pathlib import Path\nimport vmlab.lab.measuring.workload as w\nw._NOTE_EVERY_S = 0.0\n"
        "from test_sweeps import run\nrun(Path(sys.argv[1]), json.loads(sys.argv[2]), mark=sys.argv[3])\n"
    )
    where = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    going = subprocess.Popen(
        [sys.executable, "-c", code, str(runs), json.dumps(settings), mark], env=os.environ | {"PYTHONPATH": where}
    )
    assert until(flag.exists, Deadline.after(60))
    with pytest.raises(UsageError, match="was cut off"):  # it goes on
        run(runs, settings, resume=True, mark=mark)
    going.send_signal(signal.SIGKILL)
    going.wait()
    [partial] = incomplete(runs)
    record = run(runs, settings, resume=True, mark=mark)
    assert record.id == partial.name.removesuffix(".partial")
    assert [s.value for s in record.samples] == [7, 7]
    assert (tmp_path / "ran").read_text().split() == ["a", "b", "b"]
    assert (complete(runs), incomplete(runs)) == ((record.id,), ())
