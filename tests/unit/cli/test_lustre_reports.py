"""Tables of LNet, file systems and times."""

import pytest

from vmlab.guest.boot import WAITS
from vmlab.lab.filesystems.failover import Failover, Moved
from vmlab.lab.filesystems.lnet import LnetNode, NidLine, Ping, RouteLine
from vmlab.lab.filesystems.status import ClientStatus, FsStatus, TargetStatus
from vmlab.lab.ground.progress import Silent
from vmlab.lab.ground.stages import StageTime, TrackTime
from vmlab.report import timings
from vmlab.report.filesystems import failover_table, fs_tables
from vmlab.report.lnet import lnet_table, ping_failures, ping_matrix
from vmlab.report.tables import show
from vmlab.report.timings import Timed, stage_table, timing_table

MIB = 1 << 20


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_the_matrix_has_a_cell_for_each_pair(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        ping_matrix(
            [
                Ping("mds1", "oss1", "10.0.0.2@tcp", ok=True),
                Ping("mds1", "oss1", "10.0.1.2@o2ib", ok=False, said="no answer"),
                Ping("mds1", "client1", "10.0.0.3@tcp", ok=False),
                Ping("oss1", "mds1", "10.0.0.1@tcp", ok=True),
            ]
        )
    )
    assert lines(capsys) == [
        ["FROM", "mds1", "oss1", "client1"],
        ["mds1", "-", "1", "of", "2", "no"],
        ["oss1", "ok", "-", "-"],
    ]


ROUTER1, ROUTER2 = "10.0.1.1@tcp1", "10.0.1.2@tcp1"


def paths(bad: set[tuple[str, str, str]]) -> list[Ping]:
    """From two NIDs to two, over two routers; those in `bad` are dead."""
    every = [
        (f"10.0.1.{source}@tcp1", f"10.0.0.{nid}@tcp", via)
        for source in (3, 4)
        for nid in (5, 6)
        for via in (ROUTER1, ROUTER2)
    ]
    return [
        Ping("client1", "oss1", nid, (ok := (source, nid, via) not in bad), "" if ok else "no answer", source, via)
        for source, nid, via in every
    ]


@pytest.mark.parametrize(
    ("places", "wanted"),
    [
        (("10.0.1.3@tcp1", "", ""), "(from 10.0.1.3@tcp1), 4 of 8 paths"),
        (("", "10.0.0.6@tcp", ""), "(10.0.0.6@tcp), 4 of 8 paths"),
        (("", "", ROUTER2), f"(via {ROUTER2}), 4 of 8 paths"),
        (("10.0.1.4@tcp1", "", ROUTER1), f"(from 10.0.1.4@tcp1 via {ROUTER1}), 2 of 8 paths"),
        (("", "", ""), "(10.0.0.5@tcp from 10.0.1.3@tcp1 and others), 8 of 8 paths"),
    ],
)
def test_what_paths_that_fail_have_in_common_is_named(places: tuple[str, str, str], wanted: str) -> None:
    dead = {
        (one.source, one.nid, one.via)
        for one in paths(set())
        if all(place in ("", has) for place, has in zip(places, (one.source, one.nid, one.via), strict=True))
    }
    assert ping_failures(paths(dead)) == [f"client1 does not reach oss1 {wanted}: no answer"]


def test_nothing_fails_where_all_paths_work() -> None:
    assert ping_failures(paths(set())) == []


def test_a_pair_with_one_path_is_told_without_a_count() -> None:
    one = Ping("a", "b", "10.0.0.2@tcp", ok=False, said="No route to host")
    assert ping_failures([one]) == ["a does not reach b (10.0.0.2@tcp): No route to host"]


