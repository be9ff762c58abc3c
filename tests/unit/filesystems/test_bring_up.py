"""What brings file systems up, in which order, and what it waits for. Guests are doubles that do what they are told."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vmlab.errors import HostError
from vmlab.lab.filesystems import bring_up
from vmlab.lab.filesystems.bring_up import raise_filesystems
from vmlab.lab.filesystems.lustre_bed import LustreBed
from vmlab.lab.ground.progress import Silent
from vmlab.lab.ground.stages import StageTime, TrackTime
from vmlab.lustre import status
from vmlab.lustre.status import RecoveryStatus
from vmlab.lustre.survey import Survey
from vmlab.lustre.target import Recovery
from vmlab.lustre.version import Version
from vmlab.plan.filesystems import FORMAT, Stage
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology, load

from .beds import answered, opening

HOST: Any = None
HA = Path(__file__).parents[3] / "topologies" / "ha-topology.yaml"
NEW = Version(2, 17, 57)
EMPTY = Survey(version=NEW)
CLIENT = Survey(version=NEW, mounts=status.mounts("10.77.1.11@o2ib:/lustre /mnt/lustre lustre rw 0 0"))
IN_MEMORY = Path(__file__).parents[2] / "golden" / "stages" / "in-memory.yaml"
LNET = ["configure LNet", "ping over LNet"]
SERVERS = ["format", "mount MGT", "mount MDT0000", "mount OSTs"]
CLIENTS = ["find OSTs", "mount clients"]


class Heard(Silent):
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class Told:
    """A guest that does what it is told, and keeps it."""

    def __init__(self, said: list[str], node: str) -> None:
        self.said, self.node = said, node

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        self.said.append(f"{self.node}: {argv[0]}")
        return Result(tuple(argv), 0, "", "")


class Bed:
    """Of a topology: what the stages were, in order, and what of them had to be done."""

    def __init__(self, topology: Topology, monkeypatch: pytest.MonkeyPatch, **surveys: Survey) -> None:
        self.topology = topology
        self.stages: list[str] = []
        self.apply = 1
        self.windows: list[Any] = []
        self.waited: list[float | None] = []
        self.ran: list[str] = []
        bed = answered(topology, {node: surveys.get(node, EMPTY) for node in topology.nodes}, {})
        bed.guests.update({node: Told(self.ran, node) for node in topology.nodes})  # type: ignore[attr-defined]
        monkeypatch.setattr(bring_up, "opened", opening(bed))
        monkeypatch.setattr(bring_up, "recovered", self.recovered)
        monkeypatch.setattr(LustreBed, "drive", lambda _bed, stages, *_, **__: self.drive(stages))
        monkeypatch.setattr(LustreBed, "refuse_strangers", lambda *_: None)

    def drive(self, stages: tuple[Stage, ...]) -> tuple[StageTime, ...]:
        self.stages += [stage.name for stage in stages]
        mounts = [word for s in stages for t in s.tracks for step in t.steps for c in step.apply for word in c]
        self.windows += [word for word in mounts if "recovery_time" in word]
        done = tuple(tuple(TrackTime(t.node, t.what, 1.0, self.apply) for t in stage.tracks) for stage in stages)
        return tuple(StageTime(stage.name, 1.0, tracks) for stage, tracks in zip(stages, done, strict=True))  # type: ignore[arg-type]

    def recovered(self, _bed: Any, where: Any, *_: Any, patience_s: float | None) -> Any:
        self.stages.append("recover")
        self.waited.append(patience_s)
        return {label: (0.0, RecoveryStatus(label, "COMPLETE", expected=1)) for label in where}

    def up(self, **more: Any) -> tuple[StageTime, ...]:
        self.heard = Heard()
        return raise_filesystems(HOST, self.topology, self.heard, Deadline.after(5), **more)


def test_servers_then_recovery_then_clients_then_all_is_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(load(HA), monkeypatch)
    times = bed.up()
    assert bed.stages == [*LNET, *SERVERS, "recover", *CLIENTS]
    assert [time.stage for time in times] == [*bed.stages, "flush"]
    assert sorted(bed.ran) == [f"{node}: sync" for node in sorted(bed.topology.nodes)]


def test_where_nothing_had_to_be_done_nothing_is_waited_for_or_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(load(HA), monkeypatch)
    bed.apply = 0
    bed.up()
    assert (bed.stages, bed.ran) == ([*LNET, *SERVERS, *CLIENTS], [])


def test_mounting_alone_formats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(load(HA), monkeypatch)
    bed.up(only=lambda stage: stage.name != FORMAT)
    assert "format" not in bed.stages


@pytest.mark.parametrize(
    ("client", "patience_s", "window"),
    [(EMPTY, 20.0, "recovery_time_soft=30"), (CLIENT, None, "")],
    ids=["all were off: only fellow targets come back", "a client has it mounted, and is waited for"],
)
def test_who_is_left_decides_how_long_a_recovery_may_take(
    client: Survey, patience_s: float | None, window: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = Bed(load(HA), monkeypatch, client1=client)
    bed.up()
    assert bed.waited == [patience_s]
    assert any(window in word for word in bed.windows) if window else bed.windows == []


def test_a_window_that_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(load(HA), monkeypatch, client1=CLIENT)
    bed.up(recovery=Recovery(soft=120, hard=240))
    assert all("recovery_time_soft=120" in word for word in bed.windows)
    assert bed.windows


def test_a_file_system_in_memory_that_is_gone_begins_anew_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = load(IN_MEMORY)
    gone = dict.fromkeys(topology.filesystems["lustre"].clients, CLIENT)
    bed = Bed(topology, monkeypatch, **gone)
    bed.up()
    assert "lustre was in memory and is gone: it begins anew, empty" in bed.heard.lines
    assert bed.stages.index("unmount clients") < bed.stages.index("mount MGT")


def test_a_node_that_the_file_no_longer_has_and_may_hold_a_target_stops_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bed = Bed(load(HA), monkeypatch)

    def holds(*_: Any) -> None:
        raise HostError("oss3 runs, and could have lustre-OST0000")

    monkeypatch.setattr(LustreBed, "refuse_left", holds)
    with pytest.raises(HostError, match="oss3 runs"):
        bed.up()
    assert bed.stages == []


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Topology:
    topology = load(HA)
    bed = answered(topology, dict.fromkeys(topology.nodes, Survey()), {})
    monkeypatch.setattr(bring_up, "opened", opening(bed))
    return topology


def test_guests_that_have_no_lustre_are_left_as_they_are(bare: Topology) -> None:
    heard = Heard()
    assert bring_up.raise_filesystems(HOST, bare, heard, Deadline.after(1), sure=False) == ()
    assert heard.lines == ["ha: its guests were asked, and have no Lustre: the bed is up without LNet, lustre"]


def test_where_lustre_must_be_its_absence_is_an_error(bare: Topology) -> None:
    with pytest.raises(HostError, match="the image has no Lustre: demo"):
        bring_up.raise_filesystems(HOST, bare, Heard(), Deadline.after(1))
