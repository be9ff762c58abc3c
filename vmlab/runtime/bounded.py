"""Calls into C code that may not come back: given up after a time, though nothing can end them."""

import threading
from collections import deque
from collections.abc import Callable
from math import inf
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from vmlab.runtime.wait import Deadline

T = TypeVar("T")


class Late(Exception):
    """The call has not come back in time; it goes on by itself, and nobody hears of its end."""


class _Worker:
    """A thread that is used again: to start one costs more than most calls. The interpreter's end does not wait."""

    def __init__(self) -> None:
        self._inbox: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[tuple[Any, BaseException | None]]]]
        self._inbox = SimpleQueue()
        threading.Thread(target=self._work, name="bounded call", daemon=True).start()

    def do(self, work: Callable[[], Any]) -> "SimpleQueue[tuple[Any, BaseException | None]]":
        answer: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._inbox.put((work, answer))
        return answer

    def _work(self) -> None:
        while True:
            work, answer = self._inbox.get()
            told: tuple[Any, BaseException | None]
            try:
                told = work(), None
            except BaseException as error:  # noqa: BLE001 (whatever it is, it is the caller's)
                told = None, error
            del work
            _idle.append(self)
            answer.put(told)
            del told


_idle: deque[_Worker] = deque()


def _nothing() -> None:
    """Nobody wants to know."""


def within(
    seconds: float, work: Callable[[], T], *, every_s: float = inf, meanwhile: Callable[[], None] = _nothing
) -> T:
    """What `work` returns or raises. Raises Late when it takes longer than `seconds`; an interrupt is heard at once.

    As long as it has not come back, `meanwhile` is called every `every_s` seconds.
    """
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    answer, deadline = worker.do(work), Deadline.after(min(seconds, threading.TIMEOUT_MAX))
    while True:
        try:
            value, error = answer.get(timeout=min(every_s, deadline.left_s))
            break
        except Empty:
            if deadline.passed:
                raise Late from None
        meanwhile()
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback has this frame: a circle that would keep what the call held
    return value  # type: ignore[no-any-return]
