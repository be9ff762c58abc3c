"""Jobs over nodes: in place of the guests processes of this machine, which really wait, start and are ended."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from local_guest import LocalGuest, nodes
from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from vmlab.errors import GuestError, HostError, WorkloadError
from vmlab.lab.ground.leftovers import end_leftovers, end_run
from vmlab.lab.measuring.files import Folder
from vmlab.lab.measuring.start import CommonStart
from vmlab.lab.measuring.workload import run_workload
from vmlab.metrics import Metric, Sample
from vmlab.records.run import RunRecord
from vmlab.runtime import process
from vmlab.runtime.wait import Deadline, until
from vmlab.store.runs import complete, read
from vmlab.values.size import Bytes
from vmlab.workloads import Deed, Job, Measurement, Node, Outputs, Service, Task, Workload, by_node
from vmlab.workloads._options import Point

AT = Metric("at", "s", "lower", "at")
NAMES = ("n1", "n2", "n3")


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Jobs(Workload[Options]):
    """Each task `run.NODE` prints a figure."""

    name = "jobs"
    summary = "for tests"
    metrics = (AT,)
    options = Options

    def __init__(self, *steps: Task | Job, services: tuple[Service, ...] = ()) -> None:
        self.measurement = Measurement(name="m", labels={"l": "v"}, tasks=steps, services=services)
        self.seen: Outputs = {}

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        return tuple(node.name for node in nodes)

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        return ((self.measurement,),)

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        figures = {n: re.fullmatch(r"[0-9.]+\n", o.stdout) for n, o in by_node("run", outputs).items()}
        return tuple(Sample(AT, float(found[0]), {"node": n}) for n, found in figures.items() if found)

    @override
    def sanity(self, options: Options, measurement: Measurement, outputs: Outputs, samples: Any) -> tuple[str, ...]:
        self.seen = outputs
        return ()


@dataclass
class Lab:
    runs: Path
    mark: str = field(default_factory=lambda: f"VMLAB_TEST_{time.monotonic_ns()}")
    guests: dict[str, LocalGuest] = field(default_factory=dict)
    workload: Jobs = field(init=False)

    def run(self, *steps: Task | Job, services: tuple[Service, ...] = ()) -> RunRecord:
        self.workload = Jobs(*steps, services=services)
        guests = {name: self.guests.get(name) or LocalGuest(self.mark) for name in NAMES}
        return run_workload(
            guests,
            nodes(*NAMES),
            self.workload,
            [Point({}, Options())],
            runs_dir=self.runs,
            accel="tcg",
            bed="bed",
            deeds=None,
            progress=lambda _: None,
        )

    def left(self) -> list[str]:
        said = subprocess.run(["ps", "axeww"], check=True, capture_output=True, text=True).stdout
        return [line for line in said.splitlines() if self.mark in line]

    def nodes_with(self, sign: str) -> int:
        """On how many nodes a command that has `sign` in it runs: those of vmlab itself, which say it too, apart."""
        lines = [line for line in self.left() if sign in line and "from test_jobs" not in line]
        return sum(any(f"/run.{name}" in line for line in lines) for name in NAMES)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "runs")


def task(node: str, script: str, *, name: str = "run", deadline_s: float = 20) -> Task:
    return Task(name=f"{name}.{node}", node=node, argv=("sh", "-c", script), deadline_s=deadline_s)


def on_all(script: str, *, name: str = "run") -> tuple[Task, ...]:
    return tuple(task(node, script.replace("NODE", node), name=name) for node in NAMES)


NOW = "date +%s.%N"


def test_all_are_prepared_and_then_begin_together(lab: Lab) -> None:
    """That a task begins after the last preparation has ended is told by clocks that the commands read themselves."""
    prepare = on_all(f"sleep 0.$(( $(echo NODE | tr -d n) * 3 )); {NOW}", name="prepare")
    record = lab.run(Job(prepare=prepare, tasks=on_all(NOW)))
    assert record.faults == ()
    prepared = [float(o.stdout) for o in by_node("prepare", lab.workload.seen).values()]
    began = [sample.value for sample in record.samples]
    assert [sample.labels["node"] for sample in record.samples] == list(NAMES)
    assert max(prepared) < min(began)
    late = [command.late_s for command in record.commands if command.task.startswith("run.")]
    assert min(late) == 0
    assert 0 < max(late) < 5
    assert (lab.runs / record.id / "m.run.n2.out").read_text() == f"{lab.workload.seen['run.n2'].stdout}"
    assert lab.left() == []


class SlowGuest(LocalGuest):
    """Commands come to it late."""

    late_s = 1.5

    @override
    def run(self, argv: Sequence[str], **how: Any) -> process.Result:
        if any("vmlab: here" in word for word in argv):
            time.sleep(self.late_s)
        return super().run(argv, **how)


def test_nobody_begins_before_the_last_is_there(lab: Lab) -> None:
    lab.guests["n3"] = SlowGuest(lab.mark)
    begin = time.time()
    record = lab.run(Job(tasks=on_all(NOW)))
    assert min(sample.value for sample in record.samples) - begin > 1.5
    assert all(command.seconds < 1.5 for command in record.commands)


def test_who_is_not_there_in_time_is_named_and_nothing_begins(lab: Lab, tmp_path: Path) -> None:
    lab.guests["n3"] = SlowGuest(lab.mark)
    flag = tmp_path / "flag"
    record = lab.run(Job(tasks=on_all(f"touch {flag}"), gather_s=0.5))
    assert record.faults == ("m: run.n3 on n3 was not there within 0.5 s",)
    assert not flag.exists()
    assert lab.left() == []


def test_what_cannot_be_prepared_on_one_node_is_begun_on_none(lab: Lab, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    bad = (*on_all("sleep 60", name="prepare")[:2], task("n3", "echo no space >&2; exit 1", name="prepare"))
    record = lab.run(Job(prepare=bad, tasks=on_all(f"touch {flag}")), task("n1", f"touch {flag}", name="after"))
    assert record.faults == ("m: prepare.n3 on n3 failed: no space",)
    assert not flag.exists()
    assert {(c.task, lab.workload.seen[c.task].stopped) for c in record.commands} == {
        ("prepare.n1", True),
        ("prepare.n2", True),
        ("prepare.n3", False),
    }


def test_a_node_s_failure_ends_the_others_and_what_they_printed_is_kept(lab: Lab) -> None:
    begin = time.monotonic()
    tasks = (*on_all("echo going; sleep 60 & sleep 60")[:2], task("n3", "echo no such device >&2; exit 3"))
    record = lab.run(Job(tasks=tasks))
    assert time.monotonic() - begin < 20
    assert record.faults == ("m: run.n3 on n3 failed: no such device",)
    seen = lab.workload.seen
    assert [(seen[f"run.{n}"].stdout, seen[f"run.{n}"].stopped) for n in NAMES] == [
        ("going\n", True),
        ("going\n", True),
        ("", False),
    ]
    assert lab.left() == []


def test_all_that_failed_in_the_same_moment_are_told(lab: Lab) -> None:
    record = lab.run(Job(tasks=on_all("sleep 0.$(echo NODE | tr -d n); echo NODE is wrong >&2; exit 1")))
    assert record.faults == (
        "m: run.n1 on n1 failed: n1 is wrong; run.n2 on n2 failed: n2 is wrong; run.n3 on n3 failed: n3 is wrong",
    )
    many = tuple(Task(name=f"run{i}.n1", node="n1", argv=("false",), deadline_s=5) for i in range(6))
    assert lab.run(Job(tasks=many)).faults[0].endswith("; and 3 more")


class GoneGuest(LocalGuest):
    """It does not answer any more when it is to wait."""

    @override
    def run(self, argv: Sequence[str], **how: Any) -> process.Result:
        if any("vmlab: here" in word for word in argv):
            raise GuestError("n2 does not answer", node="n2", stage="ssh")
        return super().run(argv, **how)


def test_a_guest_that_is_gone_ends_the_others(lab: Lab) -> None:
    lab.guests["n2"] = GoneGuest(lab.mark)
    record = lab.run(Job(tasks=on_all("sleep 60")))
    assert record.faults == ("m: n2 does not answer",)
    assert lab.left() == []


def test_who_waits_for_a_start_that_is_called_off_is_not_blamed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = CommonStart.call_off

    def called_off(start: CommonStart) -> None:
        real(start)
        time.sleep(1)  # in which all who waited end

    monkeypatch.setattr(CommonStart, "call_off", called_off)
    lab.guests["n2"] = GoneGuest(lab.mark)
    assert lab.run(Job(tasks=on_all("sleep 60"))).faults == ("m: n2 does not answer",)


def test_a_deadline_counts_from_the_start(lab: Lab) -> None:
    slow = lab.guests["n3"] = SlowGuest(lab.mark)
    slow.late_s = 4.5  # later than the deadline
    tasks = (task("n1", "sleep 60", deadline_s=4), task("n3", "sleep 0.2; echo 7", deadline_s=4))
    record = lab.run(Job(tasks=tasks))
    assert record.faults == ("m: run.n1 on n1 did not end within 4 s",)
    assert {c.task: c.timed_out for c in record.commands} == {"run.n1": True, "run.n3": False}
    assert lab.workload.seen["run.n3"].stdout == "7\n"


class OomGuest(LocalGuest):
    """Its kernel's log is this."""

    @override
    def run(self, argv: Sequence[str], **how: Any) -> process.Result:
        later = float(Path("/proc/uptime").read_text().split()[0]) + 3600
        log = f"[{later:12.6f}] Out of memory: Killed process 8 (fio) total-vm:9kB"
        return super().run([word.replace("dmesg 2>/dev/null", f"echo '{log}'") for word in argv], **how)


