"""vmlab's own commands as processes: each ends by itself, by SIGTERM as by Ctrl-C, and with us if we are killed."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.distribution import install_hint
from vmlab.runtime.log import log
from vmlab.runtime.wait import Deadline, now, until

_LOOK_EVERY_S = 0.2
_GRACE_S = 120.0

VMLAB = (sys.executable, "-m", "vmlab")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left. `late`: it was ended at its limit; `called_off`: because nobody wants it any more."""

    status: int
    seconds: float
    late: bool = False
    called_off: bool = False


def run_own(
    argv: Sequence[str],
    *,
    stdout: Path,
    stderr: Path,
    limit_s: float,
    called_off: Callable[[], bool],
    at_limit: Callable[[], None] = lambda: None,
    program: Sequence[str] = VMLAB,
    grace_s: float = _GRACE_S,
) -> Ended:
    """Run one, with its output in two files, the second of which grows from command to command.

    `at_limit` is called before it is ended because its time is over. The thread that calls must live as long as the
    command: the kernel ends a command with the thread that began it. Raises HostError if it cannot be begun.
    """
    command = ("setpriv", "--pdeathsig", "TERM", *program, *argv)
    log.debug("$ %s", shlex.join(command))
    begin = now()
    try:
        with stdout.open("wb") as out, stderr.open("ab") as err:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
    except FileNotFoundError as error:
        raise HostError("`setpriv` is not installed", hint=install_hint("setpriv")) from error
    except OSError as error:
        raise HostError(f"{error.filename or stdout}: {error.strerror}") from error
    late = off = False
    try:
        deadline = Deadline.after(limit_s)
        ended = until(lambda: process.poll() is not None or called_off(), deadline, every_s=_LOOK_EVERY_S)
        if process.poll() is None:
            late, off = not ended, ended
            if late:
                at_limit()
            _end(process, grace_s)
    except BaseException:
        _end(process, 0)
        raise
    status = process.returncode
    log.debug("= %s%s", status, " (limit)" if late else "")
    return Ended(status, round(now() - begin, 3), late, off)


def _end(process: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """As by Ctrl-C: what it has is kept; and if that takes too long, by force."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    if not until(lambda: process.poll() is not None, Deadline.after(grace_s), every_s=_LOOK_EVERY_S):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
