"""What a sick kernel, or Lustre in it, said on a console: what happened, to whom, where, and the lines around it.

A kernel says one thing in many lines: an assertion, LBUG, a stack and a panic are one event, named by its first line.
What only has the words in it (titles of tests, the command line, units of systemd) is none: each sign stands where the
kernel puts it, at a message's beginning. Messages begin in the midst of lines, too, where others were printing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from vmlab.values.printable import plain


class Kind(StrEnum):
    """What happened."""

    PANIC = "panic"
    LBUG = "LBUG"
    ZFS = "ZFS panic"
    OOPS = "Oops"
    KASAN = "KASAN"
    UBSAN = "UBSAN"
    HARD = "hard lock-up"
    SOFT = "soft lock-up"
    STALL = "RCU stall"
    HUNG = "hung task"
    OOM = "out of memory"


_WAITS = frozenset({Kind.HARD, Kind.SOFT, Kind.STALL, Kind.HUNG})
"""Threads that do not get on: of themselves, or because another one stopped."""
_STOPS = frozenset({Kind.PANIC, Kind.LBUG, Kind.ZFS, Kind.OOPS})
"""What ends a thread, or all of them."""


@dataclass(slots=True)
class Event:
    """`line` is the first message of it, `at` its time since the boot; `place` is FILE:LINE FUNCTION.

    `test` is the sub-test whose begin was the last that the console showed, as (suite, name). `panic` is the line by
    which the kernel panicked because of it, "" if it did not: that is no event of its own. `asked`: somebody had it
    crash by sysrq. `times`: a thread that goes on waiting is named again and again. `symptom`: in the same boot
    something had stopped before, and this waits for it. `lines` are those around it, `printed` the first message and
    the panic with the times that the console has.
    """

    kind: Kind
    line: str
    at: float | None = None
    process: str = ""
    pid: int | None = None
    place: str = ""
    test: tuple[str, str] | None = None
    panic: str = ""
    asked: bool = False
    times: int = 1
    symptom: bool = False
    boot: int = 0
    lines: tuple[str, ...] = ()
    printed: tuple[str, ...] = ()

    @property
    def dead(self) -> bool:
        """The kernel panicked."""
        return bool(self.panic)

    @property
    def stuck(self) -> bool:
        """The guest lives, and one of its threads has stopped for good."""
        return not self.dead and self.kind in (Kind.LBUG, Kind.ZFS)


@dataclass(frozen=True, slots=True)
class Console:
    """`boots` counts the kernels that began on it; `dead`: the last one has panicked."""

    events: tuple[Event, ...] = ()
    boots: int = 0
    dead: bool = False


def read_console(text: str) -> Console:
    """All that went wrong, in its order: the first event of a boot comes before what follows from it."""
    shown = [line.rstrip() for line in plain(text).split("\n")]
    reader = _Reader()
    for message in _messages(shown):
        reader.message(message)
    for event, number in zip(reader.events, reader.numbers, strict=True):
        event.lines = tuple(line for line in shown[max(0, number - _BEFORE) : number + _AFTER] if line)
    dead = any(event.dead and event.boot == reader.boot for event in reader.events)
    return Console(tuple(reader.events), reader.boots, dead)


_BEFORE, _AFTER = 6, 25

# `<4>[   12.345678][  T123] `; an old log's `[Mon Oct 16 10:00:12 2017]` is a stamp without such a time.
_STAMP = re.compile(
    r"(?:<\d{1,2}>)?\[ *(?P<at>\d{1,8}\.\d{1,6})\](?:\[ *[TC]\d+\])? ?|\[\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}\] "
)
_INSIDE = re.compile(r"(?<=.)(?=(?:<\d{1,2}>)?\[ *\d{1,8}\.\d{6}\])")
_COPIED = re.compile(r" kernel:|Message from syslogd@")
_JOURNAL = re.compile(r"\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ kernel: ")


class _Message(NamedTuple):
    """One message of the kernel, or what somebody else printed; `number` is its line's."""

    number: int
    text: str
    at: float | None
    printed: str


def _messages(lines: Sequence[str]) -> Iterator[_Message]:
    for number, line in enumerate(lines):
        if _COPIED.match(line):
            continue
        for part in _INSIDE.split(_JOURNAL.sub("", line, count=1)):
            stamp = _STAMP.match(part)
            at = float(stamp["at"]) if stamp is not None and stamp["at"] else None
            text = part[stamp.end() :] if stamp is not None else part
            yield _Message(number, text.strip(), at, part.strip())


