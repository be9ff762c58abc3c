"""The logs of suites and of their sub-tests: which ended how, and what each complained of first.

results.yml has only the last error of a sub-test; the first one, which is the cause of the others, stands here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vmlab.suites.written import PASS

SETUP, CLEANUP = "test_setup", "test_cleanup"

_BEGIN = re.compile(
    r"== (?P<suite>\S+) test (?P<test>\w+): (?P<title>.*?) ?=*== \d\d:\d\d:\d\d \((?P<at>\d{1,12})\)\s*"
)
_PHASE = re.compile(
    r"=== (?P<suite>\S+): (?P<word>start|finish) (?P<phase>setup|cleanup) \d\d:\d\d:\d\d \(\d+\) ===\s*"
)
_COMPLETE = re.compile(r"== \S+ test complete, duration \d+ sec =*== ")
_END = re.compile(r"(?P<status>PASS|FAIL|SKIP) (?P<test>\w+) \((?P<seconds>\d{1,9})s\)\s*")
_ERROR = re.compile(
    r" ?(?P<suite>\S+) (?P<test>\S*?) ?: @@@@@@ (?P<type>FAIL|IGNORE \((?P<ticket>[^)]*)\)): (?P<text>.*)"
)
_SKIP = re.compile(r" ?SKIP: (?P<suite>\S+) (?P<test>\S+) (?P<text>.*)")
# What the framework finds in dmesg after a sub-test; its own error says only that there was something.
_KERNEL = re.compile(r"Kernel error detected: (?P<text>.*\S.*)")
_RETURNED = re.compile(r"test_(?P<test>\w+) returned (?P<code>\d{1,3})\s*")
_FRAME = re.compile(r"  = (?P<file>\S+):(?P<line>\d+):(?P<function>\S+\(\))\s*")
_TRACE = "  Trace dump:"
_FRAMEWORK = "test-framework.sh"
_FILE = re.compile(r"(?P<suite>.+?)\.(?:suite_log|(?P<test>test_\w+)\.test_log)\.(?P<host>.+)\.log")

_BEFORE = 20
_MESSAGE = 50
"""Lines that a message has at most, if a trace follows it."""


@dataclass(frozen=True, slots=True)
class Error:
    """One `@@@@@@` line. `place` is where the suite called, `before` what stands in front of it; `ticket`: ignored."""

    text: str
    place: str = ""
    before: tuple[str, ...] = ()
    ticket: str | None = None


@dataclass(slots=True)
class Section:
    """What was logged of one round of a sub-test, setup and clean-up included; `status` None if no end was logged."""

    test: str
    title: str = ""
    status: str | None = None
    seconds: int | None = None
    errors: list[Error] = field(default_factory=list)
    ignored: list[Error] = field(default_factory=list)
    skipped: str = ""
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Log:
    """The sections of a log by their sub-test, as results.yml calls it: its rounds. Both are in the log's order."""

    tests: Mapping[str, Sequence[Section]]

    def of(self, test: str) -> Sequence[Section]:
        """The rounds of a sub-test; none if it is not in the log."""
        return self.tests.get(test, ())


@dataclass(frozen=True, slots=True)
class Logs:
    """Those of one folder: of suites by suite, of sub-tests by both."""

    suites: Mapping[str, Log]
    tests: Mapping[tuple[str, str], Log]


def read_logs(files: Mapping[str, str]) -> Logs:
    """Contents by the files' names; what has another name than logs have is left out."""
    suites: dict[str, Log] = {}
    tests: dict[tuple[str, str], Log] = {}
    for name, text in files.items():
        found = _FILE.fullmatch(name.rpartition("/")[2])
        if found is None:
            continue
        if found["test"] is None:
            suites[found["suite"]] = read_log(text)
        else:
            tests[found["suite"], found["test"]] = read_log(text, found["test"])
    return Logs(suites, tests)


def read_log(text: str, test: str = "") -> Log:
    """A suite's log, or that of `test`, in which the line that begins it may be missing."""
    reader = _Reader(test)
    lines = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines):
        reader.line(number, line, lines)
    found: dict[str, list[Section]] = {}
    for section in reader.sections:
        found.setdefault(section.test, []).append(section)
    return Log(found)


class _Reader:
    def __init__(self, test: str) -> None:
        self.sections: list[Section] = []
        self._open: Section | None = None
        if test:
            self._begin(Section(test))

    def line(self, number: int, line: str, lines: Sequence[str]) -> None:
        if begin := _BEGIN.fullmatch(line):
            self._begin(Section(f"test_{begin['test']}", begin["title"]))
        elif phase := _PHASE.fullmatch(line):
            self._phase(phase["phase"], phase["word"])
        elif _COMPLETE.match(line):
            self._open = None
        elif self._open is not None:
            self._inside(self._open, number, line, lines)

    def _begin(self, section: Section) -> None:
        """The log of one sub-test begins with the same line as its part of the suite's."""
        if self._open is not None and self._open.test == section.test and not any(map(str.strip, self._open.lines)):
            self.sections.remove(self._open)
        self.sections.append(section)
        self._open = section

    def _phase(self, phase: str, word: str) -> None:
        test = f"test_{phase}"
        if word == "start":
            self._begin(Section(test))
        elif self._open is not None and self._open.test == test:
            self._open.status = PASS if not self._open.errors else None
            self._open = None

    def _inside(self, section: Section, number: int, line: str, lines: Sequence[str]) -> None:
        if found := _ERROR.fullmatch(line):
            error = _error(found, section, number, lines)
            (section.errors if error.ticket is None else section.ignored).append(error)
        elif (found := _END.fullmatch(line)) and section.test == f"test_{found['test']}":
            section.status, section.seconds = found["status"], int(found["seconds"])
            self._open = None
        elif found := _KERNEL.fullmatch(line):
            section.errors.append(Error(found["text"].strip(), before=_before(section)))
        elif found := _SKIP.fullmatch(line):
            section.skipped = section.skipped or found["text"].strip()
        elif (found := _RETURNED.fullmatch(line)) and section.test == f"test_{found['test']}" and not section.errors:
            section.errors.append(Error(line.strip(), before=_before(section)))
        section.lines.append(line)


def _error(found: re.Match[str], section: Section, number: int, lines: Sequence[str]) -> Error:
    rest = lines[number + 1 : number + 1 + _MESSAGE]
    trace = next((n for n, line in enumerate(rest) if line.rstrip() == _TRACE or _ERROR.fullmatch(line)), None)
    if trace is not None and rest[trace].rstrip() != _TRACE:
        trace = None
    more = rest[:trace] if trace is not None else []
    text = "\n".join((found["text"], *more)).strip()
    frames = _frames(lines, number + 2 + len(more)) if trace is not None else iter(())
    place = next((f"{file} {function}" for file, function in frames if not file.startswith(_FRAMEWORK)), "")
    return Error(text, place, _before(section), found["ticket"])


def _frames(lines: Sequence[str], start: int) -> Iterator[tuple[str, str]]:
    for number in range(start, len(lines)):
        frame = _FRAME.fullmatch(lines[number])
        if frame is None:
            return
        yield f"{frame['file'].rpartition('/')[2]}:{frame['line']}", frame["function"]


def _before(section: Section) -> tuple[str, ...]:
    return tuple(line.rstrip() for line in section.lines[-_BEFORE:] if line.strip())
