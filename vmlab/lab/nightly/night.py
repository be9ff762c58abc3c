"""A night: its entries side by side as far as the hosts hold them, a journal of all, and the end, whatever it is.

Each entry has a thread, and what it does to its bed are processes of their own. Who is interrupted ends these, leaves
the beds as the file says and keeps what there is; who is killed takes them along. `--resume` reads the journal.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from vmlab import __version__
from vmlab.errors import HostError, Interrupted, UsageError, VmlabError
from vmlab.judgement.expectations import Expectation
from vmlab.judgement.expected_nights import judged
from vmlab.lab.nightly.entry import Bed, CalledOff, NoRoom, Say
from vmlab.lab.nightly.packed import packed
from vmlab.lab.nightly.shared import Shared
from vmlab.lab.nightly.verbs import Means, Verbs
from vmlab.nights.admission import admitted
from vmlab.nights.night import Entry, Night
from vmlab.nights.shares import durations
from vmlab.records.night import Journal, NightEntry, NightRecord, read_journal, record_of
from vmlab.runtime import lock
from vmlab.runtime.log import log
from vmlab.runtime.own import VMLAB
from vmlab.runtime.wait import Deadline
from vmlab.store.nights import OpenNight, before, events, new_night, unfinished

_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Places:
    """Where nights and runs are kept."""

    nights: Path
    runs: Path


@dataclass(slots=True)
class _State:
    """Who does what. All of it is changed with `changed` held."""

    waiting: list[Entry]
    changed: threading.Condition = field(default_factory=threading.Condition)
    running: dict[str, Entry] = field(default_factory=dict)
    kept: list[Entry] = field(default_factory=list)
    bugs: list[BaseException] = field(default_factory=list)
    full: bool = False
    """A host had no room: who waits does so until somebody has gone."""


def night_of(
    night: Night,
    places: Places,
    *,
    room_kib: Mapping[str, int | None],
    expectations: Sequence[Expectation],
    accel: str,
    resume: bool,
    say: Say,
    program: Sequence[str] = VMLAB,
) -> tuple[NightRecord, Path]:
    """Do all of it: the record, and the folder that it is kept in. `room_kib` is what new guests can have, by host.

    With `resume` the latest night of this name that was cut off goes on. Raises UsageError if there is none, or if the
    file has another meaning by now; BusyError if such a night goes on; Interrupted when it is broken off, and then the
    record is kept, too.
    """
    with lock.held(f"night.{night.name}", what=f"the night {night.name}"):
        opened, journal = _opened(night, places, resume=resume)
        say(f"the night {opened.id} {'goes on' if resume else 'begins'}: {opened.folder}")
        stop = threading.Event()
        means = Means(opened.folder, accel, stop.is_set, program)
        state = _State([entry for entry in night.entries if entry.name not in journal.over])
        conductor = _Conductor(
            night=night,
            places=places,
            opened=opened,
            journal=journal,
            means=means,
            room_kib=room_kib,
            say=say,
        )
        try:
            conductor.conduct(state)
        except BaseException as error:
            stop.set()
            conductor.wait(state)
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else "vmlab failed"
            finish(night, places, opened, expectations, incomplete=why)
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(f"`vmlab nightly {night.file} --resume` goes on from here") from error
            raise
        return finish(night, places, opened, expectations, incomplete=""), opened.folder


def _opened(night: Night, places: Places, *, resume: bool) -> tuple[OpenNight, Journal]:
    meaning = meaning_of(night)
    if not resume:
        opened = new_night(places.nights, night.name, datetime.now(UTC))
        opened.note(
            "night",
            id=opened.id,
            name=night.name,
            file=str(Path(night.file).absolute()),
            vmlab=__version__,
            meaning=meaning,
            entries=[asdict(planned(entry)) for entry in night.entries],
        )
        return opened, read_journal(events(opened.folder))
    found = unfinished(places.nights, night.name)
    if found is None:
        raise UsageError(f"no night {night.name} was cut off", hint=f"vmlab nightly {night.file}")
    try:
        journal = read_journal(events(found.folder))
    except ValueError as error:
        raise HostError(f"{found.folder} cannot be read: {error}", hint=f"vmlab nightly {night.file}") from error
    if journal.head.get("meaning") != meaning:
        raise UsageError(
            f"{night.file} means something else than when {found.id} began, and one night has one meaning",
            hint=f"without --resume it begins anew; what {found.id} has is kept",
        )
    found.note("resumed", what="the night goes on")
    return found, journal


def planned(entry: Entry) -> NightEntry:
    """An entry before it begins."""
    steps = {step.name: step.workload for step in entry.steps}
    return NightEntry(entry.name, entry.bed, entry.topology.file, dict(entry.conditions), steps)


def meaning_of(night: Night) -> str:
    """What has to be the same for the same night to go on: beds and steps; limits may be others."""
    told = [
        (
            entry.name,
            entry.bed,
            repr(entry.content),
            [(s.name, s.workload, repr(s.options)) for s in entry.steps],
            *map(str, entry.packages),
        )
        for entry in night.entries
    ]
    return sha256(repr(told).encode()).hexdigest()[:16]


def finish(
    night: Night, places: Places, opened: OpenNight, expectations: Sequence[Expectation], *, incomplete: str
) -> NightRecord:
    """Make the record of the journal, judge it, write it. `incomplete` says why it was broken off, "" if it was not."""
    journal = read_journal(events(opened.folder))
    record = record_of(
        journal, ended=datetime.now(UTC).astimezone().isoformat(timespec="seconds"), incomplete=incomplete
    )
    earlier = before(places.nights, night.name, opened.id, night.history)
    record = judged(record, earlier, expectations)
    opened.finish(record)
    return record


class _Conductor:
    def __init__(
        self,
        *,
        night: Night,
        places: Places,
        opened: OpenNight,
        journal: Journal,
        means: Means,
        room_kib: Mapping[str, int | None],
        say: Say,
    ) -> None:
        self._night, self._places, self._opened, self._journal = night, places, opened, journal
        self._means, self._room_kib, self._say = means, room_kib, say
        self._deadline = Deadline.after(night.limit_s)

    def conduct(self, state: _State) -> None:
        """Until nothing is left. Raises what is no error of the tree, and KeyboardInterrupt."""
        with state.changed:
            while state.waiting or state.running:
                if not state.full or not state.running:
                    self._begin(state)
                state.changed.wait(_LOOK_EVERY_S)
                if state.bugs:
                    raise state.bugs[0]

    def wait(self, state: _State) -> None:
        """For those that run, which were told to end."""
        with state.changed:
            while state.running:
                state.changed.wait(_LOOK_EVERY_S)

    def _begin(self, state: _State) -> None:
        holding = [*state.running.values(), *state.kept]
        places = admitted(state.waiting, holding, self._room_kib, running=bool(state.running))
        chosen = [state.waiting[place] for place in places]
        for entry in chosen:
            state.waiting.remove(entry)
            only = not state.running and len(chosen) == 1
            state.running[entry.name] = entry
            threading.Thread(target=self._thread, args=(state, entry, only), name=entry.name, daemon=True).start()

    def _thread(self, state: _State, entry: Entry, only: bool) -> None:
        kept = again = False
        bug: BaseException | None = None
        try:
            made = packed(entry, self._means, self._deadline.capped(entry.limit_s).left_s)
            bed = self._bed(made) if made.beds == 1 else self._shared(made)
            bed.run(alone_on_host=only)
            kept = bed.kept
        except NoRoom as error:
            self._say(f"{entry.name}: waits until another bed is gone: {error}")
            again = True
        except CalledOff:
            pass
        except VmlabError as error:
            self._broken(entry, error.message)
        except BaseException as error:  # noqa: BLE001 (told by the thread that everybody waits for)
            log.exception("%s failed", entry.name)
            bug = error
        with state.changed:
            del state.running[entry.name]
            state.full = again
            state.kept += [entry] if kept else []
            if again:
                state.waiting.insert(0, entry)
            if bug is not None:
                state.bugs.append(bug)
            state.changed.notify_all()

    def _bed(self, entry: Entry, *, shared: bool = False) -> Bed:
        return Bed(
            entry,
            Verbs(self._means, entry, entry.bed if shared else entry.name),
            self._opened,
            self._journal,
            deadline=self._deadline,
            runs=self._places.runs,
            called_off=self._means.called_off,
            say=self._say,
            shared=shared,
        )

    def _shared(self, entry: Entry) -> Shared:
        earlier = before(self._places.nights, self._night.name, self._opened.id, self._night.history)
        return Shared(
            entry,
            lambda one: self._bed(one, shared=True),
            self._opened,
            self._journal,
            took=durations(earlier, entry.name),
            called_off=self._means.called_off,
        )

    def _broken(self, entry: Entry, why: str) -> None:
        self._opened.note("entry", entry=entry.name, of={"lab": why}, what=why)
        self._opened.note("over", entry=entry.name)
        self._say(f"{entry.name}: {why}")


Room = Callable[[str], int | None]


def rooms(night: Night, room: Room) -> dict[str, int | None]:
    """What new guests can have on each host, before the first of them begins."""
    return {host: room(host) for host in dict.fromkeys(entry.host for entry in night.entries)}


def told(night: Night, foretold: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """What would be done, for who wants to see it before; `foretold` are the lines of each entry."""
    return [
        {
            "entry": entry.name,
            "bed": entry.bed,
            "conditions": dict(entry.conditions),
            "memory_kib": entry.memory_kib,
            "steps": [step.name for step in entry.steps],
            "keep": entry.keep,
            "foretold": list(foretold[entry.name]),
        }
        for entry in night.entries
    ]
