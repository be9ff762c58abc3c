"""Recorded states of targets, clients and connections."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.lustre import status
from vmlab.lustre.status import Device, RecoveryStatus
from vmlab.values.size import Bytes

CASES = Path(__file__).parents[2] / "cases" / "lustre"


def said(name: str) -> str:
    return (CASES / f"{name}.txt").read_text().partition("\n")[2]


def test_recovery_before_and_after() -> None:
    assert status.recovery(said("recovery_status-before"))[0] == RecoveryStatus("lab-OST0000", "INACTIVE")
    complete, idle = status.recovery(said("recovery_status-ha-complete"))
    assert complete == RecoveryStatus("lab-OST0000", "COMPLETE", connected=3, completed=3, expected=3, duration_s=2)
    assert idle == RecoveryStatus("lab-OST0001", "INACTIVE")
    assert complete.over
    assert idle.over


def test_whoever_did_not_come_back_was_evicted() -> None:
    (found,) = status.recovery(said("recovery_status-one-evicted"))
    assert (found.state, found.completed, found.expected, found.evicted) == ("COMPLETE", 2, 3, 1)


def test_recovery_as_it_goes() -> None:
    seen = [status.recovery(part)[0] for part in said("recovery_status-ha-during").split("# t=")[1:]]
    assert [s.state for s in seen] == ["WAITING_FOR_CLIENTS", "RECOVERING", "RECOVERING", "COMPLETE"]
    assert [(s.connected, s.expected) for s in seen] == [(0, 0), (1, 3), (2, 3), (3, 3)]
    assert [s.remaining_s for s in seen] == [None, 119, 118, None]
    assert [s.over for s in seen] == [False, False, False, True]


def test_devices() -> None:
    text = said("lctl-dl-mds")
    assert Device(up=True, kind="mdt", name="lab-MDT0000") in status.devices(text)
    assert status.started(status.devices(text)) == {"MGS", "lab-MDT0000"}
    assert status.started(status.devices(said("lctl-dl-client"))) == frozenset()
    assert status.started(status.devices(said("mount-ost-ok"))) == {"lab-OST0000"}
    assert not status.devices("  3 ST osp lab-OST0000-osc-MDT0000 lab-MDT0000-mdtlov_UUID 1")[0].up


def test_space() -> None:
    whole = status.space(said("lfs-df"))  # -h and -i follow in the same text
    assert [s.target for s in whole] == ["lab-MDT0000", "lab-OST0000", "lab-OST0001"]
    assert whole[1].total == Bytes(1908940 * 1024)
    assert whole[1].available == Bytes(1786304 * 1024)


def test_space_of_a_target_that_does_not_answer() -> None:
    # showdf of lustre/utils/lfs.c
    [gone] = status.space("lab-OST0001_UUID    : Resource temporarily unavailable\n")
    assert (gone.target, gone.total, gone.problem) == ("lab-OST0001", 0, "Resource temporarily unavailable")


def test_a_target_that_is_inactive_is_kept_as_that() -> None:
    found = {one.target: one for one in status.space((CASES / "lfs-df-inactive.txt").read_text())}
    assert list(found) == ["lustre-MDT0000", "OST0000", "lustre-OST0001", "lustre-OST0002", "OST0003"]
    assert [name for name, one in found.items() if one.inactive] == ["OST0000"]
    assert {name: one.problem for name, one in found.items() if one.problem} == {
        "OST0000": "inactive device",
        "lustre-OST0002": "Resource temporarily unavailable",
        "OST0003": "Invalid argument",
    }
    assert found["lustre-OST0001"].available == Bytes(1780548 * 1024)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        # print_os_state of lustre/utils/lfs.c: letters behind the mount point
        ("lustre-OST0001_UUID  1933276  31732  1780548   2% /mnt/lustre[OST:1] I", ("lustre-OST0001", "I", "")),
        ("lustre-OST0001_UUID  1933276  31732  0 100% /mnt/lustre[OST:1] DRS ", ("lustre-OST0001", "DRS", "")),
        ("lustre-OST000a_UUID  1933276  31732  1780548   2% /mnt/lustre[OST:10]", ("lustre-OST000a", "", "")),
        ("a-b-MDT0001_UUID    : Cannot send after transport endpoint shutdown",
         ("a-b-MDT0001", "", "Cannot send after transport endpoint shutdown")),
        ("MDT0001             : inactive device", ("MDT0001", "", "inactive device")),
    ],
)  # fmt: skip
def test_a_sick_file_system(line: str, wanted: tuple[str, str, str]) -> None:
    (one,) = status.space(f"UUID 1K-blocks Used Available Use% Mounted on\n{line}\n")
    assert (one.target, one.flags, one.problem) == wanted


def test_inodes_and_rounded_figures_are_no_space() -> None:
    figures = "lustre-OST0001_UUID 131072 303 130769 1% /mnt/lustre[OST:1]\n"
    assert status.space(f"UUID                      Inodes       IUsed       IFree IUse% Mounted on\n{figures}") == ()
    assert status.space(f"UUID                       bytes        Used   Available Use% Mounted on\n{figures}") == ()
    assert status.space("error: df: lustre: cannot open: Permission denied\nfilesystem_summary: 1 2 3 4% /x\n") == ()


def test_mounts() -> None:
    [target] = status.mounts(said("mount-mdt-ok"))
    assert (target.source, target.point, target.kind) == ("/dev/vdc", "/mnt/mdt0", "lustre_tgt")
    assert (target.service, target.client_of) == ("lab-MDT0000", "")
    [client] = status.mounts(said("mount-client-n13"))
    assert (client.service, client.client_of) == ("", "lab")
    proc = "10.77.0.10@tcp:10.77.0.11@tcp:/lab /mnt/lab lustre rw,flock,lazystatfs 0 0\n/dev/vda1 / ext4 rw 0 0\n"
    [client] = status.mounts(proc)
    assert client.client_of == "lab"
    assert "flock" in client.options


def test_imports() -> None:
    found = status.imports(said("get_param-import"))
    assert [i.target for i in found][:3] == ["lab-OST0000", "lab-OST0001", "lab-MDT0000"]
    assert all(i.well for i in found)
    assert found[0].connection == "10.77.0.11@tcp"
    assert found[0].failover_nids == ("10.77.0.11@tcp", "10.77.0.12@tcp")


def test_a_connection_that_is_switched_off_is_inactive_and_not_well() -> None:
    # Its import may be in any state; of a target that was away when it was switched off it is not FULL.
    active = "osc.lab-OST0001-osc-ffff8a35424c6000.active=0\nosc.lab-OST0000-osc-ffff8a35424c6000.active=1\n"
    found = {one.target: one for one in status.imports(said("get_param-import"), active)}
    assert {name: one.state for name, one in found.items() if not one.well} == {"lab-OST0001": "INACTIVE"}


@pytest.mark.parametrize(
    ("name", "of_server"),
    [
        ("lustre-OST0000-osc-MDT0000", True),
        ("lustre-MDT0001-osp-MDT0000", True),
        ("lustre-OST0000-osc-ffff88801cbe4000", False),
        ("lustre-MDT0000-mdc-ffff88801cbe4000", False),
    ],
)
def test_a_server_that_is_a_client_has_connections_of_both(name: str, of_server: bool) -> None:
    assert status.Import(name, "lustre-OST0000", "FULL", "").of_server is of_server


TEXTS = [path.read_text() for path in sorted(CASES.glob("*.txt"))]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(TEXTS), *2 * [st.integers(0, 3000)], st.text())
)
def test_any_text_is_read(text: str) -> None:
    for read in (status.recovery, status.devices, status.space, status.mounts, status.imports):
        assert isinstance(read(text), tuple)