def test_want_of_memory_on_one_node_is_read_from_its_kernel_s_log(lab: Lab) -> None:
    lab.guests["n2"] = OomGuest(lab.mark)
    record = lab.run(Job(tasks=(task("n1", "sleep 60"), task("n2", "kill -9 $$"))))
    assert record.faults == ("m: run.n2 on n2 failed: n2 ran out of memory, and its kernel killed fio",)


def test_services_run_beside_a_job_and_what_they_failed_of_counts(lab: Lab, tmp_path: Path) -> None:
    def service(script: str) -> Service:
        ready = ("test", "-e", str(tmp_path / "flag"))
        return Service(
            name="server", node="n1", argv=("sh", "-c", f"touch {tmp_path}/flag; {script}"), deadline_s=60, ready=ready,
            linger_s=0.1,
        )  # fmt: skip

    record = lab.run(Job(tasks=on_all("echo 7")), services=(service("sleep 60"),))
    assert (record.faults, len(record.samples), lab.workload.seen["server"].stopped) == ((), 3, True)
    failing = service("sleep 0.4; echo cannot allocate >&2; exit 1")
    record = lab.run(Job(tasks=on_all("sleep 0.8; echo reset >&2; exit 1")), services=(failing,))
    assert record.faults[0].startswith("m: server on n1 failed: cannot allocate; run.n1 on n1 failed: reset; ")


