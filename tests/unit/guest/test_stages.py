"""Stages of tracks, driven through a real sshd with neutral commands."""

import threading
import time
from pathlib import Path

import pytest

from vmlab.errors import GuestError
from vmlab.guest.child import no_watch
from vmlab.guest.ssh import Guest
from vmlab.lab.ground.stages import StageTime, drive
from vmlab.plan.filesystems import Stage, Track
from vmlab.runtime.wait import Deadline
from vmlab.steps import Step


class Heard:
    """What progress was told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, str]] = []
        self.lines: list[str] = []

    def stage(self, node: str, stage: str) -> None:
        self.stages.append((node, stage))

    def say(self, line: str) -> None:
        self.lines.append(line)

    def warn(self, line: str) -> None:
        self.lines.append(line)


def made(path: Path, *, after: Path | None = None, seconds: float = 0) -> Step:
    """A file, which is only made where another one is there already."""
    script = 'sleep "$3"; [ -z "$2" ] || [ -e "$2" ] || { echo "$2 is not there" >&2; exit 1; }; : >"$1"'
    values = ("vmlab", str(path), str(after or ""), str(seconds))
    return Step(f"make {path.name}", ("test", "-e", str(path)), (("sh", "-c", script, *values),))


def said(text: str, name: str = "step") -> Step:
    """Fails, and says so."""
    return Step(name, ("false",), (("sh", "-c", 'echo "$1" >&2; exit 1', "vmlab", text),))


def driven(guest: Guest, *stages: Stage, patience_s: float = 0, heard: Heard | None = None) -> tuple[StageTime, ...]:
    guest.connect(Deadline.after(10))
    return drive(
        stages,
        {"oss1": guest},
        watch=lambda _: no_watch,
        progress=heard or Heard(),
        deadline=Deadline.after(60),
        patience_s=patience_s,
    )


def test_a_stage_begins_when_all_tracks_of_the_one_before_are_over(guest: Guest, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    times = driven(
        guest,
        Stage("one", (Track("oss1", "slow", (made(first, seconds=0.5),)), Track("oss1", "quick", ()))),
        Stage("two", (Track("oss1", "after", (made(second, after=first),)),)),
    )
    assert [(t.stage, t.applied) for t in times] == [("one", 1), ("two", 1)]
    assert times[0].tracks[0].what == "slow"
    assert times[0].seconds >= times[0].tracks[0].seconds >= 0.5


def test_what_holds_is_not_done_again(guest: Guest, tmp_path: Path) -> None:
    stage = Stage("one", (Track("oss1", "it", (made(tmp_path / "file"),)),))
    heard = Heard()
    assert driven(guest, stage)[0].applied == 1
    assert driven(guest, stage, heard=heard)[0].applied == 0
    assert heard.lines == []


def test_what_is_only_looked_at_is_not_called_what_would_be_done(guest: Guest, tmp_path: Path) -> None:
    both = (made(tmp_path / "a"), made(tmp_path / "b"))
    stage = Stage("format", (Track("oss1", "OST0000", both), Track("oss1", "OST0001", ())))
    first, second = Heard(), Heard()
    driven(guest, stage, heard=first)
    driven(guest, stage, heard=second)
    did = [said for _, said in first.stages if said.endswith("OST0000")]
    assert did == ["look at disks: OST0000", "format: OST0000"]
    assert not [said for _, said in second.stages if said.startswith("format")]


def test_tracks_of_one_node_run_at_once_and_never_more_than_sshd_bears(guest: Guest, tmp_path: Path) -> None:
    tracks = tuple(Track("oss1", str(n), (made(tmp_path / str(n), seconds=1.5),)) for n in range(24))
    begin = time.monotonic()
    (stage,) = driven(guest, Stage("many", tracks))
    assert stage.applied == 24
    assert time.monotonic() - begin < 24 * 1.5 / 2


def test_all_tracks_of_a_stage_are_over_before_its_failure_is_told(guest: Guest, tmp_path: Path) -> None:
    late = tmp_path / "late"
    with pytest.raises(GuestError):
        driven(
            guest,
            Stage("one", (Track("oss1", "a", (said("no"),)), Track("oss1", "b", (made(late, seconds=0.5),)))),
            Stage("two", (Track("oss1", "never", (made(tmp_path / "never"),)),)),
        )
    assert late.exists()
    assert not (tmp_path / "never").exists()


def test_a_failure_says_what_is_wrong_with_lustre(guest: Guest) -> None:
    text = "mount.lustre: mount 10.77.1.11@o2ib:/lustr at /mnt/lustre failed: No such file or directory"
    with pytest.raises(GuestError) as caught:
        driven(guest, Stage("mount clients", (Track("oss1", "lustre", (said(text, "mount lustre"),)),)))
    assert caught.value.message.startswith("oss1: mount lustre: the MGS has no file system of the name")
    assert "vmlab fs status" in caught.value.hint
    assert text in caught.value.console


def test_who_cannot_talk_is_named_as_a_pair(guest: Guest) -> None:
    text = "failed to ping 10.77.1.15@o2ib: Input/output error"
    with pytest.raises(GuestError, match=r"oss1 and client1 cannot talk over LNet: 10\.77\.1\.15@o2ib does not answer"):
        driven(guest, Stage("ping", (Track("oss1", "ping", (said(text, "LNet ping of client1"),)),)))


def test_an_unknown_failure_keeps_its_own_words(guest: Guest) -> None:
    with pytest.raises(GuestError, match=r"oss1: odd: .*ended with status 1: nobody knows this"):
        driven(guest, Stage("one", (Track("oss1", "a", (said("nobody knows this", "odd"),)),)))


def test_what_passes_is_tried_again(guest: Guest, tmp_path: Path) -> None:
    script = '[ -e "$1" ] || { echo "mount x at /mnt/x failed: Connection timed out" >&2; exit 1; }'
    step = Step("mount", ("test", "-e", str(tmp_path / "x")), (("sh", "-c", script, "vmlab", str(tmp_path / "x")),))
    threading.Timer(1.0, (tmp_path / "x").touch).start()
    (stage,) = driven(guest, Stage("mount", (Track("oss1", "x", (step,)),)), patience_s=20)
    assert stage.tracks[0].seconds >= 1


def test_what_passes_is_told_when_patience_is_over(guest: Guest) -> None:
    step = said("mount x at /mnt/x failed: Connection timed out", "mount")
    with pytest.raises(GuestError, match="the MGS does not answer"):
        driven(guest, Stage("mount", (Track("oss1", "x", (step,)),)))
