"""Parallel work that finishes everything and then raises one error with one cause per failure."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from vmlab.errors import VmlabError, together

# libvirtd works on five requests of a client at a time (max_client_requests); more threads only wait, and cost.
LIBVIRT_JOBS = 5

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Iterable[T], *, jobs: int, failed: str) -> list[R]:
    """`work` for every item on at most `jobs` threads; results in the items' order.

    Errors of the tree are collected until all work is over and raised as one, `failed` being the sum's message;
    any other exception is a bug and is raised as it is.
    """
    todo = list(items)
    if not todo:
        return []
    pool = ThreadPoolExecutor(max_workers=max(1, min(jobs, len(todo))))
    futures = [pool.submit(work, item) for item in todo]
    try:
        errors = [e for f in futures if isinstance(e := f.exception(), VmlabError)]
        results = [f.result() for f in futures if not isinstance(f.exception(), VmlabError)]
    finally:
        # After an interrupt nothing more is begun, and nobody waits for what has begun.
        pool.shutdown(wait=False, cancel_futures=True)
    if errors:
        raise together(errors, failed)
    return results
