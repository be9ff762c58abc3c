"""What auster wrote into results.yml, which is often no YAML: errors in it are quoted as bash does, `"%q"`.

So it is read line by line, as its writer wrote it (yaml.sh): what is below a suite and below a sub-test tells the
indentation. A bed that dies leaves the file in the midst of a line; what is cut is not known, and nothing is guessed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from vmlab.suites.quoting import unquoted

PASS, FAIL, SKIP = "PASS", "FAIL", "SKIP"

_LINE = re.compile(r"( *)(-)?( *)(?:(\w+):(?: (.*))?)?")
_NUMBER = re.compile(r"\d{1,9}")
_OF_A_SUITE = 8
"""So far in stand the keys of a suite; those of a sub-test farther."""
_NEW_RUN = "TestGroup:"
_STATUSES = (PASS, FAIL, SKIP)


@dataclass(slots=True)
class Record:
    """One round of a sub-test. `status` None: nothing of how it ended was written.

    `error` is the last error, the reason of a skip, or, beside PASS, an error that the test ignores.
    """

    name: str
    status: str | None = None
    seconds: int | None = None
    return_code: int | None = None
    error: str = ""


@dataclass(slots=True)
class Suite:
    """One run of a suite; a file may have several of the same. `submission` is when it began, in date(1)'s words."""

    name: str = ""
    submission: str = ""
    status: str | None = None
    seconds: int | None = None
    records: list[Record] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Written:
    """A results.yml. `runs` counts the runs of auster that wrote into it; `cut`: it ends in the midst of a line.

    `strange` are lines that its writer does not write.
    """

    suites: tuple[Suite, ...]
    runs: int = 0
    cut: bool = False
    strange: tuple[str, ...] = ()


def read_results(text: str) -> Written:
    """Whatever the text is."""
    reader = _Reader()
    *lines, last = text.replace("\r\n", "\n").removeprefix("\ufeff").split("\n")
    for line in lines:
        reader.line(line)
    if last.strip(" \r\x00"):
        reader.line(last.rstrip("\r\x00"), cut=True)
    return Written(_named(reader.suites), reader.runs, bool(last.strip()), tuple(reader.strange))


def _named(suites: Iterable[Suite]) -> tuple[Suite, ...]:
    found = tuple(suite for suite in suites if suite.name)
    for suite in found:
        suite.records = [record for record in suite.records if record.name]
    return found


class _Reader:
    """Fills the suite, or the sub-test, that the last `-` began."""

    def __init__(self) -> None:
        self.suites: list[Suite] = []
        self.strange: list[str] = []
        self.runs = 0

    def line(self, text: str, *, cut: bool = False) -> None:
        if text.endswith(_NEW_RUN) and text != _NEW_RUN:  # behind what the run before left in the midst of a line
            self.line(text.removesuffix(_NEW_RUN), cut=True)
            text = _NEW_RUN
        found = _LINE.fullmatch(text.rstrip())
        if found is None:
            if not cut:
                self.strange.append(text)
            return
        before, dash, after, key, value = found.groups()
        depth = len(before) + (1 + len(after) if dash else 0)
        if dash:
            self._begin(len(before))
        elif key == "name":
            self._lost_dash(depth)
        if key:
            self._key(depth, key, (value or "").strip(), cut=cut)

    def _lost_dash(self, depth: int) -> None:
        """A second name has its dash at the end of a line that was cut: what stands in that line is not whole."""
        if not self.suites:
            return
        suite = self.suites[-1]
        last = suite.records[-1] if suite.records else None
        if depth == _OF_A_SUITE and suite.name:
            if last is not None and last.status is None and last.name.endswith("-"):
                suite.records.pop()
            self._begin(0)
        elif depth > _OF_A_SUITE and last is not None and last.name:
            self._begin(depth)

    def _begin(self, depth: int) -> None:
        if depth < _OF_A_SUITE:
            self.suites.append(Suite())
        elif self.suites:
            self.suites[-1].records.append(Record(""))

    def _key(self, depth: int, key: str, value: str, *, cut: bool) -> None:
        if key == "TestGroup":
            self.runs += 1
        if not self.suites or depth == 0:
            return
        suite = self.suites[-1]
        if depth <= _OF_A_SUITE:
            _of_suite(suite, key, value, cut=cut)
        elif suite.records:
            _of_record(suite.records[-1], key, value, cut=cut)


def _of_suite(suite: Suite, key: str, value: str, *, cut: bool) -> None:
    match key:
        case "name" if not cut:
            suite.name = value
        case "submission" if not cut:
            suite.submission = value
        case "duration":
            suite.seconds = _number(value, cut=cut)
        case "status":
            suite.status = _status(value)


def _of_record(record: Record, key: str, value: str, *, cut: bool) -> None:
    match key:
        case "name" if not cut:
            record.name = value
        case "status":
            record.status = _status(value)
        case "duration":
            record.seconds = _number(value, cut=cut)
        case "return_code":
            record.return_code = _number(value, cut=cut)
        case "error":
            record.error = _error(value)


def _number(value: str, *, cut: bool) -> int | None:
    """Of a number that is cut nobody knows the rest."""
    return int(value) if _NUMBER.fullmatch(value) and not cut else None


def _status(value: str) -> str | None:
    """None of these words is the beginning of another one."""
    return value if value in _STATUSES else None


def _error(value: str) -> str:
    """Without the quotes, the second of which may be cut off."""
    if not value.startswith('"'):
        return value
    body = value[1:]
    backslashes = len(body[:-1]) - len(body[:-1].rstrip("\\"))
    closed = body.endswith('"') and (body.startswith("$'") or backslashes % 2 == 0)
    return unquoted(body[:-1] if closed else body.removesuffix("\\"))
