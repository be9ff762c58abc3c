"""Odd shapes of file systems in real guests, on the image of the store that VMLAB_LUSTRE_IMAGE names.

One bed of two nodes: everything on `all1`, with the MGS on MDT0000's disk; a second metadata server that is a client,
too; two file systems with one MGS, one of them with three MDTs. The tests go in this order.
"""

import os
from collections.abc import Iterator

import pytest

from .conftest import Vmlab, remains
from .timed import Timed

IMAGE = os.environ.get("VMLAB_LUSTRE_IMAGE", "")
pytestmark = [
    pytest.mark.lustre,
    pytest.mark.skipif(not IMAGE, reason="VMLAB_LUSTRE_IMAGE names no image that carries Lustre"),
]

BED = "t-shapes"
TOPOLOGY = f"""
name: {BED}
image: {IMAGE or "none"}
hosts: {{ local: {{ reserve: {{ cpus: 0, memory: 0B }} }} }}
fabrics:
  eth: {{ kind: ethernet, lnet: tcp0 }}
nodes:
  all1: {{ role: [mgs, mds, oss, client], cpus: 1, memory: 1GiB, fabrics: [eth] }}
  mds2: {{ role: [mds, client], cpus: 1, memory: 1GiB, fabrics: [eth] }}
filesystems:
  wide:
    mgt: {{ servers: all1 }}
    mdts:
      - {{ servers: all1, size: 512MiB }}
      - {{ servers: mds2, size: 512MiB, count: 2 }}
    osts: [{{ servers: all1, size: 512MiB }}]
    mount: /lustre/wide
    mkfs_options: "-m 0"
    mount_options: "localflock"
  small:
    mdts: [{{ servers: all1, size: 128MiB }}]
    osts: [{{ servers: all1, size: 64MiB }}]
    clients: mds2
    mount: /mnt/small
"""
TARGETS = {"wide-MDT0000", "wide-MDT0001", "wide-MDT0002", "wide-OST0000", "small-MDT0000", "small-OST0000"}


@pytest.fixture(scope="module")
def run(vmlab: Vmlab) -> Timed:
    return Timed(vmlab)


