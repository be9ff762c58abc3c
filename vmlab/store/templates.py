"""Templates that were booted and whose memory was kept: three files each, beside the images that they are of.

KEY is a digest of all that a clone must have like them (domainxml.clone.shape), so that a file is never another's. The
description is written last: what has none is half made. A clone has copies, and needs none of them any more.
Whose memory or disk is another than the description says (cut, or written by somebody) is no template any more: guests
that go on from wrong memory need not even fail.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

_FOLDER = "templates"
_FILE = re.compile(r"(?P<key>[0-9a-f]{16})\.[a-z0-9.]+")
_CONTENT = (".memory", ".qcow2")
_LONGEST = 1 << 16  # bytes of a description


@dataclass(frozen=True, slots=True)
class Template:
    """One of them. `qemu` is libvirt's number of the version that can read it, `disk` the image's file.

    `memory_kib` and `cards` are the guests', `made` is ISO 8601, `seconds` what its boot took.
    """

    key: str
    image: str
    disk: str
    qemu: int
    memory_kib: int
    cards: int
    made: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Kept:
    """A template as it lies there: bytes on the disk, and when it was last cloned."""

    template: Template
    size: int
    used: datetime


class Templates:
    """Those of one host, by their keys."""

    def __init__(self, images: Path) -> None:
        self.folder = images / _FOLDER

    def file(self, key: str, suffix: str) -> Path:
        """Where a template's file lies: its `.memory`, `.qcow2` or `.json`, or what it is made of."""
        return self.folder / f"{key}{suffix}"

    def find(self, key: str) -> Template | None:
        """The template, if it is whole: its files have the sizes and times that they were made with."""
        told = self._told(key)
        return told[0] if told is not None and self._untouched(key, told[1]) else None

    def broken(self, key: str) -> bool:
        """It was made, and its files are not what they were."""
        told = self._told(key)
        return told is not None and not self._untouched(key, told[1])

    def rotten(self, key: str) -> bool:
        """As `broken`, if need be by reading all of them: a disk may have lost what it was given."""
        told = self._told(key)
        if told is None:
            return False
        try:
            return any(content != _content(self.file(key, suffix)) for suffix, content in told[1].items())
        except OSError:
            return True

    def add(self, template: Template) -> None:
        """Its files lie ready; from now on it is one. Raises OSError."""
        files = {suffix: asdict(_content(self.file(template.key, suffix))) for suffix in _CONTENT}
        told = self.file(template.key, ".json.partial")
        told.write_text(json.dumps({"template": asdict(template), "files": files}) + "\n")
        told.replace(self.file(template.key, ".json"))

    def _told(self, key: str) -> "tuple[Template, Mapping[str, _Content]] | None":
        """What the description says; None if there is none that can be understood."""
        try:
            with self.file(key, ".json").open() as file:
                told = json.loads(file.read(_LONGEST))
            found = Template(**told["template"])
            files = {suffix: _Content(**told["files"][suffix]) for suffix in _CONTENT}
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return (found, files) if found.key == key else None

    def _untouched(self, key: str, files: "Mapping[str, _Content]") -> bool:
        try:
            facts = {suffix: self.file(key, suffix).stat() for suffix in files}
        except OSError:
            return False
        return all((facts[s].st_size, facts[s].st_mtime_ns) == (file.size, file.written) for s, file in files.items())

    def touch(self, key: str) -> None:
        """It is being cloned."""
        os.utime(self.file(key, ".json"))

    def all(self) -> list[Kept]:
        """Those that are whole, the one that was used last first."""
        found = [kept for key in self._keys() if (kept := self._kept(key)) is not None]
        return sorted(found, key=lambda kept: kept.used, reverse=True)

    def remove(self, key: str) -> None:
        """The description first: without it it is none any more."""
        for path in sorted(self._files(key), key=lambda path: path.suffix != ".json"):
            path.unlink(missing_ok=True)

    def half_made(self) -> list[Path]:
        """The files of which no template has come."""
        return sorted(path for key in self._keys() if self.find(key) is None for path in self._files(key))

    def over(self, limit: int) -> list[Kept]:
        """Those that have to go so that the others take no more than `limit` bytes; the one used last stays."""
        going, total = [], 0
        for number, kept in enumerate(self.all()):
            total += kept.size
            if number and total > limit:
                going.append(kept)
        return going

    def _kept(self, key: str) -> Kept | None:
        template = self.find(key)
        if template is None:
            return None
        try:
            size = sum(path.stat().st_blocks for path in self._files(key)) * 512
            used = datetime.fromtimestamp(self.file(key, ".json").stat().st_mtime, UTC)
        except OSError:  # somebody removes it
            return None
        return Kept(template, size, used)

    def _keys(self) -> list[str]:
        found = (_FILE.fullmatch(path.name) for path in self._paths())
        return sorted({match["key"] for match in found if match is not None})

    def _files(self, key: str) -> Iterator[Path]:
        return (path for path in self._paths() if path.name.startswith(f"{key}.") and _FILE.fullmatch(path.name))

    def _paths(self) -> list[Path]:
        return list(self.folder.iterdir()) if self.folder.is_dir() else []


@dataclass(frozen=True, slots=True)
class _Content:
    """Of a file: bytes, when it was written (ns since 1970), and what is in it."""

    size: int
    written: int
    sha256: str


def _content(path: Path) -> _Content:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    facts = path.stat()
    return _Content(facts.st_size, facts.st_mtime_ns, digest)
