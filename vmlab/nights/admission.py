"""Which entries may begin: their guests' memory, all of it, fits into what their host had when the night began."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol


class Needs(Protocol):
    """What is needed of `nights.night.Entry`."""

    @property
    def host(self) -> str:
        """Where it is."""

    @property
    def memory_kib(self) -> int:
        """Of all its guests."""


def admitted(
    waiting: Sequence[Needs], holding: Iterable[Needs], room_kib: Mapping[str, int | None], *, running: bool
) -> tuple[int, ...]:
    """The places of those that may begin now, in their order; who does not fit lets smaller ones pass.

    `holding` are those that have their memory, `room_kib` is what there was, by host: None where nobody tells. If none
    is `running` the first may begin in any case: nothing would come of waiting, and `up` says what is missing.
    """
    left = dict(room_kib)
    for one in holding:
        _take(left, one)
    found: list[int] = []
    for place, one in enumerate(waiting):
        free = left.get(one.host)
        if free is None or one.memory_kib <= free or not (running or found):
            found.append(place)
            _take(left, one)
    return tuple(found)


def _take(left: dict[str, int | None], one: Needs) -> None:
    free = left.get(one.host)
    if free is not None:
        left[one.host] = free - one.memory_kib
