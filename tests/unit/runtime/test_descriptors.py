"""Open files: what may be open is counted, what cannot be is refused before it is begun, and threads fit into it."""

import contextlib
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.guest.child import stream
from vmlab.runtime.descriptors import OF_A_COMMAND, OF_A_THREAD, require, room
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline


def opened() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def twenty_more() -> Iterator[None]:
    """This process may have so many more open files, and nobody else needs any meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened() + 20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("twenty_more")
def test_too_many_are_refused_before_anything_is_begun() -> None:
    assert room() == 20
    require(20, "connections to 14 guests")
    with pytest.raises(HostError, match="connections to 500 guests are 506 open files, and this") as caught:
        require(506, "connections to 500 guests")
    assert caught.value.hint.startswith("as root: ulimit -n ")
    assert int(caught.value.hint.split()[-1]) >= opened() + 506


@pytest.mark.usefixtures("twenty_more")
def test_no_more_threads_than_may_run_commands() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(_: int) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        said = stream(("sh", "-c", "sleep 0.05; echo done"), deadline=Deadline.after(60), stdin="x").stdout
        with lock:
            running -= 1
        return said

    assert each(work, range(30), jobs=16, failed="not all ran") == ["done\n"] * 30
    assert most == 20 // OF_A_THREAD


def test_a_command_that_runs_has_two() -> None:
    before, number, ready = opened(), 10, threading.Semaphore(0)
    go = threading.Event()

    def run() -> None:
        command, end = ("sh", "-c", "echo; sleep 60"), Deadline.after(60)
        with contextlib.suppress(HostError):
            stream(command, deadline=end, on_line=lambda _: ready.release(), watch=leave)

    def leave() -> None:
        if go.is_set():
            raise HostError("enough")

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire()
    has = opened() - before
    go.set()
    for thread in threads:
        thread.join()
    assert has == number * OF_A_COMMAND
