"""Runs on disk, and running: with real processes, in place of a guest's those of this machine."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_guest import LocalGuest, nodes
from pydantic import BaseModel, ConfigDict
from rich.console import Console, RenderableType
from typing_extensions import override

from vmlab.errors import GuestError, HostError, ReferenceMissed, UsageError, WorkloadError, together
from vmlab.judgement.references import Reference, loads
from vmlab.lab.ground.leftovers import (
    end_exec,
    end_leftovers,
    end_leftovers_unless_held,
    end_run,
    end_task,
    exec_mark,
    mark,
)
from vmlab.lab.measuring.commands import Deeds
from vmlab.lab.measuring.participants import InGuest
from vmlab.lab.measuring.workload import run_workload, verdict
from vmlab.metrics import Metric, Sample, Unit
from vmlab.records.run import RunRecord, from_json, to_json
from vmlab.report.run import run_table
from vmlab.report.workloads import runs_table
from vmlab.runtime import process
from vmlab.runtime.wait import Deadline, until
from vmlab.store.index import opened
from vmlab.store.runs import RECORD, complete, incomplete, latest, open_run, read, remove_incomplete
from vmlab.workloads import Deed, Measurement, Node, Output, Service, Task, Workload
from vmlab.workloads._options import Point

AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
SPEED = Metric("speed", Unit.MIB_PER_S, "higher", "speed")


class GoneGuest(LocalGuest):
    """A guest that stops answering when it is asked to `die`."""

    def run(self, argv: Sequence[str], **how: Any) -> process.Result:
        if "die" in argv:
            raise GuestError("n1 does not answer", node="n1", stage="ssh")
        return super().run(argv, **how)


class OomGuest(LocalGuest):
    """A guest whose kernel log is this."""

    def __init__(self, mark: str, log: str) -> None:
        super().__init__(mark)
        self.log = log

    def run(self, argv: Sequence[str], **how: Any) -> process.Result:
        if "sh" in argv and any("dmesg" in word for word in argv):
            argv = [word.replace("dmesg 2>/dev/null", f"echo '{self.log}'") for word in argv]
        return super().run(argv, **how)


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Script(Workload[Options]):
    """Measurements as the test gives them; a task prints its figure."""

    name = "script"
    summary = "for tests"
    metrics = (SPEED,)
    packages = ("bash", "no-such-package")
    facts = {"home": ("sh", "-c", "echo here")}  # noqa: RUF012
    options = Options

    def __init__(self, *rounds: tuple[Measurement, ...]) -> None:
        self.rounds = rounds
        self.seen: Sequence[Node] = ()

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        return tuple(node.name for node in nodes)

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        self.seen = nodes
        return self.rounds

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Any) -> tuple[Sample, ...]:
        try:
            return (Sample(SPEED, float(outputs["client"].stdout), measurement.labels),)
        except ValueError as error:
            raise WorkloadError("no figure") from error

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Any, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        return tuple("slower than a snail" for sample in samples if sample.value < 1)


def task(script: str, *, name: str = "client", deadline_s: float = 20) -> Task:
    return Task(name=name, node="n1", argv=("sh", "-c", script), deadline_s=deadline_s)


def server(script: str, ready: str, **more: float) -> Service:
    argv = ("sh", "-c", script)
    times = {"linger_s": 0.1, "deadline_s": 60.0} | more
    return Service(name="server", node="n1", argv=argv, ready=("sh", "-c", ready), **times)  # type: ignore[arg-type]


def one(name: str, *tasks: Task, services: tuple[Service, ...] = ()) -> tuple[Measurement, ...]:
    return (Measurement(name=name, labels={"name": name, "size": "4096"}, tasks=tasks, services=services),)


class Lab:
    """One bed of one node, and what its runs said."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.mark = f"VMLAB_TEST_{os.getpid()}_{time.monotonic_ns()}"
        self.guest: LocalGuest = LocalGuest(self.mark)
        self.said: list[str] = []

    def run(
        self,
        *rounds: tuple[Measurement, ...],
        workload: Script | None = None,
        deeds: Deeds | None = None,
        references: Sequence[Reference] = (),
    ) -> RunRecord:
        return run_workload(
            {"n1": self.guest},
            {name: InGuest(node.metadata, {0: [2, 3]}) for name, node in nodes("n1").items()},
            workload or Script(*rounds),
            [Point({}, Options())],
            runs_dir=self.runs,
            accel="tcg",
            bed="bed",
            deeds=deeds,
            progress=self.said.append,
            references=references,
        )

    def left(self) -> list[str]:
        return [
            line
            for line in subprocess.run(["ps", "axeww"], check=True, capture_output=True, text=True).stdout.splitlines()
            if self.mark in line
        ]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "runs")


