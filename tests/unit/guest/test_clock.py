"""What a guest's clock needs before it is set, with an `lctl` that only says what it was told: no Lustre is needed."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from vmlab.guest.clock import AS_BEFORE, BE_PATIENT, SET_OR_BE_PATIENT, clock_seen

SERVER = "  0 UP osd-ldiskfs MGS-osd MGS-osd_UUID 5\n  1 UP mgs MGS MGS 10\n"
CLIENT = "  0 UP mgc MGC10.0.0.1@tcp 1-2-3 4\n"
LCTL = """#!/bin/sh
case "$1" in
dl) cat {folder}/devices ;;
get_param) cat "{folder}/$3" 2>/dev/null ;;
set_param) echo "$3" >>{folder}/told ;;
esac
"""
DATE = """#!/bin/sh
case "$*" in
"-u -s "*) echo "$3" >{folder}/set ;;
*) exec /bin/date "$@" ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {"lctl": LCTL, "date": DATE, "sleep": "#!/bin/sh\nexit 1\n"}.items():
        (tools / name).write_text(text.replace("{folder}", str(tmp_path)))
        (tools / name).chmod(0o755)
    (tmp_path / "devices").write_text(SERVER)
    (tmp_path / "ping_interval").write_text("25\n")
    (tmp_path / "told").touch()
    return tmp_path


def run(folder: Path, script: str, *arguments: str) -> str:
    environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}"}
    script = script.replace("/run/vmlab-patience", f"{folder}/before")
    return subprocess.run(
        ["sh", "-c", script, "vmlab", *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout


def patient(folder: Path, jump: int) -> tuple[str, list[str]]:
    said = run(folder, BE_PATIENT, str(int(time.time()) + jump))
    return said, (folder / "told").read_text().splitlines()


def test_a_server_is_patient_for_longer_than_the_jump_and_then_as_before(folder: Path) -> None:
    said, told = patient(folder, 6000)
    name, _, seconds = told[0].partition("=")
    assert (said, name) == ("jumps\n", "ping_interval")
    assert 6000 < 6 * int(seconds) < 6600
    run(folder, AS_BEFORE)
    run(folder, AS_BEFORE)
    assert (folder / "told").read_text().splitlines()[1:] == ["ping_interval=25"]


def test_what_a_killed_one_left_is_not_taken_for_what_was_before(folder: Path) -> None:
    patient(folder, 6000)
    (folder / "ping_interval").write_text("1060\n")
    patient(folder, 9000)
    run(folder, AS_BEFORE)
    assert (folder / "told").read_text().splitlines()[-1] == "ping_interval=25"


def test_an_older_lustre_has_its_intervals_from_the_timeout(folder: Path) -> None:
    (folder / "ping_interval").rename(folder / "timeout")
    _, (told,) = patient(folder, 6000)
    assert told.startswith("timeout=")
    assert 6000 < 6 / 4 * int(told.partition("=")[2]) < 6600


@pytest.mark.parametrize(("devices", "jump", "wanted"), [(CLIENT, 6000, "jumps\n"), ("", 6000, ""), (SERVER, 5, "")])
def test_elsewhere_nothing_is_set(folder: Path, devices: str, jump: int, wanted: str) -> None:
    (folder / "devices").write_text(devices)
    assert patient(folder, jump) == (wanted, [])


@pytest.mark.parametrize(("devices", "jump", "at_once"), [(CLIENT, 6000, False), ("", 6000, True), (SERVER, 5, True)])
def test_where_nobody_minds_the_clock_is_set_in_the_same_round(
    folder: Path, devices: str, jump: int, at_once: bool
) -> None:
    (folder / "devices").write_text(devices)
    then = str(int(time.time()) + jump)
    assert run(folder, SET_OR_BE_PATIENT, then) == ("" if at_once else "jumps\n")
    assert [path.read_text() for path in folder.glob("set")] == ([f"@{then}\n"] if at_once else [])


def test_a_copy_says_of_its_clock_what_it_did() -> None:
    assert clock_seen("random words\nvmlab: clone: n1\n") is None
    assert clock_seen("[ 1.0] a line\r\nvmlab: clock: set\r\n") is True
    assert clock_seen("vmlab: clock: it jumps\n") is False
    assert clock_seen("vmlab: clock: se") is None
