"""The one error tree.

Each class is one exit status of the command line (see `vmlab --help`). An error says its cause in one line and carries
`hint`, the next thing to type, built where the knowledge is. `causes` holds one error per node of parallel work.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class VmlabError(Exception):
    """Something that the user is told in one line. `status` is the process's exit status."""

    status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", causes: Sequence["VmlabError"] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.causes = tuple(causes)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, and what became of that which was going on."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageError(VmlabError):
    """The command line does not fit together."""

    status = 2


class Problem(NamedTuple):
    """One thing wrong in a file. `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class TopologyError(VmlabError):
    """A topology file is wrong, or one that it names; `problems` are all that could be found, in the file's order."""

    status = 3

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class HostError(VmlabError):
    """The host cannot: a precondition is missing, a device is busy, a name is taken, it does not fit."""

    status = 4


class LibvirtError(VmlabError):
    """libvirt refused."""

    status = 5


class GuestError(VmlabError):
    """A guest did not follow, or not in time: which node, at which stage, and the end of its console."""

    status = 6

    def __init__(
        self,
        message: str,
        *,
        node: str,
        stage: str,
        console: Sequence[str] = (),
        hint: str = "",
        causes: Sequence[VmlabError] = (),
    ) -> None:
        super().__init__(message, hint=hint, causes=causes)
        self.node = node
        self.stage = stage
        self.console = tuple(console)


class WorkloadError(VmlabError):
    """A workload could not run or its output was not understood: the lab's fault."""

    status = 7


class ReferenceMissed(VmlabError):
    """The workload ran, and the thing under test failed or missed its reference."""

    status = 8


class BusyError(VmlabError):
    """Another vmlab holds the bed."""

    status = 9


def together(errors: Sequence[VmlabError], message: str) -> VmlabError:
    """One error for the failures of parallel work: the one itself, or `message` with all of them as causes.

    The sum is of the first error's class, so that the exit status still says what kind of thing went wrong; but what
    failed under test counts more than what could not be tested.
    """
    first = next((error for error in errors if isinstance(error, ReferenceMissed)), errors[0])
    if len(errors) == 1:
        return first
    if isinstance(first, GuestError):
        return GuestError(message, node=first.node, stage=first.stage, causes=errors)
    return type(first)(message, causes=errors)
