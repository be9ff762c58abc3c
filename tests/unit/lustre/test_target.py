"""Labels, paths and command lines of targets; those of whole beds are in the golden stages."""

from pathlib import Path

import pytest

from vmlab.lustre.status import devices, mounts, started
from vmlab.lustre.target import (
    OnDisk,
    Target,
    client_mount_argv,
    client_source,
    dashed,
    disk_path,
    mkfs_argv,
    mount_argv,
    read_on_disk,
)
from vmlab.lustre.version import Version
from vmlab.values.nid import Nid

CASES = Path(__file__).parents[2] / "cases" / "lustre"
A, B = Nid.parse("10.77.0.10@tcp"), Nid.parse("10.77.1.10@o2ib")
OST = Target("ha", "lustre", "OST", 10, "ldiskfs", "/dev/disk/by-id/virtio-lustre-OST000a", ((A, B),), ((A, B), (B,)))


def said(name: str) -> str:
    return (CASES / f"{name}.txt").read_text().partition("\n")[2]


def test_names() -> None:
    assert (OST.label, OST.service, OST.mount_point) == ("lustre-OST000a", "lustre-OST000a", "/mnt/lustre-OST000a")
    mgt = Target("ha", "lustre", "MGT", 0, "zfs", "/dev/vdb", ((A,),), ((A,),))
    assert (mgt.label, mgt.service, mgt.device) == ("lustre-MGS", "MGS", "vmlab-lustre-MGS/target")
    assert mkfs_argv(mgt)[-2:] == ("vmlab-lustre-MGS/target", "/dev/vdb")
    assert not any(word.startswith(("--fsname", "--index", "--mgsnode")) for word in mkfs_argv(mgt))


def test_the_longest_label_is_a_serial_number() -> None:
    assert disk_path("abcdefgh-OST0000") == "/dev/disk/by-id/virtio-abcdefgh-OST0000"
    assert disk_path("a" * 30) == "/dev/disk/by-id/virtio-" + "a" * 20


def test_all_nids_of_all_servers_are_told() -> None:
    argv = mkfs_argv(OST)
    assert "--mgsnode=10.77.0.10@tcp,10.77.1.10@o2ib" in argv
    assert "--mgsnode=10.77.1.10@o2ib" in argv
    assert not any(word.startswith("--servicenode") for word in argv)
    assert client_source("lustre", OST.mgs) == "10.77.0.10@tcp,10.77.1.10@o2ib:10.77.1.10@o2ib:/lustre"
    assert client_mount_argv("a@tcp:/l", "/mnt/l", "") == ("mount", "-t", "lustre", "a@tcp:/l", "/mnt/l")


def test_memory_is_not_formatted_and_told_what_it_is() -> None:
    memory = Target("ha", "lustre", "OST", 1, "wbcfs", "", ((A,),), ((A,),))
    with pytest.raises(ValueError, match="nothing to format"):
        mkfs_argv(memory)
    assert mount_argv(memory, Version(2, 17, 57)) == (
        *("env", "OSD_WBC_TGT_TYPE=OST", "OSD_WBC_INDEX=1", "OSD_WBC_MGS_NID=10.77.0.10@tcp"),
        *("OSD_WBC_PRIMARY_MDT=0", "OSD_WBC_FSNAME=lustre"),
        *("mount", "-t", "lustre_tgt", "lustre-wbcfs", "/mnt/lustre-OST0001"),
    )


def test_of_many_nids_memory_is_told_whole_ones() -> None:
    many = tuple(Nid.parse(f"192.168.100.10{i}@tcp{i}") for i in range(1, 6))
    told = {}
    for mgs in ((many[:2],), (many[:3],), (many[:2], many[2:])):
        argv = mount_argv(Target("ha", "lustre", "OST", 1, "wbcfs", "", ((A,),), mgs), Version(2, 17, 57))
        told[mgs] = next(word for word in argv if word.startswith("OSD_WBC_MGS_NID=")).partition("=")[2]
        assert len("mgsnode=" + told[mgs]) < 64
    assert set(told.values()) == {"192.168.100.101@tcp1,192.168.100.102@tcp2"}


def test_an_mgt_in_memory_is_mounted_under_its_file_system_s_name() -> None:
    [mount] = mounts(said("mount-wbcfs-ok"))
    mgt = Target("ha", "lustre", "MGT", 0, "wbcfs", "", ((A,),), ())
    assert (mount.service, mount.point) == (mgt.svname, mgt.mount_point)
    assert started(devices(said("mount-wbcfs-ok"))) == {mgt.service}


def test_what_is_on_a_disk() -> None:
    before, _, after = said("tunefs-print").partition("exiting because there is no change")
    assert read_on_disk(before) == OnDisk(
        "lab-OST0000", "lab", 0, fresh=False, manages=False, servers=(), mgs=("10.77.0.10@tcp",), comment=""
    )
    mdt = read_on_disk(after)
    assert mdt is not None
    assert (mdt.service, mdt.manages, mdt.fresh) == ("lab-MDT0000", True, False)
    new = read_on_disk(said("mkfs-ost-ok-servicenode2"))
    assert new is not None
    assert (new.service, new.index, new.fresh) == ("lab-OST0001", 1, True)
    assert new.servers == ("10.77.0.12@tcp", "10.77.0.11@tcp")
    assert read_on_disk(said("mkfs-err-nodev")) is None


def test_what_is_in_a_pool() -> None:
    found = read_on_disk(said("tunefs-zfs"))
    assert found is not None
    assert (found.service, found.mgs) == ("lustre-OST0000", ("10.77.1.11@tcp",))
    assert found.comment == "vmlab z-zfs lustre-OST0000"


def test_a_comment_is_read_back() -> None:
    found = read_on_disk(f"Target:     lustre-OST000a\nIndex:      10\nComment: {OST.comment}\n")
    assert found is not None
    assert found.comment == OST.comment


@pytest.mark.parametrize("label", ["lab:OST0000", "lab=OST0000", "lab+OST0000", "lab-OST0000"])
def test_labels_with_a_dash(label: str) -> None:
    assert dashed(label) == "lab-OST0000"


def test_mgs_is_no_label_with_a_dash() -> None:
    assert dashed("MGS") == "MGS"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("lctl 2.17.57_62_gc881f8e\n", (2, 17, 57)),
        ("lctl 2.10.8\n", (2, 10, 8)),
        ("2.15\n", (2, 15, 0)),
        ("lctl: command not found", None),
        ("", None),
    ],
)
def test_versions(text: str, wanted: tuple[int, int, int] | None) -> None:
    assert Version.parse(text) == wanted
