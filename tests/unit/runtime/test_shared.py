"""Work that is shared: each caller gets what began after the call."""

import threading

import pytest

from vmlab.runtime.shared import Shared


class Slow:
    """Counts, and begins only when it may."""

    def __init__(self) -> None:
        self.begun = 0
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        self.entered.release()
        self.go.acquire()
        return number


def test_who_comes_while_it_is_at_work_shares_the_next_one() -> None:
    shared, slow = Shared[int](), Slow()
    got: list[int] = []
    waiting = [threading.Thread(target=lambda: got.append(shared(slow))) for _ in range(9)]
    waiting[0].start()
    slow.entered.acquire()
    for thread in waiting[1:]:
        thread.start()
    while shared._next is None or len(shared._next._condition._waiters) < 7:  # all but the one that will do it
        threading.Event().wait(0.01)
    slow.go.release()
    slow.entered.acquire()
    slow.go.release()
    for thread in waiting:
        thread.join()
    assert (slow.begun, got.count(1), got.count(2)) == (2, 1, 8)


def test_one_after_the_other_each_has_its_own() -> None:
    shared, numbers = Shared[int](), iter(range(10))
    assert [shared(lambda: next(numbers)) for _ in range(3)] == [0, 1, 2]


def test_what_it_raises_is_raised_and_the_next_is_another() -> None:
    shared = Shared[int]()
    with pytest.raises(ZeroDivisionError):
        shared(lambda: 1 // 0)
    assert shared(lambda: 1) == 1
