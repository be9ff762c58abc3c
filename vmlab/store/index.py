"""An index of the runs: lists and filters thousands of them without reading their records.

SQLite, in a file beside the runs' folders. The folders are what there is: each use compares the index with them, by
their names and times, and reads what is new; one that is gone, damaged or of another version is made again from all of
them. Where it cannot be written, as in somebody else's folder, it is made in memory.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from vmlab.errors import VmlabError, WorkloadError
from vmlab.metrics import label_text
from vmlab.records.run import RunRecord, to_json
from vmlab.records.selection import Selection, plain
from vmlab.runtime.log import log
from vmlab.store.about import ABOUT, about
from vmlab.store.runs import PARTIAL, RECORD, read
from vmlab.values.identity import asked_bed

FILE = "index.sqlite"

_VERSION = 3
_TABLES = """
CREATE TABLE runs (
  id TEXT PRIMARY KEY, seen TEXT, bed TEXT, asked TEXT, workload TEXT, started REAL, told TEXT, damaged TEXT
);
CREATE TABLE labels (run TEXT, name TEXT, value TEXT, PRIMARY KEY (run, name, value)) WITHOUT ROWID;
CREATE TABLE tags (run TEXT, tag TEXT, PRIMARY KEY (run, tag)) WITHOUT ROWID;
CREATE INDEX labelled ON labels (name, value, run);
CREATE INDEX tagged ON tags (tag, run);
"""
_NOT_TOLD = (
    "commands",
    "nodes",
    "samples",
    "summaries",
    "beside_host",
    "measured",
    "topology",
    "hosts",
    "roots",
    "verdicts",
)
_INSERT = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_BUSY_S = 10.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A run in the index. `told` is its record without the long parts, with `figures` (how many), `tags` and `note`."""

    id: str
    told: Mapping[str, Any]


class Index:
    """The runs of a folder, as they are at the moment."""

    def __init__(self, connection: sqlite3.Connection, runs_dir: Path) -> None:
        self._connection = connection
        self._runs_dir = runs_dir

    def select(self, wanted: Selection = Selection()) -> list[Entry]:  # noqa: B008 - frozen
        """Those that fit, oldest first."""
        clauses, values = _clauses(wanted)
        limit = "" if wanted.last is None else f"LIMIT {int(wanted.last)}"
        query = f"SELECT id, told FROM runs WHERE {' AND '.join(clauses)} ORDER BY id DESC {limit}"  # noqa: S608
        rows = self._ask(query, values)
        # One text: a call of the parser for each of thousands takes half as long again.
        told = json.loads(f"[{','.join(told for _, told in rows)}]")
        return [Entry(run, one) for (run, _), one in zip(reversed(rows), reversed(told), strict=True)]

    def damaged(self) -> list[WorkloadError]:
        """What is wrong with those that cannot be read."""
        rows = self._ask("SELECT damaged FROM runs WHERE damaged IS NOT NULL ORDER BY id")
        return [WorkloadError(told) for (told,) in rows]

    def refresh(self) -> None:
        """Take up what is new, forget what is gone."""
        if self._known() == dict(_folders(self._runs_dir)):
            return
        with _writing(self._connection):
            # Asked again: somebody else may have taken up the same runs since.
            known, there = self._known(), dict(_folders(self._runs_dir))
            for run, seen in known.items():
                if there.get(run) != seen:
                    self._forget(run)
            for run, seen in there.items():
                if known.get(run) != seen:
                    self._take_up(run, seen)

    def _ask(self, query: str, values: Sequence[str | float] = ()) -> list[Any]:
        """The rows; from an index in memory if the file has been damaged or exchanged since it was opened."""
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            log.debug("%s: %s: the index is made in memory", self._runs_dir / FILE, error)
            self.close()
            self._connection = _refreshed(":memory:", self._runs_dir)
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """No more questions."""
        self._connection.close()

    def _known(self) -> dict[str, str]:
        return dict(self._connection.execute("SELECT id, seen FROM runs"))

    def _forget(self, run: str) -> None:
        for table, column in (("runs", "id"), ("labels", "run"), ("tags", "run")):
            self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (run,))  # noqa: S608

    def _take_up(self, run: str, seen: str) -> None:
        try:
            record = read(self._runs_dir, run)
        except VmlabError as error:
            self._connection.execute(_INSERT, (run, seen, "", "", "", 0.0, "{}", error.message))
            return
        said = about(self._runs_dir / run)
        content = {name: value for name, value in to_json(record).items() if name not in _NOT_TOLD}
        told = json.dumps(content | {"figures": len(record.samples), "tags": said.tags, "note": said.note})
        of = (record.bed, asked_bed(record.bed), record.workload)
        self._connection.execute(_INSERT, (run, seen, *of, _moment(record.started), told, None))
        labels = [(run, name, value) for name, value in sorted(_labels(record))]
        self._connection.executemany("INSERT INTO labels VALUES (?, ?, ?)", labels)
        self._connection.executemany("INSERT INTO tags VALUES (?, ?)", [(run, tag) for tag in said.tags])


