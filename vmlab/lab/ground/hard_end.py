"""The hard end of a command, `--timeout`: how long it is where none is given, and what is told when it comes."""

import contextlib
import math
import threading
from collections.abc import Iterator
from itertools import pairwise

from vmlab.errors import GuestError, VmlabError
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.runtime.wait import Deadline, now

UP_S, FILESYSTEMS_S = 600.0, 1200.0
_ENDS = ("ready", "started", "gone")
_NAMED = 5  # nodes in one line
_WORTH_TELLING_S = 10.0


class Going:
    """Hands progress on, and keeps what each node is at, since when, and what took its time before."""

    def __init__(self, to: Progress) -> None:
        self._to = to
        self._lock = threading.Lock()
        self._passed: dict[str, list[tuple[str, float]]] = {}

    def stage(self, node: str, stage: str) -> None:
        """See Progress."""
        with self._lock:
            self._passed.setdefault(node, []).append((stage, now()))
        self._to.stage(node, stage)

    def say(self, line: str) -> None:
        """See Progress."""
        self._to.say(line)

    def warn(self, line: str) -> None:
        """See Progress."""
        self._to.warn(line)

    def unfinished(self) -> dict[str, str]:
        """What the nodes are at that have not come to their end: "kernel since 3 s, after start-domain took 590 s"."""
        with self._lock:
            return {name: _told(passed) for name, passed in self._passed.items() if passed[-1][0] not in _ENDS}


def _told(passed: list[tuple[str, float]]) -> str:
    stage, since = passed[-1]
    here_s = now() - since
    told = f"{stage} since {here_s:.0f} s"
    before = [(after[1] - entry[1], entry[0]) for entry, after in pairwise(passed)]
    longest_s, longest = max(before, default=(0.0, ""))
    if longest_s > max(here_s, _WORTH_TELLING_S):
        told += f", after {longest} took {longest_s:.0f} s"
    return told


def limit_s(timeout_s: float | None, usual_s: float, *, emulated: bool) -> float:
    """Seconds that a command may take: what is asked for, else `usual_s`, and without end for emulated guests."""
    if timeout_s is not None:
        return timeout_s
    return math.inf if emulated else usual_s


@contextlib.contextmanager
def ending(
    hosts: Hosts, bed: str, timeout_s: float | None, progress: Progress, *, again: str
) -> Iterator[tuple[Deadline, Progress]]:
    """The hard end of a command on the file systems of a bed that is there; see `told`."""
    begin = now()
    seconds = timeout_s
    if seconds is None:
        emulated = any(domain.facts.kind == "qemu" for domain in existing(hosts, bed).nodes.values())
        seconds = limit_s(None, FILESYSTEMS_S, emulated=emulated)
    end, going = Deadline(begin + seconds), Going(progress)
    with told(hosts, bed, end, seconds, going, again=again):
        yield end, going


@contextlib.contextmanager
def told(hosts: Hosts, bed: str, end: Deadline, seconds: float, going: Going, *, again: str) -> Iterator[None]:
    """What fails in the `with` block when its end has come says what was still going on, and how to go on.

    Raises GuestError then. libvirt's calls end with the block, too.
    """
    try:
        with hosts.until(end):
            yield
    except VmlabError as error:
        if not end.passed:
            raise
        raise _over(bed, seconds, going.unfinished(), error, again) from error


def _over(bed: str, seconds: float, unfinished: dict[str, str], error: VmlabError, again: str) -> GuestError:
    causes = list(_leaves(error))
    sick = [cause for cause in causes if isinstance(cause, GuestError)]
    named = [node for node in dict.fromkeys(cause.node for cause in sick) if node in unfinished] or list(unfinished)
    parts = [f"{node}: {unfinished[node]}" for node in named[:_NAMED]]
    if len(named) > _NAMED:
        parts.append(f"{len(named) - _NAMED} more nodes")
    still = "; ".join(parts) or error.message
    return GuestError(
        f"{bed}: --timeout {_words(seconds)} is over, and this was still going on: {still}",
        node=named[0] if named else "",
        stage=sick[0].stage if sick else "",
        causes=causes,
        hint=f"`{again}` again goes on from there; --timeout {_words(2 * seconds)} gives it more time",
    )


def _leaves(error: VmlabError) -> Iterator[VmlabError]:
    if not error.causes:
        yield error
    for cause in error.causes:
        yield from _leaves(cause)


def _words(seconds: float) -> str:
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
