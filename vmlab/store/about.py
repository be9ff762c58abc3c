"""What people say of a run: tags and a note, in a file beside its record, which stays as it was written."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vmlab.errors import HostError, UsageError
from vmlab.runtime.files import write_atomically

ABOUT = "about.json"
_LONGEST_TAG = 60


@dataclass(frozen=True, slots=True)
class About:
    """Tags in the order of the alphabet."""

    tags: tuple[str, ...] = ()
    note: str = ""


def about(folder: Path) -> About:
    """Of the run in this folder; a file that cannot be read says nothing."""
    try:
        content: Any = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return About()
    if not isinstance(content, dict):
        return About()
    tags, note = content.get("tags"), content.get("note")
    known = sorted({tag for tag in tags if isinstance(tag, str)}) if isinstance(tags, list) else []
    return About(tuple(known), note if isinstance(note, str) else "")


def tag(folder: Path, tags: Iterable[str], *, remove: bool) -> About:
    """With these tags, or without them. Raises UsageError for what is no tag, HostError if it cannot be written."""
    wanted = tuple(tags)
    for one in wanted:
        if not one.strip() or len(one) > _LONGEST_TAG or not one.isprintable() or "," in one:
            from vmlab.topology.wording import quote  # noqa: PLC0415  brings all of the topology

            raise UsageError(f"{quote(one)} is no tag (expected a word without a comma)")
    known = about(folder)
    kept = set(known.tags).difference(wanted) if remove else {*known.tags, *wanted}
    return _write(folder, replace(known, tags=tuple(sorted(kept))))


def note(folder: Path, text: str) -> About:
    """With this note in place of an earlier one; "" for none. Raises HostError if it cannot be written."""
    return _write(folder, replace(about(folder), note=text.strip()))


def _write(folder: Path, content: About) -> About:
    try:
        write_atomically(
            folder / ABOUT, json.dumps({"tags": list(content.tags), "note": content.note}, ensure_ascii=False) + "\n"
        )
    except OSError as error:
        raise HostError(f"{folder / ABOUT}: {error.strerror}", hint=f"ls -ld {folder}") from error
    return content
