"""Every recorded error says what to do."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.lustre import trouble

CASES = Path(__file__).parents[2] / "cases" / "lustre"


def said(name: str) -> str:
    """Without the kernel's log, whose end is that of other commands."""
    lines = (CASES / f"{name}.txt").read_text().splitlines()[1:]
    return "\n".join(line for line in lines if not line.startswith(("[", "# rc=")))


WANTED = {
    "lctl-network-notloaded": "the kernel has no LNet: its modules are not loaded",
    "lnet-modprobe-err-badif": "LNet is loaded and has no network",
    "lnetctl-net-add-err": (
        "LNet cannot use the interface: it is unknown or down, or (o2ib) has no RDMA device behind it"
    ),
    "lnetctl-configure-no-memory": "the router has too little memory for LNet's buffers, which take 1 GiB by default",
    "lnetctl-import-yaml": "the guest has no interface nosuch that LNet could use",
    "lnetctl-ping-err": "10.77.0.99@tcp does not answer LNet pings (No route to host)",
    "o2ib-err-no-rdma-dev": (
        "LNet cannot use the interface: it is unknown or down, or (o2ib) has no RDMA device behind it"
    ),
    "lst-err-module-missing": "lst does not find the module lnet_selftest",
    "lst-err-unreachable-node": (
        "a node does not answer lst (errno 113): it is down, or lnet_selftest is not loaded there"
    ),
    "mkfs-err-already-formatted": "/dev/disk/by-id/virtio-ost0 is a Lustre target already",
    "mkfs-err-in-use": "/tmp/ost0.img is a Lustre target already",
    "mkfs-err-fsname-long": "Lustre takes file system names of at most 8 characters",
    "mkfs-err-mounted-blockdev": "/dev/loop1 is mounted: it is not formatted",
    "mkfs-err-no-index": "a target cannot be formatted without an index",
    "mkfs-err-no-mgsnode": "a target cannot be formatted without the NIDs of its MGS",
    "mkfs-err-no-size": "the target's device does not exist, and mkfs.lustre takes its path for a file",
    "mkfs-err-nodev": "the target's device does not exist in the guest",
    "mkfs-err-root-disk": "/dev/vda is in use by the system: it is not formatted",
    "mount-err-already": "it is mounted already",
    "mount-err-mgs-unreachable": "the MGS does not answer",
    "mount-err-mmp-protected": "/dev/vdb is in use: another server has it mounted (MMP)",
    "mount-err-ssk": (
        "/dev/mapper/mpatha asks for a key that the node does not have: the file system is secured by SSK or Kerberos"
    ),
    "mount-err-mmp-in-use": (
        "/dev/vdc is in use: another server has it mounted (MMP), or it is mounted here under another name"
    ),
    "mount-err-no-mount.lustre_tgt-helper": (
        "the guest has no /sbin/mount.lustre_tgt, so mount gives Lustre no target"
    ),
    "mount-err-no-quota_v2": (
        "the guest's kernel has no module quota_v2, without which /dev/vdc cannot count its quota"
    ),
    "mount-err-no-such-fs": (
        "the MGS has no file system of the name that 10.77.0.10@tcp:/nofs ends in, or its MDT was never mounted"
    ),
    "mount-err-not-lustre": "/dev/loop2 is no Lustre target, or of a backend that the image has no tools for",
    "mount-err-wbcfs-forgotten": (
        "lustre-OST0000 was in memory and is gone; the MGS still knows it, and takes no empty one in its place"
    ),
    "mount-err-wrong-net": (
        "10.77.0.10@tcp9:/lab was refused: no LNet network or route leads to the MGS, or a mount option is wrong"
    ),
    "zpool-import-err-in-use": ("the pool vmlab-lustre-OST0000 is imported on s2, and ZFS gives it to one server only"),
    "lctl-abort_recovery": "the target is not recovering: there is nothing to abort",
}
PASS = {"lnetctl-ping-err", "mount-err-mgs-unreachable"}


