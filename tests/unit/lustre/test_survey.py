"""What a node says of itself in one round trip, recorded from a bed whose MDS had just come back."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.lustre.status import RecoveryStatus
from vmlab.lustre.survey import SURVEY, Survey, TargetSpace, read_survey
from vmlab.lustre.version import Version
from vmlab.values.nid import Nid
from vmlab.values.size import Bytes

CASES = Path(__file__).parents[2] / "cases" / "lustre"


def said(name: str) -> str:
    return (CASES / f"survey-{name}.txt").read_text().partition("\n")[2]


def test_a_metadata_server_that_recovers() -> None:
    found = read_survey(said("mds-recovering"))
    assert found.version == Version(2, 17, 57)
    assert [(mount.service, mount.point) for mount in found.mounts] == [
        ("MGS", "/mnt/lustre-MGS"),
        ("lustre-MDT0000", "/mnt/lustre-MDT0000"),
    ]
    assert found.services == {"MGS", "lustre-MDT0000"}
    assert found.recovery == {
        "lustre-MDT0000": RecoveryStatus("lustre-MDT0000", "RECOVERING", expected=1, remaining_s=198)
    }
    assert found.space is not None
    kib = 1024
    assert found.space["MGS"] == TargetSpace(Bytes(221032 * kib), Bytes(219928 * kib), Bytes(201584 * kib))
    assert [ni.nid for ni in found.nis] == [Nid.parse("10.77.1.11@o2ib")]
    assert not found.forwards


def test_an_object_server_has_two_targets_with_space_and_recovery() -> None:
    found = read_survey(said("oss"))
    labels = {"lustre-OST0000", "lustre-OST0001"}
    assert found.services == labels
    assert found.space is not None
    assert set(found.space) == labels
    assert found.recovery is not None
    assert {name: (r.state, r.connected, r.expected) for name, r in found.recovery.items()} == dict.fromkeys(
        labels, ("COMPLETE", 2, 2)
    )


def test_a_server_in_memory_names_its_mgt_after_the_file_system() -> None:
    found = read_survey(said("memory"))
    assert [mount.service for mount in found.mounts] == ["lustre-MGS0000", "lustre-MDT0000", "lustre-MDT0001", ""]
    assert found.services == {"MGS", "lustre-MDT0000", "lustre-MDT0001"}
    assert found.space is not None
    assert set(found.space) == {"lustre-MGS0000", "lustre-MDT0000", "lustre-MDT0001"}


def test_a_client_whose_mount_waits_has_connections_and_no_mount() -> None:
    found = read_survey(said("client-mounting"))
    assert found.mounts == ()
    states = {connection.target: connection.state for connection in found.imports}
    assert states["lustre-MDT0000"] == "DISCONN"
    assert states["lustre-OST0000"] == "NEW"
    assert not any(connection.well for connection in found.imports)


def test_the_script_runs_where_there_is_no_lustre_and_says_so() -> None:
    done = subprocess.run(SURVEY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = read_survey(done.stdout)
    assert (found.version, found.mounts, found.services, found.nis) == (None, (), frozenset(), ())


COMMANDS = {
    ("/sbin/mount.lustre_tgt", "/dev/vdc", "/mnt/lustre-OST0000", "-o", "rw"): "mounting",
    ("mount", "-t", "lustre_tgt", "-o", "recovery_time_soft=60", "/dev/vdc", "/mnt/lustre-OST0000"): "mounting",
    ("mount.lustre", "10.77.1.11@o2ib:/lustre", "/mnt/lustre", "-o", "rw,flock"): "mounting",
    ("zpool", "import", "-N", "-f", "-o", "cachefile=none", "-d", "/dev", "vmlab-lustre-OST0000"): "mounting",
    ("/usr/bin/umount", "/mnt/lustre-OST0000"): "unmounting",
    ("umount", "-f", "/mnt/lustre"): "unmounting",
    ("mkfs.lustre", "--ost", "--comment=vmlab ha lustre-OST0000", "/dev/vdc"): "formatting",
    ("mount", "-t", "ext4", "/dev/vdb", "/mnt/data"): "",
    ("zpool", "list", "-H", "vmlab-lustre-OST0000"): "",
    ("mountpoint", "/mnt/lustre"): "",
    ("grep", "mount.lustre", "/proc/mounts"): "",
}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_is_under_way_is_read_from_command_lines(words: tuple[str, ...]) -> None:
    found = read_survey("vmlab section: busy\n" + "".join(f"{word}\1" for word in words) + "\n").busy
    assert [(busy.state, busy.words) for busy in found] == ([(COMMANDS[words], words[1:])] if COMMANDS[words] else [])


def test_the_script_sees_a_mount_that_waits() -> None:
    point = "/mnt/vmlab test-OST0000"
    argv = ["mount.lustre_tgt", "-c", "import time; time.sleep(60)", "/dev/vdc", point]
    with subprocess.Popen(argv, executable=sys.executable) as mount:
        try:
            while mount.poll() is None and b"mount.lustre_tgt" not in Path(f"/proc/{mount.pid}/cmdline").read_bytes():
                time.sleep(0.01)
            done = subprocess.run(SURVEY, capture_output=True, text=True, check=True)
        finally:
            mount.kill()
    assert [busy.state for busy in read_survey(done.stdout).busy if point in busy.words] == ["mounting"]


def test_what_is_switched_off_is_inactive() -> None:
    text = said("oss") + (
        "vmlab section: active\n"
        "osp.lustre-OST0001-osc-MDT0000.active=0\n"
        "osp.lustre-OST0000-osc-MDT0000.active=1\n"
        "osc.a-b-OST000a-osc-ffff8a35424c6000.active=0\n"
    )
    assert read_survey(text).inactive == {"lustre-OST0001", "a-b-OST000a"}


@pytest.mark.parametrize(
    ("nets", "why"),
    [
        ("opening /dev/lnet failed: No such file or directory\nhint: the kernel modules may not be loaded\n",
         "LNet is not loaded"),
        ('---\nshow:\n-     net:\n      errno: -3\n      descr: ! "Network is down"\n...\n',
         "LNet is loaded and has no network"),
        ("net:\n- net type: tcp\n  local NI(s):\n  - nid: 10.244.0.10@tcp\n    status: up\n", ""),
    ],
)  # fmt: skip
def test_why_there_is_no_lnet(nets: str, why: str) -> None:
    assert read_survey(f"vmlab section: nets\n{nets}").lnet == why


def test_nothing_said_is_nothing_known() -> None:
    assert read_survey("") == Survey(recovery={}, space={})


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    read_survey(text)
    read_survey(f"vmlab section: space\nosd-ldiskfs.x.kbytestotal={text}\nvmlab section: nets\n{text}")
    read_survey(f"vmlab section: busy\n{text}\nvmlab section: active\n{text}")
