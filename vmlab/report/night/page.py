"""The page of a night: what is new first, then what the lab broke, all tests with their last nights, the time line."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from vmlab.judgement.expectations import bare
from vmlab.records.night import (
    BAD,
    CRASH,
    FAIL,
    NOT_RUN,
    PASS,
    SKIP,
    STATUSES,
    TIMEOUT,
    NightEntry,
    NightFinding,
    NightRecord,
    NightTest,
    counted,
)
from vmlab.report.night.summary import headline, totals
from vmlab.report.pages.parts import Cell, Column, Commands, Detail, Listing, Notice, Page, Part, Section, Table, Words

_LETTERS = {PASS: "P", FAIL: "F", SKIP: "S", TIMEOUT: "T", CRASH: "C", NOT_RUN: "N"}
_LOOKS = {
    FAIL: "failure",
    TIMEOUT: "failure",
    CRASH: "failure",
    NOT_RUN: "warning",
    SKIP: "note",
    "died": "failure",
    "new failure": "failure",
    "still failing": "failure",
    "fails more often": "failure",
    "flaky": "warning",
    "slower": "warning",
    "passed": "note",
    "skipped": "note",
}
_EARLIER = ("flaky", "slower", "fixed", "known failure", "did not run")
_MOST = 200
_MOST_HAPPENED = 2000
_LONGEST_WHY = 300
_Key = tuple[str, str, str]


def page(record: NightRecord, earlier: Sequence[NightRecord] = ()) -> Page:
    """All of it. `earlier` are the nights before, oldest first: what they were counts in the history strips."""
    findings = {(one.entry, one.suite, one.test): one for one in record.findings}
    made = _Made(record, earlier, findings)
    return Page(
        headline(record),
        totals(record),
        [
            Section("What to know first", [*made.first()]),
            Section("Failed, and nobody expected it", [*made.red()]),
            Section("The lab", [*made.lab()]),
            Section("Known, flaky, fixed, slower", [*made.others()]),
            Section("Beds", [made.beds()]),
            Section("All tests", [made.everything()]),
            Section("Time line", [*made.time_line()]),
            Section("To repeat it", [Commands([f"vmlab nightly {record.file}"])]),
        ],
        f"vmlab {record.vmlab}",
    )


class _Made:
    def __init__(
        self, record: NightRecord, earlier: Sequence[NightRecord], findings: Mapping[_Key, NightFinding]
    ) -> None:
        self._record, self._findings = record, findings
        self._strips = _strips([*earlier, record])
        self._tests = {_key(entry, test): (entry, test) for entry in record.entries for test in reversed(entry.tests)}

    def first(self) -> Iterator[Part]:
        record = self._record
        if record.incomplete:
            yield Notice(f"The night was broken off: {record.incomplete}. --resume goes on with it.", "failure")
        if record.product:
            yield Notice(f"{_many(record.product, 'test')} failed, and nobody expected it.", "failure")
        if record.lab:
            yield Notice(f"{record.lab} not tested, and that is the lab's fault, not the product's.", "warning")
        if not (record.incomplete or record.product or record.lab):
            yield Notice("All is as expected.", "note")
        if kept := [entry.bed for entry in record.entries if entry.kept]:
            yield Notice(f"Still up, until the next night: {', '.join(kept)}.", "note")

    def red(self) -> Iterator[Part]:
        some = [one for one in self._record.findings if one.red]
        if some:
            yield self._table("New failures, and those that still fail", some)

    def others(self) -> Iterator[Part]:
        for verdict in _EARLIER:
            some = [one for one in self._record.findings if one.verdict == verdict and not one.red]
            if some:
                yield self._table(verdict.capitalize(), some)

    def _table(self, caption: str, some: Sequence[NightFinding]) -> Table:
        columns = [Column(heading) for heading in ("Entry", "Suite", "Test", "Verdict", "Why", "Ticket", "Alone")]
        notes = [("…", f"{len(some) - _MOST} more are in the list of all tests")] if len(some) > _MOST else []
        return Table(caption, [*columns, Column("Evidence")], [self._finding(one) for one in some[:_MOST]], notes)

    def _finding(self, one: NightFinding) -> list[Cell]:
        found = self._tests.get((one.entry, one.suite, one.test))
        test = found[1] if found is not None else None
        where = (test.evidence if test is not None else "") or self._evidence(one.entry, test)
        again = f"{test.shaky}: {', '.join(test.again)}" if test is not None and test.shaky else ""
        return [
            Cell(one.entry),
            Cell(one.suite),
            Cell(one.test, strong=True),
            Cell(one.verdict),
            Cell(_cut(one.why)),
            Cell(one.ticket),
            Cell(again),
            Cell("evidence" if where else "", href=_index(where)),
        ]

    def _evidence(self, entry: str, test: NightTest | None) -> str:
        """That of the step in which it failed."""
        for one in self._record.entries:
            if one.name == entry:
                for step in one.steps:
                    if test is not None and test in step.tests:
                        return step.evidence
        return ""

    def lab(self) -> Iterator[Part]:
        rows = [
            [Cell(entry.name), Cell(_cut(why)), Cell("evidence" if entry.evidence else "", href=_index(entry.evidence))]
            for entry in self._record.entries
            for why in entry.broken
        ]
        if rows:
            yield Table("What the lab broke", [Column("Entry"), Column("Why"), Column("Evidence")], rows)

    def beds(self) -> Table:
        columns = [Column("Entry"), Column("Bed"), Column("Conditions"), Column("Tests"), Column("Took", number=True)]
        rows = []
        for entry in self._record.entries:
            told = ", ".join(f"{number} {status}" for status, number in counted(entry.tests).items())
            conditions = ", ".join(f"{name} {value}" for name, value in entry.under.items())
            bed = f"{entry.bed} (up)" if entry.kept else entry.bed
            took = _took(entry.started, entry.ended)
            rows.append([Cell(entry.name, strong=True), Cell(bed), Cell(conditions), Cell(told), Cell(took)])
        return Table("What ran on which bed", columns, rows)

    def everything(self) -> Part:
        tests = [(entry, test) for entry in self._record.entries for test in entry.tests]
        if not tests:
            return Words("There is none.")
        tests.sort(key=self._rank)
        columns = [Column("Test"), Column("Suite"), Column("Entry"), Column("Status"), Column("Verdict")]
        rows: list[list[str | float | None]] = []
        details: dict[int, Detail] = {}
        for place, (entry, test) in enumerate(tests):
            key = _key(entry, test)
            finding = self._findings.get(key)
            verdict = finding.verdict if finding is not None else ""
            name = f"{test.test} ({test.round})" if test.round > 1 else test.test
            strip = self._strips.get(key, "")
            rows.append([name, test.suite, entry.name, test.status, verdict, test.seconds, strip])
            if (detail := self._detail(entry, test, finding)) is not None:
                details[place] = detail
        return Listing(
            "Each test, with its last nights",
            [*columns, Column("Seconds", number=True), Column("Last nights")],
            rows,
            choices=(1, 2, 3, 4),
            strip=len(columns) + 1,
            looks=_LOOKS,
            details=details,
        )

    def _rank(self, pair: tuple[NightEntry, NightTest]) -> tuple[bool, int, int]:
        entry, test = pair
        finding = self._findings.get(_key(entry, test))
        return not (finding is not None and finding.red), STATUSES.index(test.status), test.round

    def _detail(self, entry: NightEntry, test: NightTest, finding: NightFinding | None) -> Detail | None:
        why = finding.why if finding is not None and finding.why not in ("", test.said) else ""
        again = f"{test.shaky}: {', '.join(test.again)}" if test.shaky else ""
        facts = [
            ("said", test.said),
            ("comes of", test.symptom_of),
            ("judged", why),
            ("ticket", finding.ticket if finding is not None else ""),
            ("run again, alone", again),
            ("to repeat it, in the night's folder", _repeated(test.repeat)),
        ]
        step = self._evidence(entry.name, test) if test.status in BAD else ""
        links = [("log", test.log), ("its evidence", _index(test.evidence)), ("evidence of its step", _index(step))]
        told = [(name, value) for name, value in facts if value]
        there = [(name, href) for name, href in links if href]
        return Detail(told, test.excerpt, there) if told or test.excerpt or there else None

    def time_line(self) -> Iterator[Part]:
        happened = self._record.time_line
        if happened:
            rows = [
                [Cell(one.at[11:19]), Cell(one.entry), Cell(_cut(one.what), strong=one.injected)]
                for one in happened[:_MOST_HAPPENED]
            ]
            notes = [("…", f"{len(happened) - len(rows)} more are in night.json")] if len(happened) > len(rows) else []
            yield Words("What went wrong on purpose is set in bold.")
            yield Table("What happened when", [Column("Time"), Column("Entry"), Column("What")], rows, notes)


def _repeated(file: str) -> str:
    return f"vmlab up {shlex.quote(file)} && vmlab run {shlex.quote(file)}" if file else ""


def _key(entry: NightEntry, test: NightTest) -> _Key:
    return entry.name, test.suite, bare(test.test)


def _strips(nights: Sequence[NightRecord]) -> dict[_Key, str]:
    """Of each test a letter for each night, the oldest first; of several rounds the worst."""
    found: dict[_Key, list[str]] = {}
    for place, night in enumerate(nights):
        worst: dict[_Key, int] = {}
        for entry in night.entries:
            for test in entry.tests:
                key, rank = _key(entry, test), STATUSES.index(test.status)
                worst[key] = min(rank, worst.get(key, rank))
        for key, rank in worst.items():
            found.setdefault(key, ["."] * len(nights))[place] = _LETTERS[STATUSES[rank]]
    return {key: "".join(letters) for key, letters in found.items()}


def _index(folder: str) -> str:
    return f"{folder}/index.md" if folder else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_WHY else f"{text[:_LONGEST_WHY]}..."


def _took(started: str, ended: str) -> str:
    try:
        seconds = int((datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds())
    except ValueError:
        return ""
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
