"""The distribution of this machine, which install hints are for."""

from functools import cache
from pathlib import Path

from vmlab.values.distribution import Distribution, read_distribution

_PLACES = (Path("/etc/os-release"), Path("/usr/lib/os-release"))


@cache
def here() -> Distribution:
    """The one of this machine; of no family if it says nothing about itself."""
    for path in _PLACES:
        try:
            return read_distribution(path.read_text(errors="replace"))
        except OSError:
            continue
    return Distribution()


def install_hint(*programs: str) -> str:
    """The line that brings these programs here; "" where we do not know their packages."""
    return here().install(*programs)