def deed(verb: str) -> Deed:
    return Deed(name="deed", verb=verb, argv=("vmlab", verb, "BED"), deadline_s=20)  # type: ignore[arg-type]


def test_a_deed_is_done_between_tasks_and_kept(lab: Lab) -> None:
    done: list[str] = []

    def do(asked: Deed) -> process.Result:
        done.append(asked.verb)
        return process.Result(asked.argv, 0, "null\n", "")

    record = lab.run(one("a", deed("failback"), task("echo 7")), deeds=do)
    assert done == ["failback"]
    assert [(c.task, c.node, c.argv[:2]) for c in record.commands] == [
        ("deed", "", ("vmlab", "failback")),
        ("client", "n1", ("sh", "-c")),
    ]
    assert (lab.runs / record.id / record.commands[0].stdout).read_text() == "null\n"
    assert [sample.value for sample in record.samples] == [7]


def test_a_deed_that_failed_ends_its_measurement(lab: Lab) -> None:
    record = lab.run(
        one("a", deed("up"), task("echo 7")), deeds=lambda d: process.Result(d.argv, 6, "", "oss1: dead\n")
    )
    assert record.faults == ("a: deed failed: oss1: dead",)
    assert [command.task for command in record.commands] == ["deed"]


def test_a_deed_needs_to_know_the_bed(lab: Lab) -> None:
    with pytest.raises(UsageError, match="script has to know the topology of bed") as caught:
        lab.run(one("a", deed("up")))
    assert caught.value.hint == "vmlab run FILE script"
    assert not list(lab.runs.glob("*"))


