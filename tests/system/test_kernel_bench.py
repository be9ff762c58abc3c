"""What people have who debug kernels: a kernel of their own, folders of the host, gdb, SCSI disks. In real guests."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from vmlab.lab.beds import prepare
from vmlab.lab.beds.up import up
from vmlab.lab.ground.bed import DEFAULT_URI
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.topology import loads
from vmlab.virt.connection import connected

from .conftest import Vmlab, qemu_pids, remains

BED = "t-bench"
WWN = "5000c500a1b2c3d4"
FILE = f"""
name: {BED}
hosts: {{local: {{reserve: {{cpus: 0, memory: 0B}}}}}}
nodes:
  n1:
    role: build
    memory: 640MiB
    kernel: {{image: k/bzImage, initrd: k/initrd, args: vmlab.test=1}}
    gdb: true
    share: [{{host: ./src, at: /src, read_only: true}}, {{host: out, at: /src/out}}]
    disks:
      - {{name: fast, size: 64MiB, kind: scsi, serial: s1, wwn: {WWN}, sector: 4KiB, multipath: 2}}
      - {{name: plain, size: 64MiB, kind: scsi}}
      - {{name: four, size: 64MiB, sector: 4KiB}}
"""
BY_9P = f"""
name: {BED}-9p
hosts: {{local: {{reserve: {{cpus: 0, memory: 0B}}}}}}
nodes: {{n1: {{role: build, memory: 512MiB, share: [{{host: src, at: /src, read_only: true}}]}}}}
"""
# PERSISTENT RESERVE IN, READ KEYS (SPC-4), by Linux's SG_IO: prints the sense key, 0 for an answer.
READ_KEYS = """
import ctypes, fcntl, os, struct, sys
answer, sense = ctypes.create_string_buffer(64), ctypes.create_string_buffer(32)
command = ctypes.create_string_buffer(bytes([0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0]), 10)
address = ctypes.addressof
# struct sg_io_hdr of <scsi/sg.h>
header = bytearray(struct.pack(
    "iiBBHIPPPIIiPBBBBHHiII0P", ord("S"), -3, 10, 32, 0, 64, address(answer), address(command), address(sense), 10000,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
))
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x2285, header)
print(sense.raw[2] & 15 if sense.raw[0] & 127 in (0x70, 0x71) else sense.raw[1] & 15)
"""
ILLEGAL_REQUEST = 5


@pytest.fixture(scope="module")
def folder(vmlab: Vmlab) -> Iterator[Path]:
    """The image's own kernel, as a user would have built one, and a source tree that all may read."""
    del vmlab  # which has the image made
    folder = Path(tempfile.mkdtemp(prefix="t-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    connection = libvirt.open(DEFAULT_URI)
    images = Path(connection.storagePoolLookupByName("vmlab-images").XMLDesc().split("<path>")[1].split("</path>")[0])
    connection.close()
    files = json.loads((images / "demo.json").read_text())["files"]
    for name in ("k", "src/out", "out"):
        (folder / name).mkdir(parents=True)
    shutil.copy(images / files["kernel"], folder / "k/bzImage")
    shutil.copy(images / files["initrd"], folder / "k/initrd")
    (folder / "k/bzImage").chmod(0o640)
    os.chown(folder / "k/bzImage", 1234, 1234)
    (folder / "src/main.c").write_text("int main;\n")
    (folder / "bed.yaml").write_text(FILE)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def file(vmlab: Vmlab, folder: Path) -> Iterator[str]:
    path = str(folder / "bed.yaml")
    vmlab.run("up", path)
    yield path
    vmlab.run("down", BED, "--yes")
    assert left(BED, vmlab) == []


def left(bed: str, vmlab: Vmlab) -> list[str]:
    """What is left of a bed, sockets and the daemons of its shares included."""
    sockets = Path("/var/lib/libvirt/qemu/channel/target").glob(f"*{bed}.*")
    daemons = subprocess.run(("pgrep", "-fa", "virtiofsd"), capture_output=True, text=True, check=False).stdout
    return [*remains(bed, vmlab), *map(str, sockets), *(line for line in daemons.splitlines() if f"{bed}." in line)]


def guest(vmlab: Vmlab, command: str, status: int = 0) -> str:
    return vmlab.run("ssh", BED, "n1", "--", "sh", "-c", command, status=status).strip()


def asked(stub: socket.socket, question: bytes) -> bytes:
    """What gdb's stub answers, by its remote protocol."""
    stub.sendall(b"+$" + question + b"#%02x" % (sum(question) % 256))
    heard = b""
    while True:
        heard += stub.recv(4096)
        for packet in re.findall(rb"\$([^#]*)#..", heard):
            if not packet.startswith(b"T"):  # whoever joins is told that the guest stands still
                return bytes(packet)


def test_it_boots_the_users_kernel_and_leaves_the_file_alone(vmlab: Vmlab, file: str, folder: Path) -> None:
    words = guest(vmlab, "cat /proc/cmdline").split()
    assert words.count("vmlab.test=1") == words.count("nokaslr") == 1
    found = (folder / "k/bzImage").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1234, 1234, 0o640)
    plan = vmlab.json("plan", file)
    assert (plan["changes"], plan["actions"]) == (False, [])


def test_a_kernel_that_is_built_anew_is_a_change(vmlab: Vmlab, file: str, folder: Path) -> None:
    image = folder / "k/bzImage"
    size = image.stat().st_size
    with image.open("ab") as content:
        content.write(b"\0")
    pending = vmlab.json("plan", file)["pending"]
    assert {action["reason"] for action in pending} == {"changed: kernel"}
    os.truncate(image, size)
    assert not vmlab.json("plan", file)["changes"]


def test_folders_of_the_host_are_shared(vmlab: Vmlab, file: str, folder: Path) -> None:
    del file
    assert guest(vmlab, "cat /src/main.c") == "int main;"
    guest(vmlab, "echo built >/src/out/result")
    assert (folder / "out/result").read_text() == "built\n"
    vmlab.run("ssh", BED, "n1", "--", "touch", "/src/new", status=1)
    assert "Read-only file system" in vmlab.complaints
    assert not (folder / "src/new").exists()


def test_9p_where_the_host_has_no_virtiofs(vmlab: Vmlab, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is told that it has none; QEMU enforces that the folder is only read."""
    monkeypatch.setenv("VMLAB_STATE_DIR", str(vmlab.state))
    monkeypatch.setattr(prepare, "share_driver", lambda *_: "9p")
    bed = loads(BY_9P, str(folder / "9p.yaml"))
    try:
        with connected(DEFAULT_URI) as host:
            up(only(host), bed, accel="auto", restart=False, timeout_s=None, jobs=1, wait=True, progress=Silent())
        assert " 9p ro," in vmlab.run("ssh", bed.name, "n1", "--", "grep", " /src ", "/proc/mounts")
        assert vmlab.run("ssh", bed.name, "n1", "--", "cat", "/src/main.c") == "int main;\n"
        remount = "mount -o remount,rw /src; touch /src/new"
        vmlab.run("ssh", bed.name, "n1", "--", "sh", "-c", remount, status=1)
        assert not (folder / "src/new").exists()
    finally:
        vmlab.run("down", bed.name, "--yes")
    assert left(bed.name, vmlab) == []


def test_gdb_is_joined_by_its_owner_only(vmlab: Vmlab, file: str) -> None:
    del file
    words = shlex.split(vmlab.run("gdb", BED, "n1", "--print"))
    assert words[0] == "gdb"
    path = words[-1].removeprefix("target remote ")
    with socket.socket(socket.AF_UNIX) as stub:
        stub.settimeout(60)
        stub.connect(path)
        assert re.fullmatch(rb"[0-9a-fx]{256,}", asked(stub, b"g"))  # the registers of the first vCPU
        assert asked(stub, b"D") == b"OK"  # and it goes on
    assert guest(vmlab, "echo goes on") == "goes on"
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"
    stranger = subprocess.run(
        ("/usr/bin/python3", "-c", connect), user=65534, group=65534, extra_groups=[], capture_output=True, check=False
    )
    assert b"PermissionError" in stranger.stderr
    if shutil.which("gdb"):
        told = subprocess.run(
            [*words, "-batch", "-ex", "info registers rip"], capture_output=True, text=True, check=False
        )
        assert "rip " in told.stdout
        assert guest(vmlab, "echo goes on") == "goes on"


def test_scsi_disks_have_what_was_asked_for(vmlab: Vmlab, file: str) -> None:
    del file
    by_id = "/dev/disk/by-id"
    links = guest(vmlab, f"ls {by_id}").split()
    assert {"virtio-four", f"wwn-0x{WWN}", "scsi-0QEMU_QEMU_HARDDISK_plain"} <= set(links)
    sizes = f"for d in wwn-0x{WWN} virtio-four scsi-0QEMU_QEMU_HARDDISK_plain; do blockdev --getss {by_id}/$d; done"
    assert guest(vmlab, sizes).split() == ["4096", "4096", "512"]


def test_two_paths_lead_to_one_disk(vmlab: Vmlab, file: str) -> None:
    del file
    one, other = guest(vmlab, f"lsblk -dnro NAME,WWN | grep {WWN} | cut -d' ' -f1").split()
    hosts = guest(vmlab, f"for d in {one} {other}; do basename $(readlink -f /sys/block/$d/device); done").split()
    assert len({address.partition(":")[0] for address in hosts}) == 2  # controllers
    guest(vmlab, f"echo both | dd of=/dev/{one} bs=4096 conv=sync oflag=direct status=none")
    assert guest(vmlab, f"dd if=/dev/{other} bs=4096 count=1 iflag=direct status=none | head -c 4") == "both"


def test_a_disk_that_is_a_file_keeps_no_reservations(vmlab: Vmlab, file: str) -> None:
    """Why the topology refuses them there."""
    del file
    disk = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_plain"
    assert vmlab.run("ssh", BED, "n1", "--", "python3", "-c", READ_KEYS, disk).strip() == str(ILLEGAL_REQUEST)


def test_down_after_a_kill_leaves_nothing(vmlab: Vmlab, folder: Path) -> None:
    bed = f"{BED}-killed"
    path = folder / "killed.yaml"
    path.write_text(FILE.replace(f"name: {BED}\n", f"name: {bed}\n"))
    running = vmlab.start("up", str(path))
    while not qemu_pids(bed) and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert left(bed, vmlab)
    vmlab.run("down", bed, "--yes")
    assert left(bed, vmlab) == []