def test_lnet_of_a_router_and_of_a_node_that_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    nids = (
        NidLine("10.0.0.1@tcp", up=True, interfaces=("eth",)),
        NidLine("10.0.1.1@o2ib", up=False, interfaces=("ib0",)),
    )
    routes = (RouteLine("o2ib1", "10.0.0.9@tcp", 2, up=False),)
    show(
        lnet_table(
            [
                LnetNode("router1", nids, routes, forwarding=True, wanted=()),
                LnetNode("oss1", (), (), forwarding=False, wanted=("10.0.0.2@tcp",), problem="off"),
            ]
        )
    )
    told = lines(capsys)
    assert told[1] == [
        "router1",
        "10.0.0.1@tcp",
        "up",
        "eth",
        "o2ib1",
        "via",
        "10.0.0.9@tcp,",
        "2",
        "hops,",
        "down",
        "yes",
    ]
    assert told[2] == ["10.0.1.1@o2ib", "down", "ib0"]
    assert told[3] == ["oss1", "off", "-", "-", "no"]


def test_status_says_where_a_target_is_and_how_far_it_has_recovered(capsys: pytest.CaptureFixture[str]) -> None:
    target = TargetStatus(
        "lustre-OST0000",
        "/dev/disk/by-id/x",
        ("oss1", "oss2"),
        "oss2",
        "mounted",
        "RECOVERING",
        clients=1,
        expected=2,
        remaining_s=30,
        total=2048 * MIB,
        used=3 * MIB + 17,
        available=2000 * MIB,
    )
    client = ClientStatus("client1", "lustre", "/mnt/lustre", "mounted", {"FULL": 4, "DISCONN": 1}, ("lustre-OST0000",))
    show(fs_tables(FsStatus((target,), (client,), {"oss1": "off"})))
    told = [" ".join(line) for line in lines(capsys)]
    assert told[1] == (
        "lustre-OST0000 mounted oss2 RECOVERING 1/2, 30 s left 3MiB 2000MiB 2GiB oss1 oss2 /dev/disk/by-id/x"
    )
    assert told[-2] == "client1 lustre /mnt/lustre mounted 4 FULL 1 DISCONN (lustre-OST0000)"
    assert told[-1] == "oss1: off"


def test_a_failover_tells_its_times_and_who_was_evicted(capsys: pytest.CaptureFixture[str]) -> None:
    done = Failover("power", 1.4, 33.4, (Moved("lustre-OST0000", "oss1", "oss2", 22.9, 31.5, "COMPLETE", 2, 3, 1),))
    assert done.evicted == 1
    show(failover_table(done))
    told = [" ".join(line) for line in lines(capsys)]
    assert told[1] == "lustre-OST0000 oss1 oss2 22.9 31.5 COMPLETE 2/3 1"
    assert told[2] == "power: down after 1.4 s, all recovered after 33.4 s"


def test_where_the_seconds_went(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((100.0, 101.0, 103.0, 106.0, 110.0, 110.5, 112.0))
    monkeypatch.setattr(timings, "now", lambda: next(clock))
    timed = Timed(Silent())
    for stage in ("create-volume", *WAITS.values(), "ready"):
        timed.stage("oss1", stage)
    timed.stage("oss1", "mount OSTs")  # comes after the node was ready, and has a table of its own
    assert timed.seconds("oss1") == {
        "define": 3.0,
        "domain": 3.0,
        "kernel": 4.0,
        "ssh": 0.5,
        "cloud-init": 1.5,
        "total": 12.0,
    }
    show(timing_table(timed))
    assert lines(capsys)[1] == ["oss1", "3.0", "3.0", "4.0", "0.5", "1.5", "-", "12.0"]
    show(stage_table([StageTime("mount OSTs", 5.0, (TrackTime("oss2", "lustre-OST0003", 4.8, 1),))]))
    assert lines(capsys)[1] == ["mount", "OSTs", "5.0", "1", "1", "oss2", "lustre-OST0003", "4.8", "s"]


def test_a_stage_in_which_nothing_had_to_be_done_is_told_as_a_look(capsys: pytest.CaptureFixture[str]) -> None:
    did, looked = (
        StageTime("format", 5.0, (TrackTime("oss2", "lustre-OST0003", 4.8, n),), "look at disks") for n in (1, 0)
    )
    flush = StageTime("flush", 1.0, (TrackTime("oss2", "disks", 1.0, 0),))
    show(stage_table([did, looked, flush]))
    assert [" ".join(line[:3]) for line in lines(capsys)[1:]] == ["format 5.0 1", "look at disks", "flush 1.0 1"]