_CALLED = r"\((?P<file>[^:()]+):(?P<where>\d+):(?P<function>[^()]+)\(\)\)"
_LUSTRE = rf"(?:Lustre|LNet)(?:Error)?: (?P<pid>\d+)(?::\w+)*:{_CALLED} "
_KILLED = r"Kill(?:ed)? process (?P<pid>\d+),? \(?(?P<process>[^),]+)"
_PLACE = r"(?P<file>[^\s:]+):(?P<where>\d+):(?P<function>\w+)\(\)"
_SIGNS = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (Kind.LBUG, _LUSTRE + r"(?:ASSERTION\(.*\) failed\b|LBUG$)"),
        (Kind.ZFS, r"(?:VERIFY|ASSERT(?!ION))\w*\(.*\) failed\b"),
        (Kind.ZFS, rf"(?:SPLError: \S+ )?PANIC at {_PLACE}"),
        (Kind.KASAN, r"BUG: KASAN: "),
        (Kind.UBSAN, r"UBSAN: (?!Undefined behaviour sanity checks)\S"),
        (Kind.SOFT, r"(?:NMI )?(?:watchdog: )?BUG: soft lockup - .*\[(?P<process>.+):(?P<pid>\d+)\]"),
        (Kind.SOFT, r"(?:NMI )?(?:watchdog: )?BUG: (?:soft lockup - |workqueue lockup - )"),
        (Kind.HARD, r"(?:NMI )?watchdog: (?:CPU\d+: )?Watchdog detected hard LOCKUP"),
        (Kind.STALL, r"(?:rcu: )?INFO: rcu_\w+ (?:self-)?detected (?:expedited )?stalls? on (?:CPU|tasks)"),
        (Kind.STALL, r"rcu: rcu_\w+ kthread starved for \d+ jiffies"),
        (Kind.HUNG, r"INFO: task (?P<process>.+):(?P<pid>\d+) blocked (?:in I/O wait )?for more than \d+ seconds"),
        (Kind.OOM, r"\S.* invoked oom-killer: "),
        (Kind.OOM, rf"(?:Out of memory|Memory cgroup out of memory).*: {_KILLED}"),
        (Kind.OOPS, r"kernel BUG at (?P<file>\S+):(?P<where>\d+)!"),
        (Kind.OOPS, r"BUG: (?:unable to handle|kernel NULL pointer|Bad |scheduling while atomic|stack guard page)"),
        (Kind.OOPS, r"Unable to handle kernel |general protection fault\b"),
        (Kind.OOPS, r"(?:Oops|Internal error): .*\[#\d+\]|[\w -]+: [0-9a-f]{4} \[#\d+\]"),
        (Kind.PANIC, r"Kernel panic - not syncing\b"),
    )
)
# What a panic says of the event that it comes from.
_BECAUSE = (
    (Kind.LBUG, re.compile(r"LBUG")),
    (Kind.SOFT, re.compile(r"softlockup: ")),
    (Kind.HARD, re.compile(r"[Hh]ard LOCKUP")),
    (Kind.HUNG, re.compile(r"hung_task: ")),
    (Kind.STALL, re.compile(r"RCU Stall")),
    (Kind.KASAN, re.compile(r"KASAN|kasan|panic_on_warn")),
    (Kind.UBSAN, re.compile(r"UBSAN|panic_on_warn")),
    (Kind.OOM, re.compile(r"Out of memory|out of memory|deadlocked on memory")),
    (Kind.OOPS, re.compile(r"Fatal exception|Oops|Attempted to kill ")),
)
_SAME_S = 2.0
"""What one thread says of one thing comes within so long, unless the machine is very slow."""
_EARLY_S = 30.0
_REACH = 60
"""In so many messages after the first one it is told whose stack it is."""

_BOOT = re.compile(r"Linux version \d")
_MARK = re.compile(r"(?:Lustre: DEBUG MARKER: )?== (?P<suite>\S+) test (?P<test>\w+): ")
_PHASE = re.compile(
    r"(?:Lustre: DEBUG MARKER: )?=== (?P<suite>\S+): (?P<word>start|finish) (?P<phase>setup|cleanup) "
    r"|(?:Lustre: DEBUG MARKER: )?== \S+ test complete, duration "
)
_WHO = re.compile(
    r"(?:CPU: \d+ (?:UID: \d+ )?)?P[Ii][Dd]: (?P<pid>\d+),? [Cc]omm: (?P<process>.+?)"
    r"(?: (?:Kdump: |Tainted: |Not tainted|\d+\.\d+[.\d]*\S* #)|(?: \d+\.\d+\.\S+)?(?: |$))"
)
_STACK_OF = re.compile(r"Showing stack for process (?P<pid>\d+)")
_BY_TASK = re.compile(r"(?:Read|Write) of size \d+ at addr \S+ by task (?P<process>.+)/(?P<pid>\d+)")
_SYSRQ = re.compile(r"sysrq: (?:SysRq : )?Trigger a crash|SysRq : Trigger a crash")


