"""Bring the guests of a bed through stages: the tracks of one at once, each stage after the one before."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from vmlab.errors import GuestError
from vmlab.guest.child import Watch
from vmlab.guest.patience import Advances, never
from vmlab.guest.satisfy import satisfy
from vmlab.guest.ssh import Guest
from vmlab.lab.ground.progress import Progress
from vmlab.lustre.trouble import LustreTrouble, explain
from vmlab.plan.filesystems import Stage, Track
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline, now, sleep

_JOBS = 128
_SESSIONS = 8  # of one node at once: sshd takes ten on a connection (MaxSessions), one of which holds it open
_AGAIN_S = 2.0
_PING = "LNet ping of "
_BED = re.compile(r"\bBED\b")


@dataclass(frozen=True, slots=True)
class TrackTime:
    """How long one track took, tries that failed included; `applied` counts the steps that did not hold before."""

    node: str
    what: str
    seconds: float
    applied: int


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long a stage took, and its tracks, slowest first. `looks` is its name if nothing had to be done, else ""."""

    stage: str
    seconds: float
    tracks: tuple[TrackTime, ...]
    looks: str = ""

    @property
    def applied(self) -> int:
        """The steps of all tracks that did not hold before."""
        return sum(track.applied for track in self.tracks)


def drive(
    stages: Sequence[Stage],
    guests: Mapping[str, Guest],
    *,
    watch: Callable[[str], Watch],
    progress: Progress,
    deadline: Deadline,
    patience_s: float = 0.0,
    advances: Mapping[str, Advances] = MappingProxyType({}),
) -> tuple[StageTime, ...]:
    """Satisfy every track of every stage; what each stage took.

    `watch` makes the watch over a node; `advances` tells whether it gets on, for steps that take longer than usual. For
    `patience_s` a track is tried again that failed for a reason that passes.
    Raises one error for all tracks of the first stage that fails, when all of them are over.
    """
    rooms = {node: threading.Semaphore(_SESSIONS) for node in guests}

    told: dict[tuple[str, str], str] = {}

    def tell(stage: Stage, track: Track, does: str) -> None:
        if told.get((track.node, track.what)) == does:
            return
        told[track.node, track.what] = does
        progress.stage(track.node, f"{does}: {track.what}" if _several(stage, track) else does)

    def run(stage: Stage, track: Track) -> TrackTime:
        begin = now()
        patience = deadline.capped(patience_s)
        while True:
            with rooms[track.node]:
                tell(stage, track, stage.looks)
                try:
                    applied = _satisfied(
                        guests[track.node],
                        track,
                        watch(track.node),
                        deadline,
                        on_apply=lambda _: tell(stage, track, stage.name),
                        advances=advances.get(track.node, never),
                    )
                except _Passing as error:
                    if patience.passed:
                        raise error.told from error
                else:
                    return TrackTime(track.node, track.what, now() - begin, applied)
            sleep(_AGAIN_S)

    times = []
    for stage in stages:
        begin = now()
        tracks = each(partial(run, stage), stage.tracks, jobs=_JOBS, failed=f"stage `{stage.name}` failed")
        tracks.sort(key=lambda track: -track.seconds)
        times.append(StageTime(stage.name, now() - begin, tuple(tracks), stage.looks))
        if times[-1].applied:
            progress.say(f"{stage.name}: {now() - begin:.1f} s")
    return tuple(times)


def _several(stage: Stage, track: Track) -> bool:
    return any(other.what != track.what for other in stage.tracks)


class _Passing(Exception):
    """A failure that may be over a little later; `told` is what to raise if it is not."""

    def __init__(self, told: GuestError) -> None:
        super().__init__(told.message)
        self.told = told


def _satisfied(
    guest: Guest,
    track: Track,
    watch: Watch,
    deadline: Deadline,
    *,
    on_apply: Callable[[str], None],
    advances: Advances,
) -> int:
    steps = [track.what]
    try:
        outcomes = satisfy(
            guest,
            track.steps,
            on_step=steps.append,
            on_apply=on_apply,
            deadline=deadline,
            watch=watch,
            advances=advances,
        )
    except GuestError as error:
        if type(error) is not GuestError:  # a guest that is dead or out of reach says so itself
            raise
        found = explain("\n".join(error.console) or error.message)
        told = _told(error, steps[-1], found, guest.bed)
        if found is not None and found.passes:
            raise _Passing(told) from error
        raise told from error
    return sum(outcome.did == "applied" for outcome in outcomes)


def _told(error: GuestError, step: str, found: LustreTrouble | None, bed: str) -> GuestError:
    """The same failure in words that say what is wrong with Lustre, where they are known."""
    why = error.message.partition(f"step {step}: ")[2] or error.message
    message = f"{error.node}: {step}: {why if found is None else found.message}"
    if step.startswith(_PING):
        reason = error.console[-1] if found is None and error.console else why if found is None else found.message
        message = f"{error.node} and {step.removeprefix(_PING)} cannot talk over LNet: {reason}"
    return GuestError(
        message,
        node=error.node,
        stage=error.stage,
        console=[line for line in error.console if found is None or line != found.message],
        hint=error.hint if found is None else _BED.sub(bed, found.hint),
    )