@pytest.mark.parametrize("name", WANTED)
def test_it_says_what_is_wrong_and_what_to_do(name: str) -> None:
    found = trouble.explain(said(name))
    assert found is not None
    assert found.message == WANTED[name]
    assert found.hint
    assert found.passes == (name in PASS)
    assert trouble.passes(said(name)) == (name in PASS)


@pytest.mark.parametrize("where", ["", " from 10.77.0.1@tcp", " from 10.77.0.1@tcp via 10.77.0.9@tcp"])
@pytest.mark.parametrize("why", ["Input/output error", "no answer within 10 s"])
def test_the_path_of_a_ping_is_told(where: str, why: str) -> None:
    found = trouble.explain(f"failed to ping 10.77.1.2@tcp1{where}: {why}\n")
    assert found is not None
    assert found.message == f"10.77.1.2@tcp1{where} does not answer LNet pings ({why})"
    assert found.passes


def test_every_recorded_error_is_known() -> None:
    errors = {path.stem for path in CASES.glob("*err*.txt")}
    assert errors - set(WANTED) == {"o2ib-ping-err"}
    assert "10.77.1.12@o2ib" in [t.message.split()[0] for t in trouble.troubles(said("o2ib-ping-err"))]


@pytest.mark.parametrize(
    "name", ["mount-mdt-ok", "mount-client-n13", "mkfs-ost-ok-servicenode", "umount-mdt", "lfs-df"]
)
def test_what_went_well_is_no_trouble(name: str) -> None:
    assert trouble.explain(said(name)) is None


# mount_lustre.c, and strerror's words.
@pytest.mark.parametrize(
    ("why", "passes"),
    [
        ("Cannot send after transport endpoint shutdown", True),
        ("Input/output error", True),
        ("Transport endpoint is not connected", True),
        ("Operation already in progress", True),
        ("Address already in use", False),
        ("No such device", False),
        ("No such device or address", False),
        ("Permission denied", False),
    ],
)
def test_mount_errors_that_pass(why: str, passes: bool) -> None:
    found = trouble.explain(f"mount.lustre_tgt: mount /dev/vdc at /mnt/lustre-OST0000 failed: {why}\n")
    assert found is not None
    assert found.passes == passes


@pytest.mark.parametrize(
    "refused",
    [
        "/dev/disk/by-id/virtio-a is formatted as lab-OST0001, not as lab-OST0000 (vmlab ha): it is left alone",
        "/dev/disk/by-id/virtio-a is formatted as lab-OST0001, not as lab-OST0000 (vmlab ha): it is not mounted",
        "/dev/disk/by-id/virtio-a is formatted for the MGS at 10.77.1.8@tcp, not at 10.77.1.9@tcp: it is not mounted",
        "/dev/disk/by-id/virtio-a is formatted without the MGS that should lie on it: it is left alone",
        "/dev/disk/by-id/virtio-a is no Lustre target: it is not mounted",
        "/dev/disk/by-id/virtio-a holds ext4 (label data): it is left alone",
    ],
)
def test_a_refusal_of_our_own_is_said_as_it_is(refused: str) -> None:
    found = trouble.explain(refused)
    assert found is not None
    assert found.message == refused


def test_a_disk_that_is_too_small_is_said_with_both_sizes() -> None:
    said = "mkfs.lustre: size of filesystem must be larger than 32MB, but is set to 16384KB"
    found = trouble.explain(f"{said}\n\nmkfs.lustre FATAL: mkfs failed 22")
    assert found is not None
    assert (
        found.message == "the disk is too small for a target: it has 16384 KiB, and mkfs.lustre wants more than 32 MiB"
    )
    assert "size" in found.hint


def test_the_kernel_says_more_of_a_net_that_is_not_there() -> None:
    text = (CASES / "mount-err-wrong-net.txt").read_text()
    assert "LNet has neither a network nor a route towards the MGS" in [t.message for t in trouble.troubles(text)]


@given(st.text() | st.from_regex(r"mount \S+ at \S+ failed: .*"))
def test_any_text_is_read(text: str) -> None:
    for found in trouble.troubles(text):
        assert found.message