def test_a_run_is_recorded(lab: Lab, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    service = server(f"sleep 0.3; touch {flag}; sleep 60", f"test -e {flag}")
    workload = Script(one("a", task("echo 7; echo warning >&2"), services=(service,)), one("b", task("echo 8")))
    record = lab.run(workload=workload)
    assert verdict(record, lab.runs) is None
    assert [(s.metric.name, s.value, s.labels["name"]) for s in record.samples] == [
        ("speed", 7, "a"),
        ("speed", 8, "b"),
    ]
    assert [(c.measurement, c.task) for c in record.commands] == [("a", "client"), ("a", "server"), ("b", "client")]
    assert workload.seen[0].facts == {"home": "here\n"}
    assert record.nodes[0].kernel == os.uname().release
    assert record.nodes[0].machine == os.uname().machine
    assert list(record.nodes[0].packages) == ["bash"]
    assert record.nodes[0].vcpus == {"0": (2, 3)}
    assert lab.said == ["1/2 a", "2/2 b"]
    assert lab.left() == []
    [run] = complete(lab.runs)
    assert run == record.id
    folder = lab.runs / run
    assert (folder / record.commands[0].stdout).read_text() == "7\n"
    assert (folder / record.commands[0].stderr).read_text() == "warning\n"
    back = read(lab.runs, run)
    assert to_json(back) == to_json(record)
    assert json.loads((folder / RECORD).read_text()) == json.loads(json.dumps(to_json(record)))
    assert incomplete(lab.runs) == ()


def test_what_references_say_is_recorded(lab: Lab) -> None:
    text = "references:\n  - {metric: speed, labels: {name: a, size: 4KiB}, value: 10, unit: MiB/s, lower: -0.2}\n"
    text += "  - {metric: speed, labels: {name: b}, value: 10, unit: MiB/s, lower: -0.2}\n"
    record = lab.run(one("a", task("echo 7")), one("b", task("false")), references=loads(text, "refs.yaml"))
    assert [(v.verdict, v.value, v.lower, v.line) for v in record.verdicts] == [
        ("missed", 7, 8, 2),
        ("no figure", None, 8, 3),
    ]
    assert read(lab.runs, record.id).verdicts == record.verdicts


def test_everything_else_is_measured_and_then_it_fails(lab: Lab) -> None:
    record = lab.run(
        one("broken", task("echo no such device >&2; exit 3")),
        one("odd", task("echo seven")),
        one("slow", task("echo 0.5")),
        one("good", task("echo 7")),
    )
    assert record.faults == ("broken: client on n1 failed: no such device", "odd: no figure")
    assert record.problems == ("slow: slower than a snail",)
    assert [s.value for s in record.samples] == [0.5, 7]
    error = verdict(record, lab.runs)
    assert isinstance(error, ReferenceMissed)
    assert error.message == "script: of its measurements 1 did not behave as they must, 2 could not be measured"
    assert [type(cause) for cause in error.causes] == [ReferenceMissed, WorkloadError, WorkloadError]
    assert str(lab.runs / record.id) in error.hint
    assert complete(lab.runs) == (record.id,)


def test_of_many_errors_what_failed_under_test_counts_most() -> None:
    lab, product = WorkloadError("could not run"), ReferenceMissed("lost data")
    assert together([lab, product], "2 of 2 workloads failed").status == 8
    assert together([lab, lab], "2 of 2 workloads failed").status == 7
    gone = GuestError("gone", node="n1", stage="ssh")
    assert together([gone, lab, product], "3 of 3 workloads failed").status == 8


def test_a_missed_sanity_is_the_fault_of_what_is_measured(lab: Lab) -> None:
    error = verdict(lab.run(one("slow", task("echo 0.5")), one("good", task("echo 7"))), lab.runs)
    assert isinstance(error, ReferenceMissed)
    assert error.message == "slow: slower than a snail"


def test_deadlines(lab: Lab) -> None:
    record = lab.run(
        one("long", task("sleep 60", deadline_s=1)),
        one("never", task("echo 7"), services=(server("sleep 60", "false", ready_s=0.5),)),
        one("dead", task("echo 7"), services=(server("echo port in use >&2; exit 1", "false"),)),
    )
    assert record.faults == (
        "long: client on n1 did not end within 1 s",
        "never: server on n1 is not ready after 0.5 s",
        "dead: server on n1 failed: port in use",
    )
    assert record.commands[0].timed_out
    assert lab.left() == []


def test_a_guest_that_is_gone_is_a_fault_of_its_measurement(lab: Lab) -> None:
    lab.guest = GoneGuest(lab.mark)
    dying = Task(name="client", node="n1", argv=("die",), deadline_s=5)
    record = lab.run(one("gone", dying), one("good", task("echo 7")))
    assert record.faults == ("gone: n1 does not answer",)
    assert [s.value for s in record.samples] == [7]


def test_measurements_of_one_round_run_at_once(lab: Lab, tmp_path: Path) -> None:
    meet = "touch {0}/{1}; until [ -e {0}/{2} ]; do sleep 0.05; done; echo 7"
    both = one("a", task(meet.format(tmp_path, "a", "b"))) + one("b", task(meet.format(tmp_path, "b", "a")))
    assert len(lab.run(both).samples) == 2


def test_what_a_killed_run_left_running_is_ended(lab: Lab) -> None:
    left = subprocess.Popen(["sleep", "60"], env=os.environ | {lab.mark: "20261121T030000Z-bed-script/m/server"})
    lab.run(one("good", task("echo 7")))
    assert left.wait(timeout=5) == -9


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("server1", ["server10", "server", "aserver1"]),
        ("client[1-2]", ["client1", "client2", "client[1-2]0"]),
        ("a.b", ["a+b", "acb"]),
        ("$(touch x)", ["$(touch y)"]),
        ("*", ["anything"]),
        ("a'b\"c\\d", ["a'b\"c"]),
    ],
)
def test_ending_a_task_ends_just_that_one(lab: Lab, name: str, others: list[str]) -> None:
    begun = {
        task: subprocess.Popen(["sleep", "60"], env=os.environ | {lab.mark: mark("run", "m", task)})
        for task in (name, *others)
    }
    try:
        end_task(lab.guest, mark("run", "m", name))
        assert begun[name].wait(timeout=5) == -9
        assert [task for task in others if begun[task].poll() is not None] == []
        end_run({"n1": lab.guest}, "ru")
        assert [task for task in others if begun[task].poll() is not None] == []
        end_run({"n1": lab.guest}, "run")
        assert {begun[task].wait(timeout=5) for task in others} == {-9}
    finally:
        for process_ in begun.values():
            process_.kill()
            process_.wait()


