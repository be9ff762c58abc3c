"""Make a guest satisfy its steps: all of them in one round trip, each checked, applied if needed, and checked again."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from vmlab.errors import GuestError
from vmlab.guest.child import Watch
from vmlab.guest.killed import KILLED, OUT_OF_MEMORY, victim
from vmlab.guest.patience import Advances, never
from vmlab.guest.ssh import Guest
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline
from vmlab.shell import script
from vmlab.steps import Command, Step
from vmlab.values.complaint import complaint

_LONG = 100  # a word that is worth a name of its own

_RUNNER = OUT_OF_MEMORY + script(__file__, "steps.sh")

_LATE = 124  # of timeout(1), which says KILLED where it took that; but that is also said of what somebody else killed
# How much longer than usual a step may take where the machine is slow, if it gets on.
_STRETCH = 10


class Outcome(NamedTuple):
    """A step that holds: it was so already, or it was applied."""

    step: str
    did: Literal["ok", "applied"]


def satisfy(
    guest: Guest,
    steps: Sequence[Step],
    *,
    on_step: Callable[[str], None] = lambda _: None,
    on_apply: Callable[[str], None] = lambda _: None,
    deadline: Deadline,
    watch: Watch | None = None,
    advances: Advances = never,
) -> tuple[Outcome, ...]:
    """Run the steps in their order, as root.

    `on_step` hears the name of each as it begins, `on_apply` of each that does not hold and is about to be applied.
    Where the machine is slow a step may take longer than its own deadline, as long as `advances` says that it gets on.
    Raises GuestError (stage "roles") for the first step that fails, with its command and the end of its output.
    """
    if not steps:
        return ()
    stretch = _STRETCH if advances.slow else 1
    progress = _Progress(guest, steps, on_step, on_apply, stretch)
    look = watch or guest.watch

    def watched() -> None:
        look()
        if stretch > 1:
            progress.judge(advances)

    result = guest.stream(
        ("sh",), stdin=_program(steps, stretch), as_root=True, deadline=deadline, on_line=progress.hear, watch=watched
    )
    if result.ok and len(progress.outcomes) == len(steps):
        return tuple(progress.outcomes)
    raise progress.failure(result)


def _program(steps: Sequence[Step], stretch: float = 1) -> str:
    """A shell program: constant functions, and calls whose every word is quoted.

    The calls are a function's body, so that a program that arrives incomplete does nothing. Long words that come again
    are written once: a step's check, its application and its check again all have the text of a block.
    """
    calls = [call for number, step in enumerate(steps) for call in _calls(number, step, stretch)]
    often = Counter(word for call in calls for word in call if len(word) > _LONG)
    names = {word: f"w{number}" for number, (word, times) in enumerate(often.items()) if times > 1}
    words = [f"{name}={shlex.quote(word)}" for word, name in names.items()]
    lines = (" ".join(f'"${names[w]}"' if w in names else shlex.quote(w) for w in call) for call in calls)
    return "\n".join([_RUNNER, "main() {", *words, *lines, "}", "main", ""])


def _calls(number: int, step: Step, stretch: float) -> Iterator[Command]:
    seconds = f"{step.deadline_s * stretch:g}"
    check = ("here", *step.check[2:]) if step.at_once else step.check
    yield "check", str(number), seconds, *check
    for index, command in enumerate(step.apply):
        yield "apply", str(index), seconds, *command
    yield "verify", seconds, *check


class _Progress:
    """What the program told so far."""

    def __init__(
        self,
        guest: Guest,
        steps: Sequence[Step],
        on_step: Callable[[str], None],
        on_apply: Callable[[str], None],
        stretch: float,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._guest = guest
        self._stretch = stretch
        self._usual = Deadline.after(0)
        self._steps = steps
        self._on_step = on_step
        self._on_apply = on_apply
        self._current: Step | None = None
        self._failure: tuple[int, str, int] | None = None
        self._memory = ""
        self._output: list[str] = []

    def hear(self, line: str) -> None:
        match line.split(" "):
            case ["vmlab:", "check", number]:
                self._current = self._steps[int(number)]
                self._usual = Deadline.after(self._current.deadline_s)
                self._on_step(self._current.name)
            case ["vmlab:", "apply", number]:
                self._on_apply(self._steps[int(number)].name)
            case ["vmlab:", ("ok" | "applied") as did, number]:
                self.outcomes.append(Outcome(self._steps[int(number)].name, "ok" if did == "ok" else "applied"))
            case ["vmlab:", "failed", _, status, what, seconds]:
                self._failure = int(status), what, int(seconds)
            case ["vmlab:", "memory", *words]:
                self._memory = " ".join(words)
            case ["|", *_]:
                self._output.append(line[2:])

    def judge(self, advances: Advances) -> None:
        """Give up a step that is beyond its usual time, and where nothing advances."""
        step = self._current
        if step is not None and self._usual.passed and not advances():
            raise self._error(f"step {step.name}: not done after {step.deadline_s:g} s; {advances.why}")

    def failure(self, result: Result) -> GuestError:
        step, lines = self._current, self._output
        if step is None:
            cause = "nothing came back at the deadline" if result.timed_out else _said(result)
            return self._error(f"cannot run steps as root: {cause}")
        if self._failure is None:
            cause = "not done at its deadline" if result.timed_out else _broken_off(result)
            return self._error(f"step {step.name}: {cause}")
        status, what, seconds = self._failure
        command = step.check if what == "check" else step.apply[int(what)]
        cause = self._ended(status, seconds, step.deadline_s * self._stretch)
        if what == "check":
            cause += " after the step was applied"
        why = complaint(lines)
        return self._error(f"step {step.name}: `{_short(command)}` {cause}" + (f": {why}" if why else ""))

    def _ended(self, status: int, seconds: int, limit_s: float) -> str:
        if status in (_LATE, KILLED) and seconds + 1 >= limit_s:
            return f"took over {limit_s:g} s"
        if status == KILLED:
            program = victim(self._memory)
            why = f", because the guest ran out of memory: its kernel killed {program}" if program else ""
            return f"was killed{why}"
        return f"ended with status {status}"

    def _error(self, message: str) -> GuestError:
        guest = self._guest
        return GuestError(
            f"{guest.node}: {message}",
            node=guest.node,
            stage="roles",
            console=self._output,
            hint=f"vmlab ssh {guest.bed} {guest.node}",
        )


def _said(result: Result) -> str:
    return complaint(result.stderr.splitlines()) or f"status {result.status}"


def _broken_off(result: Result) -> str:
    """The program ended without a word of it: what ended it, and what somebody else said last."""
    said = complaint([line for line in (result.stdout + result.stderr).splitlines() if not line.startswith("vmlab: ")])
    how = {_LATE: "not done at its deadline", KILLED: "broken off: the shell that ran it was killed"}
    cause = how.get(result.status, f"broken off with status {result.status}")
    return cause + (f": {said}" if said else "")


def _short(command: Command) -> str:
    """The command in one line; of a script only its arguments are worth the room."""
    words = ["…" if "\n" in word else word for word in command]
    return shlex.join(words).replace("'…'", "…")
