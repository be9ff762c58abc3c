"""What is known of tests before they run: a YAML file that people edit and commit, read with positions.

```yaml
expected:
  - {suite: sanity, tests: [27J, 270a], ticket: LU-18102}                  # fail
  - {suite: sanity, tests: 51b, ticket: LU-9693, flaky: 0.1}               # fails in one of ten runs
  - {suite: sanity, tests: 398m, ticket: LU-17253, where: {backend: zfs}}  # nowhere else
```
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from vmlab.judgement.listing import read_list, refuse
from vmlab.topology.loader import text_of
from vmlab.topology.model import Part
from vmlab.topology.parse import Parsed, Problems
from vmlab.topology.scalars import Text, Word
from vmlab.topology.tree import NO_VALUE
from vmlab.topology.wording import quote

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
# As Lustre's test framework takes them (always_except).
_TICKET = re.compile(r"[A-Z]+-[0-9]+")


@dataclass(frozen=True, slots=True)
class Expectation:
    """A test that fails, for the reason in `ticket`; where it is `flaky`, in that part of its runs.

    It holds in its suite only, and for the test of exactly this name: 27j and 27J are two, and 270a is not 270. And it
    holds `where` conditions have these values, shell patterns; everywhere if there are none.
    """

    suite: str
    test: str
    ticket: str
    flaky: float | None = None
    reason: str = ""
    file: str = ""
    line: int = 0
    where: Mapping[str, str] = field(default_factory=dict)


def bare(test: str) -> str:
    """A test's name without what the framework puts before it: `27J` of `test_27J`."""
    return test.removeprefix("test_")


def _tests(value: object) -> object:
    """One name or a list of them; 270 is a number for YAML, and a name here."""
    if value is NO_VALUE:
        return value
    names = []
    for name in value if isinstance(value, list) else [value]:
        text = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
        if not isinstance(text, str) or not _NAME.fullmatch(text):
            raise ValueError(f"{quote(name)} is no test (expected a name such as 27J, or a list of them)")
        names.append(bare(text))
    return tuple(names)


def _ticket(value: str) -> str:
    if not _TICKET.fullmatch(value):
        raise ValueError(f"{quote(value)} is no ticket (expected one such as LU-18102)")
    return value


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError(f"{quote(value)} is no rate (expected a fraction between 0 and 1, such as 0.1)")
    return float(value)


class HeadEntry(Part):
    """Nothing stands beside the list."""


class ExpectedEntry(Part):
    """Tests of one suite, with one ticket."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"suite": "none", "tests": ["none"], "ticket": "NONE-0"}

    suite: Word
    tests: Annotated[tuple[str, ...], BeforeValidator(_tests), Field(min_length=1)]
    ticket: Annotated[Word, AfterValidator(_ticket)]
    flaky: Annotated[float, BeforeValidator(_rate)] | None = Field(
        None, description="in which part of its runs it fails"
    )
    reason: Text = ""
    where: dict[str, Word] = Field(
        default_factory=dict, description="of which entries of a night: image, backend, entry, or a key of its matrix"
    )


def load(path: Path) -> tuple[Expectation, ...]:
    """Read a file. Raises TopologyError with all that is wrong with it."""
    return loads(text_of(path), str(path))


def loads(text: str, file: str) -> tuple[Expectation, ...]:
    """As `load`, from a text; `file` is told as where."""
    problems = Problems(file)
    _, items = read_list(text, "expected", HeadEntry, ExpectedEntry, problems)
    found: dict[tuple[object, ...], Expectation] = {}
    for item in items:
        for one in _expectations(item, file):
            first = found.setdefault((one.suite, one.test, *sorted(one.where.items())), one)
            if first is not one and item.sound("suite", "tests"):
                message = f"{one.suite} {one.test} is in line {first.line} already (expected each test once)"
                problems.add(item.mark, message)
    refuse(problems)
    return tuple(found.values())


def _expectations(item: Parsed[ExpectedEntry], file: str) -> list[Expectation]:
    entry = item.value
    return [
        Expectation(entry.suite, test, entry.ticket, entry.flaky, entry.reason, file, item.mark.line, entry.where)
        for test in entry.tests
    ]
