"""Pages that guests of a host have alike, held once: the kernel's samepage merging (KSM).

QEMU lets it look at its guests' memory. ksmd runs here until it finds no more, and no longer: what it has merged stays
so when it stands still, until somebody writes to it. The files are those of the kernel's
Documentation/admin-guide/mm/ksm.rst.
"""

import contextlib
from dataclasses import dataclass

from vmlab.errors import HostError
from vmlab.runtime.wait import Deadline, sleep
from vmlab.virt.borrowed import Notes, borrowed
from vmlab.virt.sysfs import Sysfs

_KSM = "kernel/mm/ksm"
_OFF, _ON, _UNDONE = "0", "1", "2"
_PAGES = "5000"  # that ksmd looks at before it rests, 20 ms by default; 100 are the kernel's own
_ROUNDS = 3  # it marks what stands still, merges that, and then what came late
_WORTH = 0.01
_LOOK_S = 0.25
_STILL_S = 3.0


@dataclass(frozen=True, slots=True)
class Ksm:
    """What it does and has done: `saved` pages of guests are held by others, `rounds` went through all memory."""

    runs: bool
    rounds: int
    saved: int
    counters: tuple[str, ...] = ()


def look(sysfs: Sysfs) -> Ksm:
    """As it is now. Raises HostError for a kernel without it."""
    told = sysfs.read_many((f"{_KSM}/run", f"{_KSM}/full_scans", f"{_KSM}/pages_*"))
    try:
        run, rounds, saved = (told[f"{_KSM}/{name}"] for name in ("run", "full_scans", "pages_sharing"))
    except KeyError:
        raise HostError("the host's kernel cannot share guests' memory: it has no KSM (CONFIG_KSM)") from None
    return Ksm(run == _ON, int(rounds), int(saved), tuple(told.values()))


@dataclass(slots=True)
class Rounds:
    """ksmd's rounds since the first look: when they are `over`, the last one has brought hardly anything."""

    begun: int
    last: int
    saved: int
    over: bool = False
    _counters: tuple[str, ...] = ()
    _still_s: float = 0.0

    @classmethod
    def since(cls, now: Ksm) -> "Rounds":
        """From how it is now."""
        return cls(now.rounds, now.rounds, now.saved)

    def note(self, now: Ksm, waited_s: float) -> None:
        """How it is after so many seconds more of ksmd's work. It does not work where no guest lets it look."""
        self._still_s = self._still_s + waited_s if now.counters == self._counters else 0.0
        self._counters = now.counters
        if now.rounds > self.last:
            brought = now.saved - self.saved
            self.over = now.rounds - self.begun >= _ROUNDS and brought <= _WORTH * now.saved
            self.last, self.saved = now.rounds, now.saved
        self.over = self.over or self._still_s >= _STILL_S


def within_cells(sysfs: Sysfs) -> bool:
    """Have pages of one NUMA cell never shared with guests of another: whether that had to be changed.

    It stays so, as the kernel lets nobody change it while pages are shared. Raises HostError where that is the case.
    """
    cells = sysfs.read("devices/system/node/has_memory") or "0"
    if cells.isdigit() or sysfs.read(f"{_KSM}/merge_across_nodes") != "1":
        return False
    if look(sysfs).saved:
        raise HostError(
            "guests of different NUMA cells share pages, and would share more",
            hint=f"in /sys/{_KSM}: echo 2 >run (nothing is shared then); echo 0 >merge_across_nodes",
        )
    sysfs.write(f"{_KSM}/merge_across_nodes", "0")
    return True


def merge(sysfs: Sysfs, notes: Notes, rounds: Rounds, deadline: Deadline) -> None:
    """Let ksmd run, faster than usual, until its rounds are over or the deadline passes; then as it was.

    The caller holds the host's leases. Raises HostError where that is not allowed.
    """
    run = sysfs.read(f"{_KSM}/run")
    if run == _UNDONE:  # which would undo it all afterwards
        sysfs.write(f"{_KSM}/run", _OFF)
    with contextlib.ExitStack() as stack:
        if run != _ON:
            if _may_be_faster(sysfs):
                stack.enter_context(borrowed(sysfs, notes, f"{_KSM}/pages_to_scan", _PAGES))
            stack.enter_context(borrowed(sysfs, notes, f"{_KSM}/run", _ON))
        while not (rounds.over or deadline.passed):
            sleep(_LOOK_S)
            rounds.note(look(sysfs), _LOOK_S)


def _may_be_faster(sysfs: Sysfs) -> bool:
    """Neither the kernel's own advisor says how fast it goes, nor somebody has it go faster already."""
    advised = "[scan-time]" in (sysfs.read(f"{_KSM}/advisor_mode") or "")
    return not advised and int(sysfs.read(f"{_KSM}/pages_to_scan") or _PAGES) < int(_PAGES)
