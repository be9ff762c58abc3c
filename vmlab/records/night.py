"""The record of a night, which is the content of its `night.json`; and what its journal has, line by line.

The journal is what is written while the night goes on, an event a line, and the record is made from it alone: what is
in the journal is not lost, whatever becomes of us.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = 1

PASS, FAIL, SKIP, TIMEOUT, CRASH, NOT_RUN = "pass", "fail", "skip", "time-out", "crash", "not run"
STATUSES = (CRASH, TIMEOUT, FAIL, NOT_RUN, SKIP, PASS)
"""The worst first."""
BAD = (CRASH, TIMEOUT, FAIL)


@dataclass(frozen=True, slots=True)
class NightTest:
    """One round of one test. `said` is its first error, why it was skipped or not run, "" if there is nothing to say.

    `excerpt` are lines of its log around the error. `again` is what became of it when it was run again, alone, on a
    fresh bed; `bed` the bed that it ran on, where its step had several. `lab`: it did not run, and that is the lab's
    fault. `log` and `evidence` are a file and a folder, as seen from the night's folder, "" where there is none.
    `symptom_of`: a clean-up that went wrong because of that sub-test. `repeat`: a topology file whose only workload is
    this test, from there, too.
    """

    suite: str
    test: str
    status: str
    seconds: float | None = None
    said: str = ""
    excerpt: str = ""
    round: int = 1
    again: tuple[str, ...] = ()
    bed: str = ""
    lab: bool = False
    log: str = ""
    evidence: str = ""
    symptom_of: str = ""
    repeat: str = ""

    @property
    def shaky(self) -> str:
        """It failed: "flaky" if it passed when it was run again, "broken" if it never did, "" if nobody tried."""
        if self.status not in BAD or not self.again:
            return ""
        return "flaky" if PASS in self.again else "broken"


@dataclass(frozen=True, slots=True)
class NightStep:
    """What became of one step. `status` is that of `vmlab run`; `lab` says what the lab broke, "" if nothing.

    `runs` are the IDs of its runs, `tries` how often it was begun anew because of the lab. `evidence` is a folder below
    the night's. `under` are conditions that its runs told: `version` of Lustre, `arch`.
    """

    name: str
    workload: str
    status: int
    seconds: float
    tests: tuple[NightTest, ...]
    runs: tuple[str, ...] = ()
    lab: str = ""
    tries: int = 1
    evidence: str = ""
    under: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Happened:
    """A line of the time line, in words; `injected`: it went wrong on purpose. `at` is ISO 8601."""

    at: str
    entry: str
    what: str
    injected: bool = False


@dataclass(frozen=True, slots=True)
class NightEntry:
    """What became of one bed. `lab` says what the lab broke of the whole, "" if nothing; `kept`: its bed is up still.

    `planned` are its steps with their workloads, whether they ran or not.
    """

    name: str
    bed: str
    topology: str
    conditions: Mapping[str, str]
    planned: Mapping[str, str]
    steps: tuple[NightStep, ...] = ()
    lab: str = ""
    kept: bool = False
    evidence: str = ""
    started: str = ""
    ended: str = ""

    @property
    def tests(self) -> tuple[NightTest, ...]:
        """Of all its steps; one for each that did not run."""
        ran = {step.name: step for step in self.steps}
        found: list[NightTest] = []
        for name, workload in self.planned.items():
            if name in ran:
                found += ran[name].tests
            else:
                found.append(NightTest(workload, name, NOT_RUN, said=self.lab or "the night ended before it", lab=True))
        return tuple(found)

    @property
    def under(self) -> Mapping[str, str]:
        """Its conditions: those of its file, and what its runs told of others."""
        told: dict[str, dict[str, None]] = {}
        for step in self.steps:
            for name, value in step.under.items():
                told.setdefault(name, {})[value] = None
        return {**{name: ", ".join(values) for name, values in told.items()}, **self.conditions}

    @property
    def broken(self) -> tuple[str, ...]:
        """What the lab broke."""
        return tuple(filter(None, (self.lab, *(step.lab for step in self.steps))))


@dataclass(frozen=True, slots=True)
class NightFinding:
    """What the judgement says of a test: `judgement.expected.Finding`, with the entry's name."""

    entry: str
    suite: str
    test: str
    verdict: str
    why: str
    red: bool = False
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class NightRecord:
    """All that is known of one night. Times are ISO 8601 with an offset.

    `incomplete` says why it was broken off, "" if it was not: `--resume` goes on with it. `findings` are the judgement
    of its tests, `product` counts those that nobody expected and `lab` what the lab broke.
    """

    id: str
    name: str
    file: str
    vmlab: str
    started: str
    ended: str
    entries: tuple[NightEntry, ...]
    time_line: tuple[Happened, ...] = ()
    findings: tuple[NightFinding, ...] = ()
    product: int = 0
    lab: int = 0
    incomplete: str = ""

    @property
    def status(self) -> int:
        """The exit status: 8 if the product failed, else 7 if the lab did, else 0."""
        return 8 if self.product else 7 if self.lab else 0