def test_tasks_that_begin_far_apart_are_noted(lab: Lab) -> None:
    """A guest that stands still after it said that it is there: its command begins when it goes on."""

    class Stands(LocalGuest):
        @override
        def run(self, argv: Sequence[str], **how: Any) -> process.Result:
            late = [w.replace('[ "$word" = ', 'sleep 2 && [ "$word" = ') for w in argv]
            return super().run(late, **how)

    lab.guests["n2"] = Stands(lab.mark)
    record = lab.run(Job(tasks=on_all("sleep 0.1; echo 7")))
    (note,) = record.notes
    found = re.match(r"m: what was to begin together began within ([0-9.]+) s, ", note)
    assert found is not None, note
    assert float(found[1]) >= 0.5
    assert lab.run(Job(tasks=(task("n1", "echo 7"),))).notes == ()


def test_a_task_of_a_job_reads_nothing(lab: Lab) -> None:
    record = lab.run(Job(tasks=on_all("wc -c")))
    assert [sample.value for sample in record.samples] == [0, 0, 0]


@pytest.mark.parametrize(
    "tasks",
    [(), (Deed(name="d", verb="up", argv=("up",), deadline_s=1),)],
)
def test_a_job_is_of_tasks_of_nodes(tasks: tuple[Task, ...]) -> None:
    with pytest.raises(ValueError, match="a job is of tasks of nodes"):
        Job(tasks=tasks)


def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"several tasks of the measurement m are called run.n1"):
        Measurement(name="m", labels={}, tasks=(task("n1", "true"), Job(tasks=on_all("true"))))


def test_killed_before_the_word_nothing_begins(tmp_path: Path) -> None:
    """The pipe by which the word would have come is closed by the kernel."""
    from vmlab.lab.measuring.start import CommonStart  # noqa: PLC0415

    flag = tmp_path / "flag"
    with CommonStart(1) as start:
        waits = subprocess.Popen(
            start.waiting(("touch", str(flag))), stdin=start.word(0), stdout=subprocess.PIPE, text=True
        )
        assert waits.stdout is not None
        start.hear(0)(waits.stdout.readline().strip())
        assert start.gather(Deadline.after(5), lambda: False) == []
    assert waits.wait(timeout=5) == 1
    waits.stdout.close()
    assert not flag.exists()


