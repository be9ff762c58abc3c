"""The index of the runs: what it finds, and that the folders are what counts."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vmlab.errors import UsageError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.records.run import RunNode, RunRecord, to_json
from vmlab.records.selection import Selection, parse_moment, parse_where
from vmlab.store import about
from vmlab.store.index import FILE, opened
from vmlab.store.runs import RECORD, remove

BANDWIDTH = Metric("bandwidth", Unit.MIB_PER_S, "higher", "bandwidth")
NODE = RunNode("c1", ("client",), "demo", "6.1.0-9", {}, {}, {}, {}, lustre="2.15.5")
BEGUN = datetime(2026, 8, 1, 2, tzinfo=UTC)


def record(number: int, **changes: object) -> RunRecord:
    begun = BEGUN + timedelta(days=number)
    run = RunRecord(
        id=f"{begun:%Y%m%dT%H%M%SZ}-ha-ior",
        bed="ha",
        workload="ior",
        options={"api": "POSIX", "check": True, "transfer_sizes": ["1MiB", "10KB"]},
        accel="kvm",
        soft=False,
        vmlab="0.1.0",
        started=begun.isoformat(),
        ended=begun.isoformat(),
        nodes=(NODE,),
        commands=(),
        samples=(Sample(BANDWIDTH, 5.0, {"size": "1048576", "nodes": "c[1-4]"}),),
        problems=(),
        faults=(),
        skipped=(),
    )
    return replace(run, **changes)  # type: ignore[arg-type]


def keep(runs: Path, *records: RunRecord) -> None:
    for one in records:
        (runs / one.id).mkdir(parents=True)
        (runs / one.id / RECORD).write_text(json.dumps(to_json(one)))


def found(runs: Path, wanted: Selection | None = None) -> list[str]:
    with opened(runs) as index:
        return [entry.id for entry in index.select(wanted or Selection())]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    keep(tmp_path, record(0), record(1), record(2, bed="other", id="20260803T020000Z-other-ior"))
    return tmp_path


def day(number: int) -> str:
    return record(number).id


@pytest.mark.parametrize(
    ("wanted", "days"),
    [
        (Selection(), [0, 1, 2]),
        (Selection(beds=frozenset({"ha", "x"})), [0, 1]),
        (Selection(workloads=frozenset({"rdma"})), []),
        (Selection(since=BEGUN + timedelta(days=1)), [1, 2]),
        (Selection(until=BEGUN + timedelta(days=1)), [0]),
        (Selection(last=2), [1, 2]),
        (Selection(where={"size": "1048576"}), [0, 1, 2]),
        (Selection(where={"transfer_sizes": "10000", "api": "POSIX", "check": "true"}), [0, 1, 2]),
        (Selection(where={"lustre": "2.15.5", "kernel": "6.1.0-9", "accel": "kvm", "vmlab": "0.1.0"}), [0, 1, 2]),
        (Selection(where={"size": "4096"}), []),
        (Selection(where={"size": "1048576' OR '1'='1"}), []),
    ],
)
def test_runs_are_found_by_what_is_known_of_them(runs: Path, wanted: Selection, days: list[int]) -> None:
    names = [day(0), day(1), "20260803T020000Z-other-ior"]
    assert found(runs, wanted) == [names[number] for number in days]


def test_a_bed_of_a_farms_job_is_found_by_both_names(runs: Path) -> None:
    keep(runs, record(7, bed="j12-ha"), record(8, bed="j13-hb"))
    assert found(runs, Selection(beds=frozenset({"ha"}))) == [day(0), day(1), day(7)]
    assert found(runs, Selection(beds=frozenset({"j12-ha"}))) == [day(7)]


def test_what_is_told_is_the_record_without_its_long_parts(runs: Path) -> None:
    with opened(runs) as index:
        told = index.select()[0].told
    assert (told["bed"], told["figures"], told["options"]["api"], told["tags"]) == ("ha", 1, "POSIX", [])
    assert "samples" not in told


def test_new_runs_come_gone_ones_go_and_changed_ones_are_read_again(runs: Path) -> None:
    assert len(found(runs)) == 3
    keep(runs, record(5))
    remove(runs, day(0))
    assert found(runs) == [day(1), "20260803T020000Z-other-ior", day(5)]
    (runs / day(1) / RECORD).write_text(json.dumps(to_json(record(1, bed="renamed"))))
    assert found(runs, Selection(beds=frozenset({"renamed"}))) == [day(1)]


def test_tags_and_notes_are_found_at_once_and_the_record_is_not_touched(runs: Path) -> None:
    before = (runs / day(0) / RECORD).read_bytes()
    assert found(runs, Selection(tags=frozenset({"baseline"}))) == []
    about.tag(runs / day(0), ["baseline", "2.15.5"], remove=False)
    about.note(runs / day(0), " before the switch ")
    assert found(runs, Selection(tags=frozenset({"baseline", "2.15.5"}))) == [day(0)]
    about.tag(runs / day(0), ["baseline"], remove=True)
    assert found(runs, Selection(tags=frozenset({"baseline"}))) == []
    assert about.about(runs / day(0)) == about.About(("2.15.5",), "before the switch")
    assert (runs / day(0) / RECORD).read_bytes() == before
    with pytest.raises(UsageError, match="is no tag"):
        about.tag(runs / day(0), ["a,b"], remove=False)


@pytest.mark.parametrize(
    "content", [b"", b"no database at all, but something else", b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_an_index_that_is_damaged_is_made_again(runs: Path, content: bytes) -> None:
    assert len(found(runs)) == 3
    (runs / FILE).write_bytes(content)
    assert len(found(runs)) == 3
    assert len(found(runs)) == 3


def test_an_index_of_another_version_is_made_again(runs: Path) -> None:
    found(runs)
    with sqlite3.connect(runs / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("DELETE FROM runs")
    connection.close()
    assert len(found(runs)) == 3


def test_where_no_file_can_be_it_is_made_in_memory(runs: Path) -> None:
    (runs / FILE).mkdir()
    assert len(found(runs)) == 3


def test_a_run_that_cannot_be_read_is_named_and_the_others_are_found(runs: Path) -> None:
    (runs / day(1) / RECORD).write_text('{"schema": 2}')
    for _ in range(2):
        with opened(runs) as index:
            assert len(index.select()) == 2
            (wrong,) = index.damaged()
            assert day(1) in wrong.message
            assert "schema 2, of a newer vmlab: this one reads up to 1" in wrong.message


def test_runs_that_go_on_are_none_and_nothing_is_there_without_a_folder(runs: Path, tmp_path: Path) -> None:
    (runs / f"{day(9)}.partial").mkdir()
    (runs / f"{day(9)}.partial" / RECORD).write_text("{}")
    assert len(found(runs)) == 3
    assert found(tmp_path / "absent") == []


def test_an_index_damaged_while_it_is_asked_is_not_needed(runs: Path) -> None:
    with opened(runs) as index:
        (runs / FILE).write_bytes(b"no database" * 1000)
        assert len(index.select()) == 3
        assert len(index.select(Selection(last=1))) == 1
    assert len(found(runs)) == 3


def test_several_at_once_agree(runs: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert {len(names) for names in pool.map(found, [runs] * 16)} == {3}


def test_ten_thousand_runs_are_found_by_what_is_known_of_them(tmp_path: Path) -> None:
    """Synthetic ones, of 27 years."""
    keep(tmp_path, *(record(number) for number in range(10_000)))
    assert len(found(tmp_path)) == 10_000
    assert found(tmp_path, Selection(where={"size": "1048576"}, last=1)) == [day(9_999)]


# Selections ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "value"), [("size=1MiB", "1048576"), ("size=1m", "1048576"), ("a=b=c", "b=c")])
def test_labels_are_compared_as_sizes_where_they_are_sizes(text: str, value: str) -> None:
    assert parse_where(text)[1] == value


@pytest.mark.parametrize("text", ["", "size", "=1", "size="])
def test_a_label_needs_a_value(text: str) -> None:
    with pytest.raises(UsageError, match="no label with its value"):
        parse_where(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("36h", BEGUN - timedelta(hours=36)),
        ("14d", BEGUN - timedelta(days=14)),
        ("2w", BEGUN - timedelta(weeks=2)),
        ("90min", BEGUN - timedelta(minutes=90)),
        ("2026-07-01T00:00+00:00", datetime(2026, 7, 1, tzinfo=UTC)),
    ],
)
def test_moments_are_ages_or_dates(text: str, moment: datetime) -> None:
    assert parse_moment(text, BEGUN) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "14", "2026-13-01", "d"])
def test_other_moments_are_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        parse_moment(text, BEGUN)