def test_a_command_s_children_are_ended_with_it(lab: Lab) -> None:
    """Those that it begins while it is being ended, too."""
    forks = "while :; do sleep 60 & sleep 0.05; done"
    begun = subprocess.Popen(["sh", "-c", forks], env=os.environ | {lab.mark: mark("run", "m", "t")})
    try:
        assert until(lambda: len(lab.left()) > 2, Deadline.after(10))
        end_leftovers({"n1": lab.guest})
        assert begun.wait(timeout=5) == -9
        assert lab.left() == []
    finally:
        begun.kill()
        begun.wait()


def test_who_does_not_hold_the_bed_ends_nothing_of_a_run_that_goes_on(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMLAB_LOCK_DIR", str(tmp_path))
    hosts: Any = {"local": SimpleNamespace(name="local", uri="test:///default", local=True)}
    code = (
        "import sys, time\nfrom types import SimpleNamespace\nfrom vmlab.lab.ground.bed import locked\n"
        "with locked({'local': SimpleNamespace(name='local', uri='test:///default', local=True)}, 'ha'):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "held\n"
    begun = subprocess.Popen(["sleep", "60"], env=os.environ | {lab.mark: mark("run", "m", "t")})
    end_leftovers_unless_held(hosts, "ha", {"n1": lab.guest})
    assert begun.poll() is None
    run.kill()
    run.wait()
    run.stdout.close()
    end_leftovers_unless_held(hosts, "ha", {"n1": lab.guest})
    assert begun.wait(timeout=5) == -9


def test_what_exec_runs_is_no_leftover_and_is_ended_by_its_own_mark_only(lab: Lab) -> None:
    value = exec_mark()
    begun = subprocess.Popen(["sleep", "60"], env=os.environ | {lab.mark: value})
    try:
        assert until(lambda: len(lab.left()) > 0, Deadline.after(10))
        end_leftovers({"n1": lab.guest})
        end_exec({"n1": lab.guest}, exec_mark(), 30)
        assert begun.poll() is None
        assert end_exec({"n1": lab.guest}, value, 30) == []
        assert begun.wait(timeout=5) == -9
    finally:
        begun.kill()
        begun.wait()


class Breaks(Script):
    """Its second measurement breaks the run off."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(one("a", task("echo 7")), one("b", task("echo 8")), one("c", task("echo 9")))
        self.error = error

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Any) -> tuple[Sample, ...]:
        if measurement.name == "b":
            raise self.error
        return super().parse(options, measurement, outputs)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_what_was_measured_before_a_run_is_broken_off_is_kept_and_marked(
    lab: Lab, error: BaseException, said: str
) -> None:
    with pytest.raises(type(error)):
        lab.run(workload=Breaks(error))
    [run] = complete(lab.runs)
    record = read(lab.runs, run)
    assert record.incomplete == said
    assert [(s.labels["name"], s.value) for s in record.samples] == [("a", 7)]
    assert [c.measurement for c in record.commands] == ["a", "b"]
    assert (record.problems, record.faults) == ((), ())
    assert f"incomplete, it was broken off: {said}" in printed(record)
    assert f"incomplete: {said}" in tabled(runs_table([to_json(record) | {"figures": 0, "tags": (), "note": ""}]))
    assert lab.said[-1] == f"what was measured is kept: vmlab results show {run}; with --resume this command goes on"
    assert list((lab.runs / run).glob("reserve")) == []


def test_a_full_disk_breaks_a_run_off_and_its_record_still_finds_its_place(lab: Lab) -> None:
    """On a disk of its own, so that it is really full."""
    lab.runs.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", lab.runs], check=False).returncode:
        pytest.skip("nobody but root can mount a small disk")
    try:
        much = one("b", task("echo 8; head -c 1500000 /dev/zero | tr '\\0' x >&2"))
        with pytest.raises(HostError, match="No space left on device") as caught:
            lab.run(one("a", task("echo 7")), much, one("c", task("echo 9")))
        assert caught.value.hint == f"df -h {lab.runs}"
        [run] = complete(lab.runs)
        record = read(lab.runs, run)
        assert "No space left on device" in record.incomplete
        assert [(s.labels["name"], s.value) for s in record.samples] == [("a", 7)]
    finally:
        subprocess.run(["umount", lab.runs], check=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_what_runs_in_guests_and_keeps_what_was_measured(lab: Lab, tmp_path: Path, number: int) -> None:
    code = (
        "import signal, sys\nfrom pathlib import Path\nfrom vmlab.runtime.interrupt import be_interrupted\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\nbe_interrupted()\n"
        "from test_runs import Lab, one, server, task\n"
        "lab = Lab(Path(sys.argv[1]))\nlab.mark = lab.guest.mark = sys.argv[2]\n"
        "quick, slow = task('echo 7'), task('echo going >' + sys.argv[3] + '; sleep 60')\n"
        "at_once = one('b', slow, services=(server('sleep 60', 'true'),)) + one('c', task('sleep 60'))\n"
        "lab.run(one('a', quick), at_once)\n"
    )
    flag = tmp_path / "flag"
    where = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(lab.runs), lab.mark, str(flag)], env=os.environ | {"PYTHONPATH": where}
    )
    assert until(flag.exists, Deadline.after(30))
    run.send_signal(number)
    run.wait(timeout=30)
    assert lab.left() == []
    [name] = complete(lab.runs)
    record = read(lab.runs, name)
    assert (record.incomplete, record.faults) == ("interrupted", ())
    assert [s.value for s in record.samples] == [7]
    assert "server" in {command.task for command in record.commands}


def test_a_command_that_the_kernel_killed_for_want_of_memory_did_not_time_out(lab: Lab) -> None:
    lab.guest = OomGuest(lab.mark, "[    1.000000] Out of memory: Killed process 1 (old) total-vm:1kB, anon-rss:1kB")
    record = lab.run(one("a", task("kill -9 $$")))
    (fault,) = record.faults
    assert fault.startswith("a: client on n1 was killed after ")
    assert fault.endswith(" s, neither by vmlab nor, as its log says, by its kernel for want of memory")
    assert not record.commands[0].timed_out
    later = float(Path("/proc/uptime").read_text().split()[0]) + 3600  # however long it takes until then
    lab.guest = OomGuest(
        lab.mark,
        f"[{later:12.6f}] Out of memory: Killed process 812 (ior) total-vm:9000kB, anon-rss:900kB, file-rss:0kB",
    )
    record = lab.run(one("a", task("kill -9 $$")))
    assert record.faults == ("a: client on n1 failed: n1 ran out of memory, and its kernel killed ior",)
    # mpirun ends otherwise when one of its tasks is killed.
    record = lab.run(one("a", task("echo 'process rank 1 on node n1 exited on signal 9 (Killed).'; exit 1")))
    assert record.faults == ("a: client on n1 failed: n1 ran out of memory, and its kernel killed ior",)


def test_a_command_that_takes_sigkill_at_its_deadline_did_time_out(lab: Lab) -> None:
    record = lab.run(one("a", task("trap '' TERM; sleep 60; sleep 60", deadline_s=1)))
    assert record.faults == ("a: client on n1 did not end within 1 s",)


def test_a_service_that_failed_meanwhile_is_the_cause(lab: Lab, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    service = server(f"touch {flag}; sleep 0.3; echo could not allocate MR >&2; exit 1", f"test -e {flag}")
    record = lab.run(one("a", task("sleep 0.6; echo the other side is gone: error; exit 1"), services=(service,)))
    assert record.faults == (
        "a: server on n1 failed: could not allocate MR; client on n1 failed: the other side is gone: error",
    )


def test_notes_are_shown_and_kept(lab: Lab) -> None:
    class Noted(Script):
        @override
        def notes(self, options: Options, measurement: Measurement, outputs: Any) -> tuple[str, ...]:
            return ("of the client's cache",)

    record = lab.run(workload=Noted(one("a", task("echo 7"))))
    assert record.notes == ("a: of the client's cache",)
    assert read(lab.runs, record.id).notes == record.notes
    assert "note: a: of the client's cache" in printed(record)


def test_too_many_commands_at_once_for_so_few_files_are_refused_before_any(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmlab.runtime.descriptors.room", lambda: 100)
    with pytest.raises(HostError, match="50 commands of script at once are 106 open files, and this process may have"):
        lab.run(one("a", task("echo 1")) * 50)
    assert not lab.runs.exists()


def test_a_measurement_of_many_nodes_without_a_pattern_has_files_all_the_same(tmp_path: Path) -> None:
    nodes = ",".join(f"client{number}" for number in range(1, 1000, 2))
    with open_run(tmp_path, at=datetime.now(UTC), bed="b", workload="ior") as run:
        names = [run.keep(f"shared.1MiB.{nodes}{end}.ior-write", "out", "err")[0] for end in ("", ",x")]
        assert [(run.folder / name).read_text() for name in names] == ["out", "out"]
    assert names[0] != names[1]
    assert all(name.startswith("shared.1MiB.client1_client3") and name.endswith(".ior-write.out") for name in names)


def test_nothing_to_measure(lab: Lab) -> None:
    with pytest.raises(WorkloadError, match="nothing can be measured: a: too old"):
        lab.run((Measurement(name="a", labels={}, skipped="too old"),))
    assert not lab.runs.exists()


def record_of(run: str) -> RunRecord:
    nothing: tuple[Any, ...] = ((), (), (), (), (), ())
    return RunRecord(run, "ha", "rdma", {}, "kvm", False, "0", "", "", *nothing)  # noqa: FBT003


def test_ids_sort_by_time_and_never_clash(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        with open_run(tmp_path, at=AT, bed="ha", workload="rdma") as run:
            ids.append(run.id)
            run.keep("../x/.y", "out", "")
            assert complete(tmp_path) == tuple(ids[:-1])
            run.finish(record_of(run.id))
    assert ids == ["20261121T030000Z-ha-rdma", "20261121T030000Z-ha-rdma-2"]
    assert complete(tmp_path) == tuple(ids)
    assert sorted(path.name for path in (tmp_path / ids[0]).iterdir()) == ["_x_.y.err", "_x_.y.out", RECORD]


def test_a_run_that_fails_before_it_printed_anything_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path, at=AT, bed="ha", workload="rdma"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_is_incomplete_and_one_that_goes_on_is_not(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from vmlab.store.runs import open_run\n"
        "with open_run(Path(sys.argv[1]), at=datetime.now(UTC), bed='ha', workload='rdma') as run:\n"
        "    run.keep('a', 'output', '')\n    print('going', flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "going\n"
    [partial] = tmp_path.glob("*.partial")
    assert incomplete(tmp_path) == ()
    assert not remove_incomplete(partial)
    other.kill()
    other.wait()
    other.stdout.close()
    assert incomplete(tmp_path) == (partial,)
    assert complete(tmp_path) == ()
    assert remove_incomplete(partial)
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_unknown_records(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no run 'x'"):
        read(tmp_path, "x")
    (tmp_path / "x").mkdir()
    for content in ("", "[]", '{"schema": 2}', '{"schema": 1}', '{"schema": 1, "nodes": [{}]}'):
        (tmp_path / "x" / RECORD).write_text(content)
        with pytest.raises(WorkloadError, match="cannot be read"):
            read(tmp_path, "x")
    with pytest.raises(ValueError, match="schema"):
        from_json(None)


def test_records_of_older_and_of_newer_vmlabs_are_read() -> None:
    content = to_json(record_of("x"))
    newer = ("notes", "incomplete", "points", "trials", "warm_up", "measured", "topology", "hosts", "load")
    older = {key: value for key, value in content.items() if key not in newer}
    assert from_json(older) == record_of("x")
    command = {"measurement": "m", "task": "t", "node": "n", "argv": ["a"], "started": "", "seconds": 1.5, "status": 0}
    command |= {"timed_out": False, "stdout": "o", "stderr": "e"}
    sample = {"metric": "s", "value": 1.0, "unit": "MiB/s", "better": "higher", "group": "s", "labels": {}}
    node = {"name": "n", "roles": [], "image": "", "kernel": "", "packages": {}, "addresses": {}, "devices": {}}
    found = from_json(older | {"commands": [command], "samples": [sample], "nodes": [node | {"vcpus": {}}]})
    assert (found.commands[0].late_s, found.samples[0].trial, found.nodes[0].tools) == (0, 1, {})
    assert from_json(content | {"host": {"cpus": 2}}) == record_of("x")
    for wrong in ({"nodes": 5}, {"samples": [5]}, {"samples": [{}]}, {"problems": [5]}, {"bed": None}):
        with pytest.raises(ValueError, match=r"\w"):
            from_json(content | wrong)


def test_a_workload_has_units_of_its_own(lab: Lab) -> None:
    own = Metric("retransmits", "segments", "lower", "tcp")

    class Counts(Script):
        metrics = (own,)

        @override
        def parse(self, options: Options, measurement: Measurement, outputs: Any) -> tuple[Sample, ...]:
            return (Sample(own, float(outputs["client"].stdout), measurement.labels),)

    record = lab.run(workload=Counts(one("a", task("echo 12"))))
    assert read(lab.runs, record.id) == record
    assert "RETRANSMITS" in (text := printed(record))
    assert "segments" in text
    content = json.loads((lab.runs / record.id / RECORD).read_text())
    assert content["samples"][0]["unit"] == "segments"
    content["samples"][0]["unit"] = None
    with pytest.raises(ValueError, match=r"samples.0.metric.unit"):
        from_json(content)


def test_one_damaged_record_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    for _ in range(3):
        with open_run(tmp_path, at=AT, bed="ha", workload="rdma") as run:
            run.finish(record_of(run.id))
    ids = complete(tmp_path)
    for damaged, content in ((ids[0], b'{"schema": 1}'), (ids[2], b"\xff\xfe")):
        (tmp_path / damaged / RECORD).write_bytes(content)
    with opened(tmp_path) as index:
        found, wrong = [entry.id for entry in index.select()], index.damaged()
    assert found == [ids[1]]
    assert [str(tmp_path / name / RECORD) in error.message for name, error in zip(ids[::2], wrong, strict=True)]
    record, newer = latest(tmp_path)
    assert record is not None
    assert record.id == ids[1]
    assert [ids[2] in error.message for error in newer] == [True]
    assert latest(tmp_path / "none") == (None, ())


def printed(record: RunRecord, **more: bool) -> str:
    return tabled(run_table(record, **more))


def tabled(what: RenderableType) -> str:
    console = Console(width=180, record=True, file=io.StringIO())
    console.print(what)
    return console.export_text()


def test_the_table_has_figures_as_columns_or_sizes(lab: Lab) -> None:
    record = lab.run(one("a", task("echo 7.1234")), one("b", task("echo 1234.5")))
    text = printed(record)
    assert "bed: script speed (tcg)" in text
    assert "MiB/s" in text
    assert "4KiB" in text
    assert "7.12" in text
    assert "1,234" in text
    assert "the guests ran without KVM" in text
    larger = Measurement(name="c", labels={"name": "a", "size": "1048576"}, tasks=(task("echo 0.2"),))
    text = printed(lab.run(one("a", task("echo 7")), (larger,)))
    assert "MiB/s by message size" in text
    assert [line.split() for line in text.splitlines() if line.startswith(("NAME", "a "))] == [
        ["NAME", "4KiB", "1MiB"],
        ["a", "7", "0.2"],
    ]
    assert "problem: c: slower than a snail" in text


def test_an_output_that_was_stopped_is_no_failure(lab: Lab) -> None:
    seen: dict[str, Output] = {}

    class Keeps(Script):
        @override
        def sanity(self, options: Options, measurement: Measurement, outputs: Any, samples: Any) -> tuple[str, ...]:
            seen.update(outputs)
            return ()

    lab.run(workload=Keeps(one("a", task("echo 7"), services=(server("sleep 60", "true"),))))
    assert seen["server"].stopped
    assert not seen["server"].timed_out
    assert seen["client"].ok


def test_link_in_place_of_a_partial_run_is_none(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "runs").mkdir()
    link = tmp_path / "runs" / "20260101T000000Z-ha-rdma.partial"
    link.symlink_to(tmp_path / "other")
    assert incomplete(tmp_path / "runs") == ()
    assert not remove_incomplete(link)
    assert (tmp_path / "other").is_dir()