Event = Mapping[str, Any]
"""A line of the journal. It has `at` and `event`, and `entry` where it is about one."""


@dataclass(slots=True)
class Journal:
    """What a night's journal says so far."""

    entries: dict[str, NightEntry] = field(default_factory=dict)
    steps: dict[str, dict[str, NightStep]] = field(default_factory=dict)
    begun: dict[str, set[str]] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    time_line: list[Happened] = field(default_factory=list)
    head: Event = field(default_factory=dict)
    units: dict[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """What several beds share of an entry, as it was divided."""
    parts: dict[str, dict[int, NightStep]] = field(default_factory=dict)
    """Of these, by their numbers, what has a result."""

    def done(self, entry: str, step: str) -> bool:
        """It has a result."""
        return step in self.steps.get(entry, {})


def read_journal(events: Iterable[Event]) -> Journal:
    """All of it. Raises ValueError for what is no journal."""
    journal = Journal()
    for event in events:
        try:
            _take(journal, event)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no event of a night: {error!r:.200}") from error
    return journal


def _take(journal: Journal, event: Event) -> None:
    match event["event"]:
        case "night":
            journal.head = event
            journal.entries = {one["name"]: NightEntry(**one) for one in event["entries"]}
        case "begun":
            journal.begun.setdefault(event["entry"], set()).add(event["step"])
        case "step":
            step = _step(event["result"])
            journal.steps.setdefault(event["entry"], {})[step.name] = step
        case "units":
            journal.units[event["entry"]] = event["units"]
        case "unit":
            journal.parts.setdefault(event["entry"], {})[event["number"]] = _step(event["result"])
        case "again":
            _again(journal, event)
        case "entry":
            known = journal.entries[event["entry"]]
            journal.entries[event["entry"]] = replace(known, **event["of"])
        case "over":
            journal.over.add(event["entry"])
        case _:
            pass
    if words := event.get("what"):
        injected = bool(event.get("injected"))
        journal.time_line.append(Happened(event["at"], event.get("entry", ""), words, injected))


def _again(journal: Journal, event: Event) -> None:
    steps = journal.steps[event["entry"]]
    step = steps[event["step"]]
    tests = tuple(
        replace(one, again=(*one.again, event["status"]))
        if (one.suite, one.test) == (event["suite"], event["test"]) and one.status in BAD
        else one
        for one in step.tests
    )
    steps[event["step"]] = replace(step, tests=tests)


def record_of(journal: Journal, *, ended: str, incomplete: str = "") -> NightRecord:
    """The record of a night that is over, or broken off; without findings."""
    head = journal.head
    entries = [
        replace(entry, steps=tuple(steps[step] for step in entry.planned if step in steps))
        for name, entry in journal.entries.items()
        for steps in [journal.steps.get(name, {})]
    ]
    return NightRecord(
        id=head["id"],
        name=head["name"],
        file=head["file"],
        vmlab=head["vmlab"],
        started=head["at"],
        ended=ended,
        entries=tuple(entries),
        time_line=tuple(sorted(journal.time_line, key=lambda one: one.at)),
        lab=sum(len(entry.broken) for entry in entries),
        incomplete=incomplete,
    )


def to_json(record: NightRecord) -> dict[str, Any]:
    """What `night.json` holds: the fields above, with `schema` first."""
    return {"schema": SCHEMA} | asdict(record)


def from_json(content: object) -> NightRecord:
    """Read back what `to_json` gave. Raises ValueError if it is something else, or of a newer schema."""
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(content, dict) or schema != SCHEMA:
        raise ValueError(f"no record of a night of schema {SCHEMA}")
    from pydantic import ValidationError  # noqa: PLC0415  slow to import

    try:
        return _records().validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"a damaged record of a night: {where}: {first['msg']}") from error


def as_event(step: NightStep) -> dict[str, Any]:
    """What the journal's `result` has."""
    return asdict(step)


def _step(content: Mapping[str, Any]) -> NightStep:
    tests = tuple(NightTest(**{**one, "again": tuple(one["again"])}) for one in content["tests"])
    return NightStep(**{**content, "tests": tests, "runs": tuple(content["runs"])})


def all_tests(record: NightRecord) -> Iterator[tuple[NightEntry, NightTest]]:
    """Of all entries, in their order."""
    return ((entry, test) for entry in record.entries for test in entry.tests)


def symptoms(tests: Collection[NightTest]) -> frozenset[NightTest]:
    """Those that went wrong because another one of them did, which counts: no bed died in them."""
    bad = {(one.suite, one.test) for one in tests if one.status in BAD}
    return frozenset(one for one in tests if one.status in (FAIL, TIMEOUT) and (one.suite, one.symptom_of) in bad)


def counted(tests: Sequence[NightTest]) -> dict[str, int]:
    """How many ended how, the worst first, without those that none did."""
    found = {status: sum(one.status == status for one in tests) for status in STATUSES}
    return {status: count for status, count in found.items() if count}


@cache
def _records() -> "TypeAdapter[NightRecord]":
    from pydantic import TypeAdapter  # noqa: PLC0415  slow to import

    return TypeAdapter(NightRecord)
