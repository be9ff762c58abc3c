"""ksmd runs until it finds no more, and everything but what it shares is as before."""

import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from vmlab.errors import HostError
from vmlab.lab.hosts.share_memory import SharedMemory
from vmlab.report.memory import told
from vmlab.runtime.wait import Deadline
from vmlab.virt import ksm
from vmlab.virt.borrowed import Notes, put_back
from vmlab.virt.ksm import Ksm, Rounds
from vmlab.virt.machine import Machine
from vmlab.virt.sysfs import Sysfs

FOLDER = "kernel/mm/ksm"
AS_IT_COMES = {
    "run": "0",
    "full_scans": "7",
    "pages_sharing": "0",
    "pages_shared": "0",
    "pages_unshared": "0",
    "pages_volatile": "0",
    "pages_to_scan": "2500",  # of as many digits: these files keep what a shorter text does not reach
    "merge_across_nodes": "1",
}
LONG = Deadline.after(3600)
# A vmlab that the kernel keeps busy.
MERGE = """
import sys
from pathlib import Path
from vmlab.runtime.wait import Deadline
from vmlab.virt import ksm
from vmlab.virt.borrowed import Notes
from vmlab.virt.machine import Machine
from vmlab.virt.sysfs import Sysfs

class Told(ksm.Rounds):
    def note(self, now, waited_s):
        print("looks", flush=True)

sysfs = Sysfs.local(Path(sys.argv[1]))
rounds = Told.since(ksm.look(sysfs))
ksm.merge(sysfs, Notes.of(Machine()), rounds, Deadline.after(600))
"""


class Ksmd(type(Sysfs.local())):  # type: ignore[misc]  # the real one is private
    """A double of ksmd: while `run` is 1 each look finds another round done, with so many pages shared by then."""

    def __init__(self, root: Path, saved: Iterable[int]) -> None:
        super().__init__(root)
        self.saved = list(saved)
        self.written: list[str] = []

    @override
    def read_many(self, patterns: Iterable[str]) -> Mapping[str, str]:
        if self.saved and self.read(f"{FOLDER}/run") == "1":
            super().write(f"{FOLDER}/full_scans", str(int(self.read(f"{FOLDER}/full_scans") or "") + 1))
            super().write(f"{FOLDER}/pages_sharing", str(self.saved.pop(0)))
        return super().read_many(patterns)

    @override
    def write(self, path: str, text: str) -> None:
        self.written.append(f"{path.rpartition('/')[2]} {text}")
        super().write(path, text)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ksm, "sleep", lambda _: None)
    monkeypatch.setenv("VMLAB_LOCK_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    return having(tmp_path / "sys")


def having(root: Path, **files: str) -> Path:
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, text in (AS_IT_COMES | files).items():
        (root / FOLDER / name).write_text(text)
    return root


def merged(root: Path, *saved: int) -> Ksmd:
    ksmd = Ksmd(root, saved)
    ksm.merge(ksmd, Notes.of(Machine()), Rounds.since(ksm.look(ksmd)), LONG)
    return ksmd


def test_it_runs_until_a_round_brings_nothing_and_is_off_then(root: Path) -> None:
    ksmd = merged(root, 0, 1000, 5000, 5010, 9999)
    assert ksmd.saved == [9999]
    assert ksmd.written == ["pages_to_scan 5000", "run 1", "run 0", "pages_to_scan 2500"]
    assert not Notes.of(Machine()).possible


def test_where_nobody_lets_it_look_it_ends(root: Path) -> None:
    assert merged(root).written[-2:] == ["run 0", "pages_to_scan 2500"]


def test_who_runs_it_already_is_left_alone(root: Path) -> None:
    assert merged(having(root, run="1"), 10, 10, 10).written == []


def test_what_was_undone_is_not_undone_again_at_the_end(root: Path) -> None:
    assert merged(having(root, run="2"), 10, 10, 10).written[0] == "run 0"
    assert (root / FOLDER / "run").read_text() == "0"


@pytest.mark.parametrize("files", [{"advisor_mode": "none [scan-time]"}, {"pages_to_scan": "20000"}])
def test_it_goes_as_fast_as_somebody_has_said(root: Path, files: dict[str, str]) -> None:
    assert merged(having(root, **files), 10, 10, 10).written == ["run 1", "run 0"]


def test_a_kernel_without_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="has no KSM"):
        ksm.look(Sysfs.local(tmp_path))


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
def test_it_is_over_when_a_round_brings_less_than_a_hundredth(found: list[int]) -> None:
    rounds = Rounds.since(Ksm(runs=False, rounds=5, saved=0))
    for number, saved in enumerate(found, 1):
        rounds.note(Ksm(runs=True, rounds=5 + number, saved=saved, counters=(str(number),)), 0.25)
        before = found[number - 2] if number > 1 else 0
        assert rounds.over == (number >= 3 and saved - before <= saved * 0.01)
        if rounds.over:
            return


