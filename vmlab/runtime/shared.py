"""Work that many threads want done at once, done once for all of them."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Whoever calls gets what was begun after he called. Who comes while it is at work shares the next one."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turn = threading.Lock()
        self._next: Future[T] | None = None

    def __call__(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, or that of another caller's, which must mean the same."""
        with self._guard:
            theirs = self._next
            if theirs is None:
                ours = self._next = Future[T]()
        if theirs is not None:
            return theirs.result()
        try:
            with self._turn:
                with self._guard:
                    self._next = None
                ours.set_result(work())
        except BaseException as error:
            ours.set_exception(error)
            raise
        return ours.result()
