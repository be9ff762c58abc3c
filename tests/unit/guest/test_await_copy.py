"""The process that waits in a guest to be a copy, in a world of files: its kernel's word comes by a FIFO."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from vmlab.guest.clock import AWAIT_COPY, SET_OR_BE_PATIENT
from vmlab.runtime.wait import Deadline, until

WORD = "6,339,51,-;random: crng reseeded due to virtual machine fork\n"
RTC = "sys/class/rtc/rtc0/since_epoch"
TOOLS = {
    "dmesg": '#!/bin/sh\necho "[ 1.0] vmlab: waits $PPID"\n',
    "date": '#!/bin/sh\ncase "$*" in\n"-u -s "*) echo "$3" >>{world}/set ;;\n*) exec /bin/date "$@" ;;\nesac\n',
}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    files = {
        "sys/bus/platform/drivers/vmgenid/QEMUVGID:00": "",
        "sys/class/tty/console/active": "tty0 ttyS0\n",
        RTC: f"{int(time.time())}\n",
        "dev/console": "",
        **{f"bin/{name}": text.replace("{world}", str(tmp_path)) for name, text in TOOLS.items()},
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "dev/kmsg")
    return tmp_path


@pytest.fixture
def kernel(world: Path) -> Iterator[IO[str]]:
    """What says its words; it is there before anybody listens, and ends who still does."""
    with os.fdopen(os.open(world / "dev/kmsg", os.O_RDWR), "w", buffering=1) as speaks:
        yield speaks
        run(world, SET_OR_BE_PATIENT, "0")


def run(world: Path, script: str, *arguments: str) -> str:
    """In a session of its own, whose parent is no sshd."""
    for place in ("/sys/", "/dev/kmsg", "/dev/console", "/run/vmlab-waits"):
        script = script.replace(place, f"{world}{place}")
    environment = {"PATH": f"{world}/bin:{os.environ['PATH']}"}
    argv = ("sh", "-c", script, "vmlab", *arguments)
    done = subprocess.run(argv, env=environment, check=True, capture_output=True, text=True, start_new_session=True)
    return done.stdout.strip()


def said(world: Path) -> str:
    return (world / "dev/console").read_text()


def test_its_clock_is_set_when_the_kernel_says_so_and_not_before(world: Path, kernel: IO[str]) -> None:
    assert run(world, AWAIT_COPY) == "waits"
    assert (world / "run/vmlab-waits.heard").read_text().startswith("vmlab: waits ")  # all before it is read by then
    kernel.write("6,338,50,-;random words\n")
    (world / RTC).write_text("2000000000\n")
    assert not (world / "set").exists()
    kernel.write(WORD)
    assert until(lambda: said(world) == "vmlab: clock: set\n", Deadline.after(20))
    assert (world / "set").read_text() == "@2000000000\n"
    assert (world / "run/vmlab-waits").read_text() == ""


def test_where_lustre_would_mind_it_leaves_the_clock_alone(world: Path, kernel: IO[str]) -> None:
    (world / "sys/module/obdclass").mkdir(parents=True)
    assert run(world, AWAIT_COPY) == "waits"
    (world / RTC).write_text("2000000000\n")
    kernel.write(WORD)
    assert until(lambda: said(world) == "vmlab: clock: it jumps\n", Deadline.after(20))
    assert not (world / "set").exists()


def test_in_the_guest_that_goes_on_itself_nobody_waits_any_more(world: Path, kernel: IO[str]) -> None:
    run(world, AWAIT_COPY)
    first = int((world / "run/vmlab-waits").read_text())
    run(world, AWAIT_COPY)
    second = int((world / "run/vmlab-waits").read_text())
    assert until(lambda: not Path(f"/proc/{first}").exists(), Deadline.after(20))
    run(world, SET_OR_BE_PATIENT, "1")
    assert until(lambda: not Path(f"/proc/{second}").exists(), Deadline.after(20))
    kernel.write(WORD)
    assert said(world) == ""


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sys/bus/platform/drivers/vmgenid/QEMUVGID:00", None),
        ("sys/class/tty/console/active", "tty0\n"),
        (RTC, f"{int(time.time()) + 7200}\n"),
        ("bin/dmesg", "#!/bin/sh\n"),
    ],
    ids=["no vmgenid", "another console", "a clock of local time", "no word comes through"],
)
@pytest.mark.usefixtures("kernel")
def test_where_it_would_not_do_nobody_waits(world: Path, file: str, text: str | None) -> None:
    if text is None:
        (world / file).unlink()
    else:
        (world / file).write_text(text)
    assert run(world, AWAIT_COPY) == ""
    assert not (world / "run/vmlab-waits").exists()