@dataclass(slots=True)
class _Reader:
    events: list[Event] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    boot: int = 0
    boots: int = 0
    _test: tuple[str, str] | None = None
    _asked: bool = False
    _since: int = 0
    _at: float = 0.0

    def message(self, message: _Message) -> None:
        """In their order."""
        text = message.text
        if message.at is not None:
            began_anew = message.at < _EARLY_S and self._at - message.at > _EARLY_S
            self._at = message.at
            if began_anew and not _BOOT.match(text):
                self._begin()
        if _BOOT.match(text):
            self.boots += 1
            self._begin()
        elif _SYSRQ.match(text):
            self._asked = True
        elif found := _MARK.match(text):
            self._test = (found["suite"], f"test_{found['test']}")
        elif found := _PHASE.match(text):
            self._test = (found["suite"], f"test_{found['phase']}") if found["word"] == "start" else None
        else:
            self._sign(message)

    def _begin(self) -> None:
        """Another kernel; one that says little is known by its clock."""
        self.boot += any(event.boot == self.boot for event in self.events)
        self._test, self._asked = None, False

    def _sign(self, message: _Message) -> None:
        for kind, pattern in _SIGNS:
            if found := pattern.match(message.text):
                event = self._event(kind, found, message)
                if event is None:
                    event = Event(kind, message.text, message.at, test=self._test, boot=self.boot)
                    event.printed = (message.printed,)
                    event.asked = self._asked
                    event.symptom = kind in _WAITS and any(
                        other.kind in _STOPS and other.boot == self.boot for other in self.events
                    )
                    self.events.append(event)
                    self.numbers.append(message.number)
                    self._since = 0
                else:
                    event.times += kind in _WAITS and (message.text, message.at) != (event.line, event.at)
                _tell(event, found)
                if kind is Kind.PANIC and not event.panic:
                    event.panic = message.text
                    event.printed = tuple(dict.fromkeys((*event.printed, message.printed)))
                return
        self._since += 1
        if self.events and self._since < _REACH and self.events[-1].boot == self.boot:
            _whose(self.events[-1], message.text)

    def _event(self, kind: Kind, found: re.Match[str], message: _Message) -> Event | None:
        """The event to which a message belongs that is a sign by itself."""
        here = [event for event in reversed(self.events) if event.boot == self.boot]
        same = next((e for e in here if (e.line, e.at) == (message.text, message.at)), None)
        if same is not None or kind is not Kind.PANIC:
            return same or next((e for e in here[:_LATEST] if _continues(e, kind, found, message)), None)
        named = {of for of, pattern in _BECAUSE if pattern.search(message.text)}
        panic = next((e for e in here if e.dead), None)  # a panic in a panic
        because = next((e for e in here if e.kind in named), None)
        return panic or because or next((e for e in here[:1] if _close(e, message) and e.kind in _STOPS), None)


_LATEST = 8


def _continues(event: Event, kind: Kind, found: re.Match[str], message: _Message) -> bool:
    """A further line of the same: LBUG after its assertion, `Oops` after `BUG: unable to handle`, who is killed."""
    groups = found.groupdict()
    if kind is Kind.LBUG and event.kind is Kind.LBUG:
        return event.pid == int(groups["pid"]) and event.place == _place(groups) and _close(event, message)
    if kind in _WAITS and event.kind is kind:
        pid = groups.get("pid")
        return event.pid == int(pid) and event.process == groups.get("process") if pid else event.pid is None
    if kind in (Kind.ZFS, Kind.OOM) and event.kind is kind:
        return _close(event, message) and not (kind is Kind.ZFS and bool(groups.get("file")) == bool(event.place))
    return kind is Kind.OOPS and event.kind in (Kind.OOPS, Kind.KASAN) and _close(event, message)


def _close(event: Event, message: _Message) -> bool:
    return event.at is None or message.at is None or abs(message.at - event.at) <= _SAME_S


def _tell(event: Event, found: re.Match[str]) -> None:
    groups = found.groupdict()
    if groups.get("pid") and event.pid is None:
        event.pid = int(groups["pid"])
        event.process = (groups.get("process") or "").strip()
    if groups.get("file") and not event.place:
        event.place = _place(groups)


def _place(groups: dict[str, str]) -> str:
    return " ".join(filter(None, (f"{groups['file']}:{groups['where']}", groups.get("function"))))


def _whose(event: Event, text: str) -> None:
    """Lines of a stack tell the process, if they are of the same."""
    for pattern in (_BY_TASK, _WHO, _STACK_OF):
        if found := pattern.match(text):
            pid = int(found["pid"])
            if event.pid is None:
                event.pid = pid
            if event.pid == pid and not event.process:
                event.process = found.groupdict().get("process") or ""
            return
