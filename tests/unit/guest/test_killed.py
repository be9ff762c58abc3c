"""An out-of-memory kill is told as one; a command that was too late, or killed by somebody, is not."""

from typing import Any

import pytest

from vmlab.guest.killed import why_killed
from vmlab.guest.trouble import SshTrouble, Unreachable
from vmlab.runtime import process
from vmlab.runtime.process import Result

OOM = "[ 9.1] oom-kill:constraint=CONSTRAINT_NONE\n[ 9.2] Out of memory: Killed process 77 (dpkg) total-vm:1kB\n"
IN_A_GROUP = "[ 9.2] Memory cgroup out of memory: Killed process 78 (make)\n"


class Guest:
    def __init__(self, log: str | None) -> None:
        self.log = log

    def run(self, argv: tuple[str, ...], **_: Any) -> Result:
        assert argv == ("dmesg",)
        if self.log is None:
            raise Unreachable(
                SshTrouble.LOST,
                bed="b",
                node="n",
                address=None,
                port=22,
                user="root",
                folder=None,  # type: ignore[arg-type]
            )
        return Result(argv, 0, self.log, "")


@pytest.mark.parametrize(
    ("log", "status", "timed_out", "cause"),
    [
        (OOM, 137, False, "it was killed, because the guest ran out of memory ([ 9.2] Out of memory: Killed process "),
        (IN_A_GROUP, 137, False, "it was killed, because the guest ran out of memory ([ 9.2] Memory cgroup out of "),
        ("[ 1.0] fine\n", 137, False, "it was killed"),
        (None, 137, False, "it was killed"),
        (OOM, 137, True, ""),
        (OOM, 124, False, ""),
        (OOM, 1, False, ""),
    ],
)
def test_why(log: str | None, status: int, timed_out: bool, cause: str) -> None:
    said = why_killed(Guest(log), Result((), status, "", "", timed_out))  # type: ignore[arg-type]
    assert said.startswith(cause)
    assert bool(said) == bool(cause)
    assert ("memory" in said) == ("memory" in cause)


def test_a_command_here_that_a_signal_ended_says_which() -> None:
    assert process.run(("sh", "-c", "kill -KILL $$"), deadline_s=10).last_line == "ended by SIGKILL"
