"""Who may begin: never more memory than there is, and never nobody."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from vmlab.nights.admission import admitted


@dataclass(frozen=True)
class Bed:
    host: str
    memory_kib: int


BEDS = st.lists(st.builds(Bed, st.sampled_from(["", "other"]), st.integers(1, 100)), max_size=8)
ROOM = st.fixed_dictionaries({"": st.one_of(st.none(), st.integers(0, 300)), "other": st.integers(0, 300)})


@given(BEDS, BEDS, ROOM)
def test_what_begins_beside_others_fits(waiting: list[Bed], holding: list[Bed], room: dict[str, int | None]) -> None:
    chosen = admitted(waiting, holding, room, running=True)
    assert list(chosen) == sorted(set(chosen))
    for host, free in room.items():
        begun = sum(waiting[place].memory_kib for place in chosen if waiting[place].host == host)
        if free is None or not begun:
            continue
        assert begun + sum(bed.memory_kib for bed in holding if bed.host == host) <= free


@given(BEDS, BEDS, ROOM)
def test_nobody_who_fits_is_left_out(waiting: list[Bed], holding: list[Bed], room: dict[str, int | None]) -> None:
    chosen = admitted(waiting, holding, room, running=True)
    there = [*holding, *(waiting[place] for place in chosen)]
    for place, bed in enumerate(waiting):
        free = room[bed.host]
        if place not in chosen and free is not None:
            assert bed.memory_kib + sum(one.memory_kib for one in there if one.host == bed.host) > free


@given(BEDS.filter(bool), BEDS, ROOM)
def test_where_nobody_runs_somebody_begins(waiting: list[Bed], kept: list[Bed], room: dict[str, int | None]) -> None:
    assert admitted(waiting, kept, room, running=False)