@pytest.fixture(scope="module")
def bed(run: Timed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("shapes") / "shapes.yaml"
    path.write_text(TOPOLOGY)
    run("up", str(path), "--timeout", "20m")
    yield str(path)
    run("down", BED, "--yes")
    assert remains(BED, run.vmlab) == []


def on(run: Timed, node: str, command: str, *, status: int = 0) -> str:
    return run("ssh", BED, node, "--", "sh", "-c", command, status=status)


def states(run: Timed, file: str) -> dict[str, str]:
    return {target["target"]: target["state"] for target in run.json("fs", "status", file)["targets"]}


def test_two_file_systems_of_one_mgs_are_mounted(run: Timed, bed: str) -> None:
    status = run.json("fs", "status", bed)
    assert {target["target"]: target["state"] for target in status["targets"]} == dict.fromkeys(TARGETS, "mounted")
    clients = {(c["node"], c["filesystem"], c["point"]): c for c in status["clients"]}
    assert set(clients) == {
        ("all1", "wide", "/lustre/wide"),
        ("mds2", "wide", "/lustre/wide"),
        ("mds2", "small", "/mnt/small"),
    }
    assert all((client["state"], client["broken"]) == ("mounted", []) for client in clients.values())
    # A server's own connections to the same targets are not the client's.
    assert {key[:2]: sum(client["connections"].values()) for key, client in clients.items()} == {
        ("all1", "wide"): 4,
        ("mds2", "wide"): 4,
        ("mds2", "small"): 2,
    }
    assert "localflock" in on(run, "mds2", "grep ' /lustre/wide ' /proc/mounts")


def test_directories_lie_on_all_mdts(run: Timed, bed: str) -> None:
    del bed
    on(run, "mds2", "cd /lustre/wide && lfs mkdir -i 1 one && echo data >one/file && lfs mkdir -c 3 three")
    assert on(run, "mds2", "lfs getdirstripe -m /lustre/wide/one").strip() == "1"
    on(
        run,
        "mds2",
        "cd /lustre/wide/three && for i in 1 2 3 4 5 6 7 8 9; do echo $i >$i; done; echo here >/mnt/small/file",
    )
    used = set(on(run, "all1", "for f in /lustre/wide/three/*; do lfs getstripe -m $f; done").split())
    assert len(used) > 1
    assert on(run, "all1", "cat /lustre/wide/one/file /lustre/wide/three/9") == "data\n9\n"


def test_up_takes_back_what_was_undone_by_hand(run: Timed, bed: str) -> None:
    on(run, "mds2", "umount /lustre/wide /mnt/small")
    on(run, "all1", "umount /lustre/wide && umount /mnt/wide-OST0000")
    assert states(run, bed)["wide-OST0000"] == "unmounted"
    run("up", bed, "--timeout", "20m")
    assert on(run, "all1", "cat /lustre/wide/one/file") == "data\n"
    assert on(run, "mds2", "cat /mnt/small/file") == "here\n"


def test_umount_and_mount_leave_the_data(run: Timed, bed: str) -> None:
    run("fs", "umount", bed)
    assert states(run, bed) == dict.fromkeys(TARGETS, "unmounted")
    on(run, "mds2", "lustre_rmmod && ! [ -d /sys/module/lnet ]")
    run("fs", "mount", bed)
    assert on(run, "mds2", "cat /lustre/wide/one/file /lustre/wide/three/9 /mnt/small/file") == "data\n9\nhere\n"


def test_another_target_and_foreign_data_are_left_alone(run: Timed, bed: str) -> None:
    run("fs", "umount", bed)
    disks = "cd /dev/disk/by-id; wipefs -qa virtio-wide-OST0000 virtio-small-OST0000; "
    other = "mkfs.lustre --ost --fsname=other --index=5 --mgsnode=10.9.9.9@tcp virtio-wide-OST0000 >/dev/null; "
    labels = "blkid -p -s LABEL -o value virtio-wide-OST0000 virtio-small-OST0000"
    on(run, "all1", disks + other + "mkfs.ext4 -qF -L data virtio-small-OST0000")
    for command in (("fs", "mount"), ("fs", "format"), ("up",)):
        run(*command, bed, status=6)
        complaints = run.vmlab.complaints
        assert "is formatted as other-OST0005, not as wide-OST0000" in complaints
        assert ("is no Lustre target" if command[-1] == "mount" else "holds ext4 (label data)") in complaints
        assert f"vmlab fs format {BED} --reformat" in complaints
        assert on(run, "all1", f"cd /dev/disk/by-id; {labels}").split() == ["other:OST0005", "data"]
        found = states(run, bed)
        assert (found["wide-OST0000"], found["small-OST0000"]) == ("unmounted", "unmounted")
    run("fs", "format", bed, "--reformat", "-y", status=4)
    assert "mounted, so not formatted" in run.vmlab.complaints


def test_reformat_loses_it_all(run: Timed, bed: str) -> None:
    run("fs", "umount", bed)
    run("fs", "format", bed, "--reformat", status=2)
    assert "small-OST0000 holds ext4" in run.vmlab.complaints
    run("fs", "format", bed, "--reformat", "-y")
    # What is left of a format that was broken off is no obstacle.
    on(run, "all1", "d=/dev/disk/by-id/virtio-small-OST0000; wipefs -qa $d; mke2fs -q -F -t ext4 -L small:OST0000 $d")
    up = run.vmlab.start("up", bed, "--timeout", "20m")
    assert up.stderr is not None
    assert any("mount clients" in line for line in up.stderr)
    up.kill()
    up.communicate()
    run("up", bed, "--timeout", "20m")
    assert states(run, bed) == dict.fromkeys(TARGETS, "mounted")
    assert on(run, "mds2", "ls /lustre/wide /mnt/small; grep -c ' lustre ' /proc/mounts").split()[-1] == "2"
    assert on(run, "mds2", "ls /lustre/wide; ls /mnt/small") == ""
