"""An out-of-memory kill is told as one; a command that was too late, or killed by somebody, is not.

The question is asked of this machine's shell; only `dmesg` is a double.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from vmlab.errors import GuestError
from vmlab.guest.killed import out_of_memory, was_killed, why_killed
from vmlab.runtime import process
from vmlab.runtime.process import Result

SINCE_419 = "Out of memory: Killed process 77 (dpkg) total-vm:1kB, anon-rss:1kB"
BEFORE_419 = "Out of memory: Kill process 77 (dpkg) score 873 or sacrifice child"
IN_A_GROUP = "Memory cgroup out of memory: Killed process 77 (dpkg)"
TOLD = "it was killed, because the guest ran out of memory: its kernel killed dpkg"


class Guest:
    """This machine with a kernel's log of its own; without one, a guest that cannot be reached."""

    def __init__(self, programs: Path, log: str | None) -> None:
        self.programs = programs
        self.log = log

    def run(self, argv: Sequence[str], *, deadline_s: float, as_root: bool = False) -> Result:
        assert as_root
        if self.log is None:
            raise GuestError("gone", node="n1", stage="ssh")
        (self.programs / "log").write_text(self.log)
        dmesg = self.programs / "dmesg"
        dmesg.write_text('#!/bin/sh\ncat "${0%/*}/log"\n')
        dmesg.chmod(0o755)
        return process.run(argv, deadline_s=deadline_s, env={"PATH": f"{self.programs}:/usr/bin:/bin"})


@pytest.fixture
def guest(tmp_path: Path) -> Callable[[str | None], Guest]:
    return lambda log: Guest(tmp_path, log)


def ago(seconds: float, line: str) -> str:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return f"[{uptime - seconds:12.6f}] {line}\n"


@pytest.mark.parametrize("line", [SINCE_419, BEFORE_419, IN_A_GROUP])
def test_the_kernels_words_of_all_times(guest: Callable[[str | None], Guest], line: str) -> None:
    log = ago(50, "fine") + ago(5, line) + ago(4, "fine")
    assert why_killed(guest(log), Result((), 137, "", "", seconds=10)) == TOLD


def test_a_kernel_that_prints_no_times_is_believed(guest: Callable[[str | None], Guest]) -> None:
    assert why_killed(guest(f"{SINCE_419}\n"), Result((), 137, "", "", seconds=1)) == TOLD


def test_what_the_kernel_killed_before_the_command_began_is_another_story(
    guest: Callable[[str | None], Guest],
) -> None:
    log = ago(100, SINCE_419)  # less than any machine is up that comes here
    assert why_killed(guest(log), Result((), 137, "", "", seconds=10)) == "it was killed"
    assert out_of_memory({"n1": guest(log)}, 10) == ""


@pytest.mark.parametrize("log", ["[    1.000000] fine\n", "", None])
def test_somebody_else_killed_it(guest: Callable[[str | None], Guest], log: str | None) -> None:
    assert why_killed(guest(log), Result((), 137, "", "", seconds=10)) == "it was killed"


@pytest.mark.parametrize(("status", "timed_out"), [(137, True), (124, False), (1, False)])
def test_what_ended_otherwise_was_not_killed(
    guest: Callable[[str | None], Guest], status: int, *, timed_out: bool
) -> None:
    assert why_killed(guest(ago(1, SINCE_419)), Result((), status, "", "", timed_out, seconds=10)) == ""


def test_of_several_guests_those_are_named_that_killed(guest: Callable[[str | None], Guest], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    guests = {"n1": guest(ago(1, SINCE_419)), "n2": Guest(tmp_path / "other", ""), "n3": guest(None)}
    assert out_of_memory(guests, 10) == "n1 ran out of memory, and its kernel killed dpkg"


def test_mpirun_may_say_it_of_a_task() -> None:
    assert was_killed(1, "", "process rank 1 on node n1 exited on signal 9 (Killed).")
    assert was_killed(1, "slurmstepd: error: Detected 1 oom_kill event in StepId=1.0")
    assert was_killed(137)
    assert not was_killed(1, "no room left")


def test_a_command_knows_what_it_took() -> None:
    assert process.run(("sleep", "0.2"), deadline_s=10).seconds >= 0.2


def test_a_command_here_that_a_signal_ended_says_which() -> None:
    assert process.run(("sh", "-c", "kill -KILL $$"), deadline_s=10).last_line == "ended by SIGKILL"
