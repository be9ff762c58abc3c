"""Parallel work that finishes everything and then raises one error with one cause per failure."""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from vmlab.errors import VmlabError, together
from vmlab.runtime.descriptors import OF_A_THREAD, room
from vmlab.runtime.interrupt import PutOff

# libvirtd works on five requests of a client at a time (max_client_requests); more threads only wait, and cost.
LIBVIRT_JOBS = 5

T = TypeVar("T")
R = TypeVar("R")


def each(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    jobs: int,
    failed: str,
    cut_short: Callable[[], None] | None = None,
) -> list[R]:
    """`work` for every item on at most `jobs` threads, and no more than may run commands; results in the items' order.

    Errors of the tree are collected until all work is over and raised as one, `failed` being the sum's message;
    any other exception is a bug and is raised as it is. After an interrupt nothing more is begun. What has begun is
    left to itself, but where it must not go on beside what is done about the interrupt: `cut_short` makes it end,
    and then it is waited for.
    """
    todo = deque(enumerate(items))
    results: dict[int, R] = {}
    errors: dict[int, VmlabError] = {}
    threads = max(1, min(jobs, len(todo), room() // OF_A_THREAD)) if todo else 0

    def take() -> None:
        # One thread for each item would cost more than the work on many an item.
        while todo:
            try:
                index, item = todo.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                results[index] = work(item)
            except VmlabError as error:
                errors[index] = error

    workers = _Workers(take)
    try:
        workers.begin(threads)
        workers.wait()
    except KeyboardInterrupt:
        todo.clear()
        if cut_short is not None:
            cut_short()
            workers.wait()
        raise
    if errors:
        raise together([errors[index] for index in sorted(errors)], failed)
    return [results[index] for index in sorted(results)]


class _Workers:
    """Threads that all do the same until they have nothing left to do; an interrupt may end the wait for them."""

    def __init__(self, take: Callable[[], None]) -> None:
        self._take = take
        self._begun = 0
        self._over: list[BaseException | None] = []  # of each that is, the bug that ended it
        self._word: SimpleQueue[None] = SimpleQueue()  # that another is

    def begin(self, threads: int) -> None:
        """Start so many."""
        with PutOff():
            for self._begun in range(1, threads + 1):
                Thread(target=self._work, name=f"worker {self._begun}", daemon=True).start()

    def wait(self) -> None:
        """Return when all are over. Raises what one of them did not expect."""
        while len(self._over) < self._begun:
            self._word.get()
        for bug in filter(None, self._over):
            raise bug

    def _work(self) -> None:
        bug = None
        try:
            self._take()
        except BaseException as error:  # noqa: BLE001 (raised by `wait`)
            bug = error
        self._over.append(bug)
        self._word.put(None)


def wait_for(futures: Collection[Future[Any]]) -> None:
    """Return when all are over, whatever became of them; an interrupt ends this, and leaves them as they are."""
    over: SimpleQueue[Future[Any]] = SimpleQueue()
    with PutOff():
        for future in futures:
            future.add_done_callback(over.put)
    for _ in futures:
        over.get()
