"""One night of several, each of which had some of its entries: what `vmlab submit` had done by jobs."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vmlab import __version__
from vmlab.errors import HostError, UsageError
from vmlab.judgement.expectations import Expectation
from vmlab.lab.nightly.night import Places, finish, meaning_of, planned
from vmlab.nights.night import Night
from vmlab.records.night import Event, NightRecord
from vmlab.runtime import lock
from vmlab.runtime.files import write_atomically
from vmlab.store.nights import JOURNAL, events, new_night

_FOLDERS = ("entries", "evidence")


def joined(
    night: Night, places: Places, parts: Mapping[str, Path], expectations: Sequence[Expectation]
) -> tuple[NightRecord, Path]:
    """Make one night of the parts, which are state folders, by their jobs: its record and its folder. The parts go.

    An entry that is in none of them was not tested, which is the lab's fault. The journal is written last but for the
    record: of who is killed before, nothing counts, and the parts are there still. Raises UsageError if there are none.
    """
    with lock.held(f"night.{night.name}", what=f"the night {night.name}"):
        found = {job: path for job, folder in parts.items() if (path := _night_in(folder)) is not None}
        if not found:
            raise UsageError(
                f"no job of {', '.join(parts)} has left a part of {night.name}",
                hint="squeue; their output says why",
            )
        journals = [list(_journal(folder)) for folder in found.values()]
        opened = new_night(places.nights, night.name, datetime.now(UTC))
        try:
            for folder in found.values():
                for name in _FOLDERS:
                    if (folder / name).is_dir():
                        shutil.copytree(folder / name, opened.folder / name, dirs_exist_ok=True)
            lines = [_head(night, opened.id, journals), *_missing(night, journals), *_rest(journals)]
            text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
            write_atomically(opened.folder / JOURNAL, text)
        except OSError as error:
            raise HostError(f"{error.filename}: {error.strerror}") from error
        record = finish(night, places, opened, expectations, incomplete="")
        for job in found:
            shutil.rmtree(parts[job], ignore_errors=True)
        return record, opened.folder


def _night_in(folder: Path) -> Path | None:
    """The latest of a part: its job may have been begun more than once."""
    return max((path.parent for path in folder.glob(f"nights/*/{JOURNAL}")), default=None)


def _journal(folder: Path) -> Sequence[Event]:
    try:
        return list(events(folder))
    except ValueError as error:
        raise HostError(f"{folder / JOURNAL}: {error}", hint="submit the night without this job's id") from error


def _head(night: Night, id_: str, journals: Sequence[Sequence[Event]]) -> dict[str, Any]:
    heads = [line for lines in journals for line in lines if line["event"] == "night"]
    begun = {entry["name"]: entry for head in heads for entry in head["entries"]}
    return {
        "at": min(head["at"] for head in heads),
        "event": "night",
        "id": id_,
        "name": night.name,
        "file": str(Path(night.file).absolute()),
        "vmlab": __version__,
        "meaning": meaning_of(night),
        "entries": [begun.get(entry.name) or asdict(planned(entry)) for entry in night.entries],
    }


def _missing(night: Night, journals: Sequence[Sequence[Event]]) -> list[dict[str, Any]]:
    """What nobody has begun, or not brought to its end."""
    over = {line["entry"] for lines in journals for line in lines if line["event"] == "over"}
    at = max(line["at"] for lines in journals for line in lines)
    why = "its job did not come to its end: cancelled, out of time, or never begun"
    return [
        {"at": at, "event": "entry", "entry": entry.name, "of": {"lab": why}, "what": why}
        for entry in night.entries
        if entry.name not in over
    ]


def _rest(journals: Sequence[Sequence[Event]]) -> list[Event]:
    """In the order of their times, as one night would have written them; each part's own order stays."""
    lines = [line for lines in journals for line in lines if line["event"] != "night"]
    return sorted(lines, key=lambda line: str(line["at"]))
