"""Tables of LNet, file systems and times."""

import pytest

from vmlab.lab.failover import Failover, Moved
from vmlab.lab.filesystems import ClientStatus, FsStatus, TargetStatus
from vmlab.lab.lnet import LnetNode, NidLine, Ping, RouteLine, _read
from vmlab.lab.progress import Silent
from vmlab.lab.stages import StageTime, TrackTime
from vmlab.report import timings
from vmlab.report.filesystems import failover_table, fs_tables
from vmlab.report.lnet import lnet_table, ping_matrix
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


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("ok", (True, "")),
        (
            'no "failed to ping 10.0.0.2@tcp: No route to host"',
            (False, "failed to ping 10.0.0.2@tcp: No route to host"),
        ),
        ("no ", (False, "no answer within 20 s")),
    ],
)
def test_what_a_ping_says(answer: str, wanted: tuple[bool, str]) -> None:
    assert _read(answer) == wanted


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
    for stage in ("create-volume", "domain", "kernel", "ssh", "cloud-init", "ready"):
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
