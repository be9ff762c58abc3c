"""What a night does to a bed: vmlab's own commands, each a process of its own, which can be ended and leaves its words.

A command by itself ends cleanly when it has to, which a thread does not; what it says can be pasted and tried again.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vmlab.nights.night import Entry, Fault
from vmlab.runtime.files import write_atomically
from vmlab.runtime.own import VMLAB, Ended, run_own
from vmlab.values.fault import Kind

_DOWN_S = 900.0
_FAULT_S = 120.0
_COLLECT_S = 600.0
_LINES = 20
_LONGEST = 400
_PROMPT = "\n$ "
_FAULTS = "fault"
_ERROR = re.compile(r"vmlab: (?!warning:)|\S+:\d+:\d+: ")


def never() -> bool:
    """Nobody calls it off."""
    return False


@dataclass(frozen=True, slots=True)
class Means:
    """`program` is what `vmlab` is; `called_off`: the night is to end; `accel` is that of `up`, "" if not said."""

    folder: Path
    accel: str
    called_off: Callable[[], bool]
    program: Sequence[str] = VMLAB


def announce(messages: Path, argv: Sequence[str]) -> None:
    """That a command begins, whose words follow."""
    with messages.open("a", encoding="utf-8") as file:
        file.write(f"{_PROMPT}vmlab {shlex.join(argv)}\n")


def last_error(messages: Path) -> str:
    """The last error that the last command told, in a line; "" if it told none."""
    lines = [line for line in _last_lines(messages) if _ERROR.match(line)]
    return (lines[-1].removeprefix("vmlab: ") if lines else "")[:_LONGEST]


def _last_lines(messages: Path) -> list[str]:
    try:
        with messages.open("rb") as file:
            file.seek(max(0, messages.stat().st_size - (1 << 16)))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text[max(0, text.rfind(_PROMPT) + 1) :].splitlines()[-_LINES:]


class Verbs:
    """On one bed. Each returns what the command left; what it printed is in the entry's folder."""

    def __init__(self, means: Means, entry: Entry, name: str) -> None:
        """`name` is that of its folder."""
        self._means, self._name = means, name
        self._folder = means.folder / "entries" / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = self._folder / "topology.yaml"
        self._content = entry.content
        self._accel = ("--accel", means.accel) if means.accel else ()
        self._write(self._file, entry.content)

    def up(self, limit_s: float) -> Ended:
        """Bring it up, or what is missing of it."""
        return self._run("up", str(self._file), *self._accel, limit_s=limit_s)

    def rebuild(self, limit_s: float, *, keep: bool) -> Ended:
        """Have it as new, by whatever way is the fastest; `keep`: the next time, by going back to what it is then."""
        kept = ("--keep-new",) if keep else ()
        return self._run("rebuild", str(self._file), "--yes", *kept, *self._accel, limit_s=limit_s)

    def down(self) -> Ended:
        """Take it down, also when the night is being ended."""
        return self._run("down", str(self._file), "--yes", "--no-keep-warm", limit_s=_DOWN_S, called_off=never)

    def run(
        self,
        name: str,
        workload: str,
        options: Mapping[str, Any],
        *,
        limit_s: float,
        resume: bool,
        at_limit: Callable[[], None],
    ) -> Ended:
        """One workload, with these options."""
        file = self._means.folder / self.file(name, workload, options)
        again = ("--resume",) if resume else ()
        return self._run("run", str(file), "-o", "json", *again, limit_s=limit_s, name=name, at_limit=at_limit)

    def file(self, name: str, workload: str, options: Mapping[str, Any]) -> str:
        """The bed's file with one workload, written: where it is, seen from the night's folder."""
        file = self._folder / f"{name}.yaml"
        self._write(file, {**self._content, "workloads": [{workload: dict(options)}]})
        return str(file.relative_to(self._means.folder))

    def records(self, name: str) -> list[dict[str, Any]]:
        """The runs that the last `run` of this name printed; none if it was ended before it could."""
        try:
            found = json.loads((self._folder / f"{name}.out").read_text(encoding="utf-8", errors="replace"))
        except (OSError, ValueError, RecursionError):
            return []
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def fault(self, fault: Fault) -> Ended:
        """Let it happen."""
        how = [word for name, value in fault.how.items() for word in (f"--{name}", value)]
        return self._run("fault", "add", str(self._file), fault.kind, fault.nodes, *how, limit_s=_FAULT_S, name=_FAULTS)

    def undo(self, fault: Fault) -> Ended:
        """What it did is over: who was switched off is on again, who has crashed has another start."""
        if fault.kind in (Kind.POWER, Kind.NMI, Kind.PANIC):
            verb = "on" if fault.kind is Kind.POWER else "cycle"
            argv: tuple[str, ...] = ("power", verb, str(self._file), fault.nodes)
        else:
            argv = ("fault", "clear", str(self._file), fault.nodes)
        return self._run(*argv, limit_s=_FAULT_S, name=_FAULTS, called_off=never)

    def collect(self, name: str) -> str:
        """Evidence, below the night's folder: its folder, "" if there is none."""
        to = self._means.folder / "evidence" / self._name / name
        to.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while to.exists():
            number += 1
            to = to.with_name(f"{name}-{number}")
        self._run("collect", str(self._file), "--to", str(to), limit_s=_COLLECT_S, name="collect", called_off=never)
        return str(to.relative_to(self._means.folder)) if to.is_dir() else ""

    def said(self, *, of_faults: bool = False) -> str:
        """The last error that a command told, in a line."""
        return last_error(self._messages(of_faults))

    def lines(self, *, of_faults: bool = False) -> list[str]:
        """The end of what the last command told."""
        return _last_lines(self._messages(of_faults))

    def _messages(self, of_faults: bool) -> Path:
        """What is said of faults is said while something else says something, too."""
        return self._folder / ("faults.log" if of_faults else "messages.log")

    def _run(
        self,
        *argv: str,
        limit_s: float,
        name: str = "",
        called_off: Callable[[], bool] | None = None,
        at_limit: Callable[[], None] = lambda: None,
    ) -> Ended:
        messages = self._messages(name == _FAULTS)
        announce(messages, argv)
        return run_own(
            argv,
            stdout=self._folder / f"{name or argv[0]}.out",
            stderr=messages,
            limit_s=limit_s,
            called_off=called_off or self._means.called_off,
            at_limit=at_limit,
            program=self._means.program,
        )

    @staticmethod
    def _write(path: Path, content: Mapping[str, Any]) -> None:
        text: str = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=1 << 20)
        write_atomically(path, text)
