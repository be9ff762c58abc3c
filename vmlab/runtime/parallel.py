"""Parallel work that finishes everything and then raises one error with one cause per failure."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from vmlab.errors import VmlabError, together
from vmlab.runtime.descriptors import OF_A_THREAD, room

# libvirtd works on five requests of a client at a time (max_client_requests); more threads only wait, and cost.
LIBVIRT_JOBS = 5

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Iterable[T], *, jobs: int, failed: str) -> list[R]:
    """`work` for every item on at most `jobs` threads, and no more than may run commands; results in the items' order.

    Errors of the tree are collected until all work is over and raised as one, `failed` being the sum's message;
    any other exception is a bug and is raised as it is.
    """
    todo = deque(enumerate(items))
    results: dict[int, R] = {}
    errors: dict[int, VmlabError] = {}
    if not todo:
        return []
    threads = max(1, min(jobs, len(todo), room() // OF_A_THREAD))

    def worker() -> None:
        # One future for each item would cost more than the work on many an item.
        while todo:
            try:
                index, item = todo.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                results[index] = work(item)
            except VmlabError as error:
                errors[index] = error

    pool = ThreadPoolExecutor(max_workers=threads)
    workers = [pool.submit(worker) for _ in range(threads)]
    try:
        for future in workers:
            future.exception()
    finally:
        # After an interrupt nothing more is begun, and nobody waits for what has begun.
        todo.clear()
        pool.shutdown(wait=False, cancel_futures=True)
    for future in workers:
        future.result()
    if errors:
        raise together([errors[index] for index in sorted(errors)], failed)
    return [results[index] for index in sorted(results)]
