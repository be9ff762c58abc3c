"""The one place that starts processes. Every command is an argv with a deadline, logged so that it can be pasted."""

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.distribution import install_hint
from vmlab.runtime.files import open_regular
from vmlab.runtime.log import log
from vmlab.runtime.wait import now


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished process left. `status` is negative for a signal; `timed_out`: it was killed at its deadline.

    `seconds` is how long it took, 0 where nobody has measured it.
    """

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    timed_out: bool = False
    seconds: float = field(default=0.0, compare=False)

    @property
    def ok(self) -> bool:
        """It ended in time with status 0."""
        return self.status == 0 and not self.timed_out

    @property
    def last_line(self) -> str:
        """The last thing it said, standard error first: what an error message quotes."""
        lines = self.stderr.strip().splitlines() or self.stdout.strip().splitlines()
        if lines or self.status >= 0:
            return lines[-1] if lines else f"status {self.status}"
        return f"ended by {signal.Signals(-self.status).name}"


def run(
    argv: Sequence[str],
    *,
    deadline_s: float,
    stdin: str | bytes | None = None,
    env: dict[str, str] | None = None,
) -> Result:
    """Run to the end; a non-zero status is returned, never raised. Output is decoded leniently.

    The process gets its own group, which is killed as a whole at the deadline or when we are interrupted.
    Raises HostError if the program is not installed.
    """
    command = tuple(argv)
    log.debug("$ %s", shlex.join(command))
    begin = now()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env} if env else None,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise HostError(f"`{command[0]}` is not installed", hint=install_hint(command[0])) from error
    except PermissionError as error:
        raise HostError(f"`{command[0]}` cannot be run: {error.strerror}") from error
    data = stdin.encode() if isinstance(stdin, str) else stdin
    timed_out = False
    try:
        out, err = process.communicate(data, timeout=deadline_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        _kill_group(process)
        out, err = process.communicate()
    except BaseException:
        _kill_group(process)
        process.wait()
        raise
    stdout, stderr = (text.decode(errors="replace") for text in (out, err))
    result = Result(command, process.returncode, stdout, stderr, timed_out, now() - begin)
    log.debug("= %s%s", result.status, " (deadline)" if timed_out else "")
    return result


def begin_apart(argv: Sequence[str], *, output: Path) -> None:
    """Start what stays when we are gone: in a session of its own, nowhere on the disk, what it says in `output`.

    Raises HostError if it cannot be started.
    """
    command = tuple(argv)
    log.debug("$ %s &", shlex.join(command))
    try:
        descriptor = open_regular(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
    except OSError as error:
        raise HostError(f"`{command[0]}` cannot be started: {error.strerror}") from error


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
