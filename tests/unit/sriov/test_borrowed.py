"""What is changed on the host for the length of a command is put back by the next one, should it be killed."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from vmlab.errors import HostError
from vmlab.lab.ground import bed
from vmlab.lab.ground.hosts import only
from vmlab.runtime import lock
from vmlab.virt import machine, sysfs
from vmlab.virt.borrowed import Notes, borrowed, put_back
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine
from vmlab.virt.sysfs import Sysfs

from .conftest import make_tree
from .kernel import IGB, Kernel, igb_tree

SWITCH = f"{IGB}/sriov_drivers_autoprobe"
# A create that the kernel keeps waiting while it makes the functions.
CREATE = """
import sys, time
from pathlib import Path
from vmlab.inventory.vfs import VfPlan
from vmlab.runtime.wait import Deadline
from vmlab.values.pci import PciAddress
from vmlab.virt import sriov
from vmlab.virt.sysfs import Sysfs

class Slow(type(Sysfs.local(Path(sys.argv[1])))):
    def write(self, path, text):
        if path.endswith("/sriov_numvfs"):
            print("making", flush=True)
            time.sleep(600)
        super().write(path, text)

sriov.create(Slow(Path(sys.argv[1])), VfPlan(PciAddress.parse("0000:21:00.0"), 0, 4, (4,)), Deadline.after(600))
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VMLAB_LOCK_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    return igb_tree(tmp_path / "sys")


def killed(root: Path) -> None:
    """A create of virtual functions that ends by SIGKILL in the middle."""
    process = subprocess.Popen([sys.executable, "-c", CREATE, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "making\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (root / SWITCH).read_text().strip() == "0"


class Lab(Host):
    def __init__(self) -> None:
        self.uri = "qemu:///system"
        self.name = "lab"

    def close(self) -> None:
        pass


@pytest.mark.parametrize("way", ["leasing", "opened"])
def test_the_next_vmlab_puts_it_back(root: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmlab.virt.sysfs.sysfs_of", lambda _: Sysfs.local(root))
    monkeypatch.setattr(bed, "Host", Lab)
    monkeypatch.setattr("vmlab.virt.connection.Host", lambda *_: Lab())
    killed(root)
    with bed.leasing(only(Lab())) if way == "leasing" else bed.opened("qemu:///system"):
        assert (root / SWITCH).read_text().strip() == "1"
    assert not Notes.of(Machine()).possible


def test_down_puts_back_what_is_left_on_another_machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is this one, reached as another: as `ssh` a shell stands in, with the words that ssh would send."""
    away = Lab()
    away.uri = "qemu+ssh://root@away/system"
    stand_in = Machine("away", ("sh", "-c", 'eval "$0"'))
    monkeypatch.setattr(machine, "machine_of", lambda _: stand_in)
    monkeypatch.setattr(sysfs, "sysfs_of", lambda _: Sysfs.local(root))
    monkeypatch.setattr(bed, "_leases", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(Notes, "of", lambda machine: Notes(machine, PurePosixPath(root.parent / "run/vmlab-borrowed")))
    assert not Notes.of(stand_in).there
    killed(root)
    assert Notes.of(stand_in).there
    bed.put_back_elsewhere(only(away))
    assert (root / SWITCH).read_text().strip() == "1"
    assert not Notes.of(stand_in).there


def test_not_while_another_is_at_work(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmlab.virt.sysfs.sysfs_of", lambda _: Sysfs.local(root))
    monkeypatch.setattr("vmlab.virt.connection.Host", lambda *_: Lab())
    killed(root)
    with lock.held("qemu-system.leases", what="x"), bed.opened("qemu:///system"):
        assert (root / SWITCH).read_text().strip() == "0"


def test_what_was_off_is_left_off(root: Path) -> None:
    sysfs, notes = Kernel(root), Notes.of(Machine())
    sysfs.write(SWITCH, "0")
    with borrowed(sysfs, notes, SWITCH, "0"):
        assert not notes.possible
    with pytest.raises(KeyError), borrowed(sysfs, notes, SWITCH, "1"):
        raise KeyError
    assert sysfs.read(SWITCH) == "0"
    assert put_back(sysfs, notes) == ()


def test_a_function_that_is_gone_is_forgotten(root: Path) -> None:
    killed(root)
    (root / SWITCH).unlink()
    assert put_back(Sysfs.local(root), Notes.of(Machine())) == ()
    assert not Notes.of(Machine()).possible


@pytest.mark.parametrize(
    "text", [f"{IGB}/sriov_numvfs 0", f"{SWITCH} 2", f"bus/pci/devices/../../../{SWITCH} 1", "", f"{SWITCH}\n1", "\0"]
)
def test_notes_are_data(root: Path, text: str) -> None:
    """Whatever lies there, nothing but such a switch is ever written, and nothing but 0 or 1 to it."""
    notes, sysfs = Notes.of(Machine()), Kernel(root)
    make_tree(Path(notes.folder), {"0000:21:00.0": text, "link": "-> /etc/passwd"})
    assert put_back(sysfs, notes) == ()
    assert sysfs.written == []


def test_a_folder_of_others_is_not_trusted(root: Path, tmp_path: Path) -> None:
    notes, sysfs = Notes.of(Machine()), Kernel(root)
    make_tree(tmp_path / "theirs", {"0000:21:00.0": f"{SWITCH} 0\n"})
    Path(notes.folder).symlink_to(tmp_path / "theirs")
    assert put_back(sysfs, notes) == ()
    with pytest.raises(HostError, match="is not ours"), borrowed(sysfs, notes, SWITCH, "0"):
        pass
    assert sysfs.written == []
    if os.geteuid() == 0:
        Path(notes.folder).unlink()
        (tmp_path / "theirs").rename(notes.folder)
        os.chown(notes.folder, 12345, 12345)
        assert put_back(sysfs, notes) == ()


def test_another_machines_notes_lie_there() -> None:
    assert Notes.of(Machine("h", ("ssh", "h"))).folder == PurePosixPath("/run/vmlab-borrowed")
