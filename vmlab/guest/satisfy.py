"""Make a guest satisfy its steps: all of them in one round trip, each checked, applied if needed, and checked again."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from vmlab.errors import GuestError
from vmlab.guest.child import Watch
from vmlab.guest.ssh import Guest
from vmlab.guest.trouble import complaint
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline
from vmlab.steps import Command, Step

# The functions that the calls below refer to; nothing is ever put into this text. The commands' output goes to a file
# and not to a pipe, which a daemon that a step starts would hold open; the file has no name, so that none is left.
_RUNNER = """
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 022
out=$(mktemp) && exec 3<>"$out" && rm -f "$out" || exit 1
out=/proc/$$/fd/3
tell() { echo "vmlab: $*"; }
try() { timeout -k 5 "$@" </dev/null >"$out" 2>&1 3>&-; }
fail() { tell "$@"; tail -n 40 "$out" | sed 's/^/| /'; exit 1; }
check() {
    step=$1 todo=
    shift
    tell check "$step"
    if try "$@"; then tell ok "$step"; else todo=1; tell apply "$step"; fi
}
apply() { number=$1; shift; [ -z "$todo" ] || try "$@" || fail failed "$step" "$?" "$number"; }
verify() { [ -z "$todo" ] || { try "$@" || fail failed "$step" "$?" check; tell applied "$step"; }; }
"""

_TIMED_OUT = (124, 137)


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
) -> tuple[Outcome, ...]:
    """Run the steps in their order, as root.

    `on_step` hears the name of each as it begins, `on_apply` of each that does not hold and is about to be applied.
    Raises GuestError (stage "roles") for the first step that fails, with its command and the end of its output.
    """
    if not steps:
        return ()
    progress = _Progress(steps, on_step, on_apply)
    result = guest.stream(
        ("sh",), stdin=_program(steps), as_root=True, deadline=deadline, on_line=progress.hear, watch=watch
    )
    if result.ok and len(progress.outcomes) == len(steps):
        return tuple(progress.outcomes)
    raise progress.failure(guest, result)


def _program(steps: Sequence[Step]) -> str:
    """A shell program: constant functions, and calls whose every word is quoted.

    The calls are a function's body, so that a program that arrives incomplete does nothing.
    """
    calls = (shlex.join(call) for number, step in enumerate(steps) for call in _calls(number, step))
    return "\n".join([_RUNNER, "main() {", *calls, "}", "main", ""])


def _calls(number: int, step: Step) -> Iterator[Command]:
    seconds = f"{step.deadline_s:g}"
    yield "check", str(number), seconds, *step.check
    for index, command in enumerate(step.apply):
        yield "apply", str(index), seconds, *command
    yield "verify", seconds, *step.check


class _Progress:
    """What the program told so far."""

    def __init__(self, steps: Sequence[Step], on_step: Callable[[str], None], on_apply: Callable[[str], None]) -> None:
        self.outcomes: list[Outcome] = []
        self._steps = steps
        self._on_step = on_step
        self._on_apply = on_apply
        self._current: Step | None = None
        self._failure: tuple[int, str] | None = None
        self._output: list[str] = []

    def hear(self, line: str) -> None:
        match line.split(" "):
            case ["vmlab:", "check", number]:
                self._current = self._steps[int(number)]
                self._on_step(self._current.name)
            case ["vmlab:", "apply", number]:
                self._on_apply(self._steps[int(number)].name)
            case ["vmlab:", ("ok" | "applied") as did, number]:
                self.outcomes.append(Outcome(self._steps[int(number)].name, "ok" if did == "ok" else "applied"))
            case ["vmlab:", "failed", _, status, what]:
                self._failure = int(status), what
            case ["|", *_]:
                self._output.append(line[2:])

    def failure(self, guest: Guest, result: Result) -> GuestError:
        step, lines = self._current, self._output
        if step is None:
            cause = "nothing came back at the deadline" if result.timed_out else _said(result)
            message = f"cannot run steps as root: {cause}"
        elif self._failure is None:
            cause = "not done at its deadline" if result.timed_out else f"broken off: {_said(result)}"
            message = f"step {step.name}: {cause}"
        else:
            status, what = self._failure
            command = step.check if what == "check" else step.apply[int(what)]
            cause = f"took over {step.deadline_s:g} s" if status in _TIMED_OUT else f"ended with status {status}"
            if what == "check":
                cause += " after the step was applied"
            why = complaint(lines)
            message = f"step {step.name}: `{_short(command)}` {cause}" + (f": {why}" if why else "")
        return GuestError(
            f"{guest.node}: {message}",
            node=guest.node,
            stage="roles",
            console=lines,
            hint=f"vmlab ssh {guest.bed} {guest.node}",
        )


def _said(result: Result) -> str:
    return complaint(result.stderr.splitlines()) or f"status {result.status}"


def _short(command: Command) -> str:
    """The command in one line; of a script only its arguments are worth the room."""
    words = ["…" if "\n" in word else word for word in command]
    return shlex.join(words).replace("'…'", "…")
