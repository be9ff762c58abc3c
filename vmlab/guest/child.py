"""Processes that must not outlive us, not even when we are killed by SIGKILL, and that are watched while they run.

The kernel kills them (`PR_SET_PDEATHSIG`, set by util-linux's setpriv) when the *thread* that started them ends, so a
process that is to outlive a function call gets a thread of its own.
"""

import contextlib
import os
import queue
import selectors
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from vmlab.errors import HostError, VmlabError
from vmlab.runtime.distribution import install_hint
from vmlab.runtime.log import log
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline, now

Watch = Callable[[], None]
"""Called a few times a second while something is waited for; what it raises ends the wait."""

_WATCH_EVERY_S = 0.25
_CHUNK = 65536


def tied(argv: Sequence[str]) -> tuple[str, ...]:
    """The same command, killed by the kernel when the thread that starts it is gone."""
    return ("setpriv", "--pdeathsig", "KILL", *argv)


def no_watch() -> None:
    """Nothing to watch."""


def stream(
    argv: Sequence[str],
    *,
    deadline: Deadline,
    stdin: "str | IO[bytes]" = "",
    on_line: Callable[[str], None] = lambda _: None,
    watch: Watch = no_watch,
) -> Result:
    """Run to the end, handing over each line of standard output as it comes, without its newline.

    `stdin` is what it reads, or the open file (a pipe) from which; that stays open here.

    Whatever `on_line` or `watch` raises ends the process. At the deadline nothing is waited for: ssh may have given
    our pipes to the process that shares its connection, which holds them open as long as the guest likes.
    """
    command = tuple(argv)
    begin = now()
    if not isinstance(stdin, str):
        process = _start(command, stdin, subprocess.PIPE)
    elif stdin:
        with tempfile.TemporaryFile() as source:
            source.write(stdin.encode())
            source.seek(0)
            process = _start(command, source, subprocess.PIPE)
    else:
        process = _start(command, subprocess.DEVNULL, subprocess.PIPE)
    output = {"stdout": bytearray(), "stderr": bytearray()}
    told = 0
    timed_out = False
    try:
        for name, data in _output(process, deadline, watch):
            output[name] += data
            while name == "stdout" and (end := output[name].find(b"\n", told)) >= 0:
                on_line(output[name][told:end].decode(errors="replace"))
                told = end + 1
        try:
            process.wait(0.0 if deadline.passed else deadline.left_s)
        except subprocess.TimeoutExpired:
            timed_out = True
    finally:
        _kill(process)
    out, err = (bytes(part).decode(errors="replace") for part in output.values())
    log.debug("= %s%s", process.returncode, " (deadline)" if timed_out else "")
    return Result(command, process.returncode, out, err, timed_out, now() - begin)


def attached(argv: Sequence[str], watch: Watch) -> int:
    """Run to the end with our terminal, input and output; its status, negative for a signal.

    What `watch` raises ends it. Keys that interrupt are the command's business, not ours.
    """
    log.debug("$ %s", shlex.join(argv))
    # SIGTERM, also when we are killed: ssh then gives the terminal back as it was.
    process = _spawned(("setpriv", "--pdeathsig", "TERM", *argv))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while True:
            try:
                return process.wait(_WATCH_EVERY_S)
            except subprocess.TimeoutExpired:
                watch()
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


class Background:
    """A process with an open standard input that runs until `end`, or until we die in whatever way.

    Its standard error goes to the file `complaints`. When it was heard once (`says`) it costs one descriptor only.
    """

    def __init__(self, argv: Sequence[str], complaints: Path) -> None:
        """Start it. Raises HostError if setpriv is not installed."""
        self._complaints = complaints
        started: queue.SimpleQueue[subprocess.Popen[bytes] | VmlabError] = queue.SimpleQueue()
        # A daemon thread: an interpreter that ends does not wait for it, and its end kills the process.
        threading.Thread(target=self._keep, args=(tuple(argv), started), name="keeper", daemon=True).start()
        process = started.get()
        if isinstance(process, VmlabError):
            raise process
        self._process = process

    def _keep(self, argv: tuple[str, ...], started: "queue.SimpleQueue[subprocess.Popen[bytes] | VmlabError]") -> None:
        try:
            with self._complaints.open("wb") as complaints:
                process = _start(argv, subprocess.PIPE, complaints)
        except OSError as error:
            started.put(HostError(f"{self._complaints}: {error.strerror}"))
            return
        except VmlabError as error:
            started.put(error)
            return
        started.put(process)
        process.wait()

    @property
    def alive(self) -> bool:
        """It still runs."""
        return self._process.poll() is None

    def says(self, line: str, deadline: Deadline, watch: Watch = no_watch) -> bool:
        """Wait until it prints `line`; False if it ended or the deadline passed before."""
        wanted, seen = line.encode() + b"\n", b"\n"
        for _, data in _output(self._process, deadline, watch):
            seen += data
            if b"\n" + wanted in seen:
                if self._process.stdout is not None:
                    self._process.stdout.close()
                return True
        return False

    def complaints(self) -> str:
        """What it wrote to standard error so far."""
        with contextlib.suppress(OSError):
            return self._complaints.read_bytes().decode(errors="replace")
        return ""

    def end(self, patience_s: float = 1.0) -> None:
        """Ask it to end (SIGTERM), and kill it if it does not within `patience_s`."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        _kill(self._process)


def _start(argv: tuple[str, ...], stdin: int | IO[bytes], stderr: int | IO[bytes]) -> "subprocess.Popen[bytes]":
    log.debug("$ %s", shlex.join(argv))
    return _spawned(tied(argv), stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True)


def _spawned(argv: tuple[str, ...], **how: Any) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(argv, **how)
    except FileNotFoundError as error:
        raise HostError("`setpriv` is not installed", hint=install_hint("setpriv")) from error


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _output(process: "subprocess.Popen[bytes]", deadline: Deadline, watch: Watch) -> Iterator[tuple[str, bytes]]:
    """Pieces of ("stdout" | "stderr", bytes) until both are closed or the deadline passed."""
    with selectors.PollSelector() as selector:  # which needs no descriptor of its own
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, name)
        next_watch = Deadline.after(_WATCH_EVERY_S)
        while selector.get_map() and not deadline.passed:
            for key, _ in selector.select(min(next_watch.left_s, deadline.left_s)):
                if data := os.read(key.fd, _CHUNK):
                    yield key.data, data
                else:
                    selector.unregister(key.fileobj)
            if next_watch.passed:
                watch()
                next_watch = Deadline.after(_WATCH_EVERY_S)