@contextlib.contextmanager
def opened(runs_dir: Path) -> Iterator[Index]:
    """The index of a folder, as the folder is now."""
    index = Index(_ready(runs_dir), runs_dir)
    try:
        yield index
    finally:
        index.close()


def _ready(runs_dir: Path) -> sqlite3.Connection:
    """The file's; in memory where there can be none, or where somebody is at it for too long."""
    path = runs_dir / FILE
    for _ in range(2):
        try:
            return _refreshed(str(path), runs_dir)
        except sqlite3.OperationalError as error:
            log.debug("%s: %s: the index is made in memory", path, error)
            break
        except sqlite3.DatabaseError as error:
            log.warning("%s: %s: it is made again", path, error)
            with contextlib.suppress(OSError):
                path.unlink()
    return _refreshed(":memory:", runs_dir)


def _refreshed(database: str, runs_dir: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=_BUSY_S)
    try:
        _have_tables(connection)
        Index(connection, runs_dir).refresh()
    except BaseException:
        connection.close()
        raise
    return connection


def _have_tables(connection: sqlite3.Connection) -> None:
    if _version(connection) == _VERSION:
        return
    with _writing(connection):
        if _version(connection) == _VERSION:  # somebody else has just made them
            return
        for table in ("runs", "labels", "tags"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


@contextlib.contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and nobody else writes meanwhile, from the first question on."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def _folders(runs_dir: Path) -> Iterator[tuple[str, str]]:
    """The complete runs, and by what it is seen that one has changed."""
    try:
        names = os.listdir(runs_dir)  # noqa: PTH208 - names are all that is needed of thousands
    except FileNotFoundError:
        return
    for name in names:
        if not name.endswith(PARTIAL) and (record := _changed(f"{runs_dir}/{name}/{RECORD}")):
            yield name, f"{record} {_changed(f'{runs_dir}/{name}/{ABOUT}')}"


def _changed(path: str) -> str:
    """Nothing if there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return ""
    return f"{found.st_mtime_ns}/{found.st_size}/{found.st_ino}"


def _moment(text: str) -> float:
    """Seconds since 1970, and 0 for what is no time."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _labels(record: RunRecord) -> set[tuple[str, str]]:
    """By what a run is found: options, labels of its figures, and the versions that it was measured with."""
    found = {(name, plain(value)) for sample in record.samples for name, value in sample.labels.items()}
    for options in (record.options, *record.points):
        found |= {(name, plain(label_text(one))) for name, value in options.items() for one in _several(value)}
    found |= {("accel", record.accel), ("vmlab", record.vmlab), ("series", record.series)}
    for node in record.nodes:
        found |= {("kernel", node.kernel), ("lustre", node.lustre), ("image", node.image)}
    return {(name, value) for name, value in found if value}


def _several(value: object) -> Sequence[object]:
    """The values of an option, none of one that has none."""
    return value if isinstance(value, list | tuple) else () if value is None else (value,)


def _clauses(wanted: Selection) -> tuple[list[str], list[str | float]]:
    """Conditions of SQL and their values."""
    clauses, values = ["damaged IS NULL"], list[str | float]()
    for columns, names in ((("bed", "asked"), wanted.beds), (("workload",), wanted.workloads)):
        if names:
            marks = ", ".join("?" * len(names))
            clauses.append(f"({' OR '.join(f'{column} IN ({marks})' for column in columns)})")
            values += sorted(names) * len(columns)
    for comparison, moment in ((">=", wanted.since), ("<", wanted.until)):
        if moment is not None:
            clauses.append(f"started {comparison} ?")
            values.append(moment.timestamp())
    for name, value in wanted.where.items():
        clauses.append("id IN (SELECT run FROM labels WHERE name = ? AND value = ?)")
        values += (name, value)
    for tag in sorted(wanted.tags):
        clauses.append("id IN (SELECT run FROM tags WHERE tag = ?)")
        values.append(tag)
    return clauses, values
