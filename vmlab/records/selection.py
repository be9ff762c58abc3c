"""Which runs are meant: of which bed and workload, since when, with which labels and tags."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from vmlab.errors import UsageError
from vmlab.values.size import any_size

_AGO = re.compile(r"([0-9]{1,6})\s*(min|[hdwm])")
_UNITS = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "m": timedelta(days=30),
}
_FORMS = "expected 36h, 14d, 2w, 6m (months), 2026-08-01 or 2026-08-01T02:00"


@dataclass(frozen=True, slots=True)
class Selection:
    """What a run has to fit; what is not given fits all. `where` has labels and options in the form of `plain`.

    `beds` and `workloads` are names, those of beds that were jobs of a farm also as their files have them. `since` and
    `until` have a time zone. `last`: the newest so many that fit.
    """

    beds: frozenset[str] = frozenset()
    workloads: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    last: int | None = None

    @property
    def narrow(self) -> bool:
        """Not all runs fit."""
        return self != Selection()


def plain(value: str) -> str:
    """A label's value in the one form in which values are compared: sizes are bytes, `1MiB` and `1m` as 1048576."""
    try:
        return str(int(any_size(value)))
    except ValueError:
        return value


def parse_where(text: str) -> tuple[str, str]:
    """Read `size=1MiB`. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        from vmlab.topology.wording import quote  # noqa: PLC0415  brings all of the topology

        raise UsageError(f"--where {quote(text)} is no label with its value", hint="--where size=1MiB")
    return name, plain(value)


def parse_moment(text: str, now: datetime) -> datetime:
    """Read `14d` (before `now`), or a date or time of ISO 8601, in this machine's time zone. Raises UsageError."""
    if found := _AGO.fullmatch(text.strip()):
        try:
            return now - int(found[1]) * _UNITS[found[2]]
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.tzinfo is not None else moment.astimezone()
    except (ValueError, OverflowError):
        from vmlab.topology.wording import quote  # noqa: PLC0415  as above

        raise UsageError(f"{quote(text)} is no time ({_FORMS})") from None
