"""Where the seconds of `up` go: each node's stages until it is ready, then the stages of the whole bed."""

import threading
from collections.abc import Sequence

from vmlab.guest.boot import WAITS
from vmlab.lab.ground.progress import Progress
from vmlab.lab.ground.stages import StageTime
from vmlab.report.grid import Grid
from vmlab.runtime.wait import now

_WAITS = {told: stage for stage, told in WAITS.items()} | {"roles": "roles"}
_READY = "ready"


class Timed:
    """Hands everything on, and keeps when each node came to which stage until it was ready."""

    def __init__(self, to: Progress) -> None:
        self.begin = now()
        self.nodes: dict[str, list[tuple[str, float]]] = {}
        self._to = to
        self._lock = threading.Lock()

    def stage(self, node: str, stage: str) -> None:
        """See Progress."""
        with self._lock:
            passed = self.nodes.setdefault(node, [])
            if not passed or passed[-1][0] != _READY:
                passed.append((stage, now()))
        self._to.stage(node, stage)

    def say(self, line: str) -> None:
        """See Progress."""
        self._to.say(line)

    def warn(self, line: str) -> None:
        """See Progress."""
        self._to.warn(line)

    def seconds(self, node: str) -> dict[str, float]:
        """What each stage of a node took, the time until it was ready as the last; `define` is all before `domain`."""
        passed = self.nodes[node]
        found: dict[str, float] = {}
        before = self.begin
        current = "define"
        for stage, at in passed:
            found[current] = found.get(current, 0.0) + at - before
            before, current = at, _WAITS.get(stage, current)
        found["total"] = passed[-1][1] - self.begin
        return found


def timing_table(timed: Timed) -> Grid:
    """A line for each node: seconds in each stage."""
    columns = ("define", *_WAITS.values(), "total")
    table = Grid("NODE", *(f"{name.upper()} s" for name in columns))
    for node in timed.nodes:
        seconds = timed.seconds(node)
        table.add_row(node, *(f"{seconds[name]:.1f}" if name in seconds else "-" for name in columns))
    return table


def stage_table(stages: Sequence[StageTime]) -> Grid:
    """A line for each stage of LNet and the file systems, and the track that it waited for longest."""
    table = Grid("STAGE", "SECONDS", "TRACKS", "STEPS DONE", "SLOWEST")
    for stage in stages:
        slowest = stage.tracks[0]
        table.add_row(
            stage.stage if stage.applied or not stage.looks else stage.looks,
            f"{stage.seconds:.1f}",
            str(len(stage.tracks)),
            str(stage.applied),
            f"{slowest.node} {slowest.what} {slowest.seconds:.1f} s",
        )
    return table