def test_so_many_that_wait_are_so_many_pipes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    many = tuple(Task(name=f"run{i}.n1", node="n1", argv=("true",), deadline_s=5) for i in range(20))
    monkeypatch.setattr("vmlab.runtime.descriptors.room", lambda: 80)
    with pytest.raises(HostError, match="20 commands of jobs at once are 86 open files"):
        lab.run(Job(tasks=many))
    assert not lab.runs.exists()


@pytest.mark.parametrize("waiting", [False, True], ids=["running", "waiting"])
def test_ctrl_c_ends_a_job_and_keeps_what_it_printed(lab: Lab, waiting: bool) -> None:
    """While its tasks run, and while they wait for one that is late."""
    late = "lab.guests['n3'] = Late(lab.mark)\n" if waiting else ""
    code = (
        "import signal, sys, time\nfrom pathlib import Path\nfrom test_jobs import Job, Lab, LocalGuest, on_all, task\n"
        "class Late(LocalGuest):\n"
        "    def run(self, argv, **how):\n"
        "        if any('vmlab: here' in word for word in argv): time.sleep(5)\n"
        "        return super().run(argv, **how)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"lab = Lab(Path(sys.argv[1]), sys.argv[2])\n{late}"
        "lab.run(task('n1', 'echo 7', name='first'), Job(tasks=on_all('echo going; sleep 60')))\n"
    )
    where = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(lab.runs), lab.mark],
        env=os.environ | {"PYTHONPATH": where},
        stderr=subprocess.PIPE,
        text=True,
    )
    sign = "vmlab: here" if waiting else "sleep 60"
    assert until(lambda: lab.nodes_with(sign) == (2 if waiting else 3), Deadline.after(60))
    begin = time.monotonic()
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert "what ran in the guests was ended" in said, said
    assert time.monotonic() - begin < 30
    assert lab.left() == []
    record = read(lab.runs, complete(lab.runs)[0])
    assert (record.incomplete, record.faults, record.measured) == ("interrupted", (), ())
    printed = [(lab.runs / record.id / c.stdout).read_text() for c in record.commands]
    assert printed == ["7\n", *(["", "", ""] if waiting else ["going\n"] * 3)]


# Files ---------------------------------------------------------------------------------------------------------------


def folders(lab: Lab) -> Path:
    return Path("/var/tmp") / lab.mark


def with_files(node: str, script: str, **more: Any) -> Task:
    return Task(name=f"run.{node}", node=node, argv=("sh", "-c", script), deadline_s=20, **more)


def test_files_are_put_and_brought_and_their_folder_goes(lab: Lab) -> None:
    odd = "'\"$x`\\ü\n" * 2000
    script = "ls; cat job.txt >out.a.log; printf '\\377\\000' >out.b.log; mkdir out.c.log; echo 5 >&2"
    record = lab.run(
        with_files("n1", script, files={"job.txt": odd, "bytes": bytes(range(256))}, brings=("out.*.log", "none")),
        task("n1", "cat bytes | od -An -tu1 | tr -d '\\n'; pwd >&2", name="after"),
        task("n2", "ls -A | wc -l", name="elsewhere"),
    )
    seen = lab.workload.seen
    assert seen["run.n1"].stdout.split() == ["bytes", "job.txt"]
    assert seen["run.n1"].text("out.a.log") == odd
    assert seen["run.n1"].files == {"out.a.log": odd.encode(), "out.b.log": b"\xff\0"}
    with pytest.raises(WorkloadError, match="there is no none"):
        seen["run.n1"].text("none")
    assert [int(word) for word in seen["after.n1"].stdout.split()] == list(range(256))
    assert seen["after.n1"].stderr.startswith(f"{folders(lab)}/{record.id}/")
    [command] = [c for c in record.commands if c.files]
    assert {name: (lab.runs / record.id / kept).read_bytes() for name, kept in command.files.items()} == dict(
        seen["run.n1"].files
    )
    assert not folders(lab).exists()


