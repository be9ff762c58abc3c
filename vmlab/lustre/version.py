"""Which Lustre a node carries, and what depends on it. 2.10 to 2.17 are in use."""

import re
from typing import NamedTuple, Self

from vmlab.steps import Command

ASK: Command = ("sh", "-c", "lctl --version 2>/dev/null || { modinfo -F version lustre | head -n 1; } 2>/dev/null")
"""Prints what `Version.parse` reads; nothing where there is no Lustre."""

_VERSION = re.compile(r"(?<![\w.])([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,5}))?")


class Version(NamedTuple):
    """2.17.57 of `2.17.57_62_gc881f8e`; what is built upon a release is later than it."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What `ASK` printed: `lctl 2.17.57_62_gc881f8e`, `lctl 2.10.8`; None if no version is in it."""
        found = _VERSION.search(text)
        return cls(int(found[1]), int(found[2]), int(found[3] or 0)) if found else None

    @property
    def target_type(self) -> str:
        """The file system type that a target is mounted with.

        The kernel knows `lustre_tgt` earlier, but /sbin/mount.lustre_tgt came with 2.16, which warns about `lustre`.
        """
        return "lustre_tgt" if self >= (2, 16) else "lustre"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"
