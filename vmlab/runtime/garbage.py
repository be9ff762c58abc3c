"""When Python looks for garbage in circles: not while thousands of values are made that have none."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_blocks = 0


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for circles in the `with` block, of all threads: each goes through whatever is alive.

    For blocks of seconds: what has circles keeps its memory as long. What was made in it is old afterwards: it is not
    gone through at the next moment, but only when much has been made besides.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _blocks  # noqa: PLW0603  the collector is the process's, too
    with _lock:
        if gc.isenabled():
            gc.disable()
            _blocks = 1
        elif _blocks:
            _blocks += 1


def _leave() -> None:
    global _blocks  # noqa: PLW0603
    with _lock:
        if _blocks:
            _blocks -= 1
            if not _blocks:
                gc.freeze()  # all that is alive leaves the generations that are searched,
                gc.unfreeze()  # and comes back as the oldest
                gc.enable()
