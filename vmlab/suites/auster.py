"""auster's command line: which suites it runs, and what of each."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from vmlab.errors import UsageError
from vmlab.steps import Command

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "regression": (
            *("runtests", "sanity", "sanityn", "sanity-benchmark", "racer", "lnet-selftest", "replay-single"),
            *("conf-sanity", "recovery-small", "replay-ost-single", "replay-dual", "replay-vbr", "insanity"),
            *("sanity-quota", "sanity-sec", "lustre-rsync-test", "ost-pools", "mmp", "obdfilter-survey"),
            *("sgpdd-survey", "sanity-scrub", "sanity-lfsck", "sanity-hsm", "sanity-lsnapshot", "sanity-pfl"),
            *("sanity-pcc", "sanity-lnet"),
        ),
        "regression-mpi": ("performance-sanity", "large-scale", "parallel-scale"),
    }
)
"""Those that ship with the tests, as of 2.17.57: test-groups/NAME."""

OF_A_SUITE = ("ONLY", "EXCEPT", "START_AT", "STOP_AT")
"""Variables that auster unsets before each suite: only its options reach the suite."""

_SUITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TESTS = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Part:
    """A suite, or a part of it: sub-tests by name."""

    suite: str
    only: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    start_at: str = ""
    stop_at: str = ""

    def __post_init__(self) -> None:
        if not _SUITE.fullmatch(self.suite):
            raise UsageError(f"{self.suite!r:.60} is no name of a suite")
        for name in (*self.only, *self.excluded, *filter(None, (self.start_at, self.stop_at))):
            if not _TESTS.fullmatch(name):
                raise UsageError(f"{name!r:.60} is no name of a sub-test (expected one such as 27oo)")

    @property
    def words(self) -> tuple[str, ...]:
        """As auster takes it: lists with commas."""
        lists = (("--only", ",".join(self.only)), ("--except", ",".join(self.excluded)))
        ends = (("--start-at", self.start_at), ("--stop-at", self.stop_at))
        return (self.suite, *(word for name, value in (*lists, *ends) if value for word in (name, value)))


def suites_of(group: str) -> tuple[str, ...]:
    """The suites of a group that ships with the tests. Raises UsageError for another."""
    if group not in GROUPS:
        raise UsageError(f"{group!r:.60} is no group of tests ({', '.join(GROUPS)})", hint="name the suites instead")
    return GROUPS[group]


def command(auster: str, cfg: str, logs: str, parts: Sequence[Part], options: Iterable[str] = ()) -> Command:
    """Everything is told, and a suite goes on after a sub-test that failed. `logs` gets the logs themselves."""
    return (auster, "-v", "-k", *options, "-c", cfg, "-D", logs, *(word for part in parts for word in part.words))