def test_each_node_of_a_job_has_its_own_files(lab: Lab) -> None:
    """In place of three guests one machine: each reads what was put last, so they are told by their own names."""
    tasks = tuple(
        with_files(
            n, f"sleep 0.2; echo $(cat {n}.in); echo {n} >{n}.out", files={f"{n}.in": n[1]}, brings=(f"{n}.out",)
        )
        for n in NAMES
    )
    record = lab.run(Job(tasks=tasks))
    assert [sample.value for sample in record.samples] == [1, 2, 3]
    assert [lab.workload.seen[f"run.{n}"].files for n in NAMES] == [{f"{n}.out": f"{n}\n".encode()} for n in NAMES]


def test_files_of_a_task_that_failed_are_brought_and_one_too_large_is_a_fault(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = lab.run(with_files("n1", "echo half >log; echo wrong >&2; exit 1", brings=("log",)))
    assert record.faults == ("m: run.n1 on n1 failed: wrong",)
    assert lab.workload.seen["run.n1"].text("log") == "half\n"
    monkeypatch.setattr("vmlab.lab.measuring.files.LARGEST", Bytes(1000))
    (fault,) = lab.run(with_files("n1", "head -c 1001 /dev/zero >log", brings=("log",))).faults
    assert fault == "m: n1: files cannot be brought (each may have 1000B): log is too large"


def test_of_many_nodes_that_take_no_files_the_reasons_are_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmlab.lab.measuring.files._PUT", "echo disk full >&2; exit 1")
    record = lab.run(Job(tasks=tuple(with_files(n, "true", files={"a": ""}) for n in NAMES)))
    (fault,) = record.faults
    assert fault.startswith(
        "m: files cannot be put on the nodes; a cannot be put on n1: disk full; a cannot be put on n2"
    )
    assert fault.endswith("; and 1 more")


def test_a_folder_that_is_somebody_else_s_is_not_used(lab: Lab, tmp_path: Path) -> None:
    folders(lab).symlink_to(tmp_path)
    guest = LocalGuest(lab.mark)
    with pytest.raises(WorkloadError, match=r"n1: no folder for files of the run: .* is not root's own folder"):
        Folder("run", "m").make(guest, "n1")
    assert list(tmp_path.iterdir()) == []
    end_leftovers({"n1": guest})  # as each run does before anything else
    Folder("run", "m").make(guest, "n1")
    Folder("run", "m").put(guest, "n1", {"a": "b"})
    [written] = folders(lab).glob("run/*/a")
    assert (written.stat().st_mode & 0o777, folders(lab).stat().st_mode & 0o777) == (0o600, 0o700)
    end_leftovers({"n1": guest})


def test_files_of_a_killed_run_are_removed_by_the_next_command(lab: Lab) -> None:
    (folders(lab) / "run1" / "m").mkdir(parents=True)
    (folders(lab) / "run2").mkdir()
    (folders(lab) / "run1" / "m" / "data").write_text("left")
    guest = LocalGuest(lab.mark)
    end_run({"n1": guest}, "run1")
    assert [path.name for path in folders(lab).iterdir()] == ["run2"]
    end_leftovers({"n1": guest})
    assert not folders(lab).exists()


def test_after_sigkill_the_next_run_ends_a_job_and_removes_its_files(lab: Lab) -> None:
    """For real: vmlab is killed while two tasks run in its folder and a third one waits for them."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom test_jobs import Job, Lab, SlowGuest, with_files\n"
        "lab = Lab(Path(sys.argv[1]), sys.argv[2])\n"
        "tasks = [with_files(n, 'sleep 60 & sleep 60', files={'in': 'x'}) for n in ('n1', 'n2')]\n"
        "lab.run(Job(prepare=tuple(tasks), tasks=(with_files('n3', 'true'),)))\n"
    )
    where = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    killed = subprocess.Popen(
        [sys.executable, "-c", code, str(lab.runs), lab.mark], env=os.environ | {"PYTHONPATH": where}
    )
    assert until(lambda: lab.nodes_with("sleep 60") == 2, Deadline.after(60))
    killed.kill()
    killed.wait()
    assert folders(lab).exists()
    assert until(lambda: lab.left() != [], Deadline.after(5))
    record = lab.run(task("n1", "echo 7"))
    assert len(record.samples) == 1
    assert not folders(lab).exists()
    assert lab.left() == []


@pytest.mark.parametrize("name", ["a/b", "..", "../x", ""])
def test_files_have_plain_names(name: str) -> None:
    with pytest.raises(ValueError, match="is no plain name of a file"):
        with_files("n1", "true", files={name: ""})