class TestCells:
    """merge_across_nodes."""

    @pytest.mark.parametrize("memory", ["0-1", "0,2"])
    def test_pages_stay_in_their_cell(self, root: Path, memory: str) -> None:
        ksmd = cells(root, memory)
        assert ksm.within_cells(ksmd)
        assert ksmd.written == ["merge_across_nodes 0"]
        assert not ksm.within_cells(ksmd)

    def test_one_cell_needs_nothing(self, root: Path) -> None:
        assert not ksm.within_cells(cells(root, "0"))
        assert not ksm.within_cells(Ksmd(root, ()))

    def test_what_cells_share_already_is_not_made_more(self, root: Path) -> None:
        ksmd = cells(having(root, pages_sharing="3"), "0-1")
        with pytest.raises(HostError, match="share pages, and would share more") as caught:
            ksm.within_cells(ksmd)
        assert "echo 0 >merge_across_nodes" in caught.value.hint
        assert ksmd.written == []


def cells(root: Path, memory: str) -> Ksmd:
    (root / "devices/system/node").mkdir(parents=True)
    (root / "devices/system/node/has_memory").write_text(f"{memory}\n")
    return Ksmd(root, ())


def test_what_a_killed_one_left_is_put_back(root: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", MERGE, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "looks\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (root / FOLDER / "run").read_text() == "1"
    assert sorted(put_back(Sysfs.local(root), Notes.of(Machine()))) == [f"{FOLDER}/pages_to_scan", f"{FOLDER}/run"]
    assert {name: (root / FOLDER / name).read_text() for name in AS_IT_COMES} == AS_IT_COMES


@pytest.mark.parametrize("text", [f"{FOLDER}/run 2", f"{FOLDER}/run 1", f"{FOLDER}/pages_to_scan x", f"{FOLDER}/x 0"])
def test_notes_are_data(root: Path, text: str) -> None:
    notes, sysfs = Notes.of(Machine()), Ksmd(root, ())
    Path(notes.folder).mkdir()
    (Path(notes.folder) / "note").write_text(text)
    assert put_back(sysfs, notes) == ()
    assert sysfs.written == []


shared = SharedMemory


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (shared(400 << 20, 100 << 20, 3.2, complete=True, permanent=False), "400MiB saved, 100MiB of it new (3.2 s)"),
        (shared(400 << 20, 0, 3.2, complete=False, permanent=False), "nothing of it new (3.2 s); there may be more"),
        (
            shared(0, 0, 3.2, complete=True, permanent=False),
            "nothing is shared: no guest's memory has pages alike (3.2 s)",
        ),
        (
            shared(4 << 20, 0, 0.1, complete=True, permanent=True),
            "4MiB saved. KSM runs there by itself, and was left alone",
        ),
    ],
)
def test_what_came_of_it_is_told(found: SharedMemory, text: str) -> None:
    assert text in told(found)
