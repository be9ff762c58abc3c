"""The demo image as it lies in the store."""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from vmlab.lab.ground.bed import DEFAULT_URI
from vmlab.lab.ground.image_store import folder as image_folder
from vmlab.runtime.iso import iso
from vmlab.store.images import read
from vmlab.virt.connection import connected

from .conftest import Vmlab


@pytest.fixture(scope="module")
def folder(vmlab: Vmlab) -> Path:
    """The image store, with the demo image in it."""
    del vmlab
    with connected(DEFAULT_URI) as host:
        return image_folder(host)


@pytest.fixture(scope="module")
def disk(folder: Path) -> Path:
    return folder / read(folder / "demo.json").files.disk


def test_manifest_says_what_it_carries(folder: Path) -> None:
    manifest = read(folder / "demo.json")
    assert manifest.user == "root"
    assert manifest.lustre is None
    assert {"perftest", "rdma-core", "fio", "iperf3", "cloud-init", "openssh-server"} <= manifest.carries.keys()
    assert manifest.lean
    assert manifest.kernel in (folder / manifest.files.kernel).read_bytes().decode("latin-1")
    assert "console=ttyS0" in manifest.cmdline


def test_disk_is_small_and_stands_alone(disk: Path) -> None:
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", disk]))
    assert info["format"] == "qcow2"
    assert "backing-filename" not in info
    assert disk.stat().st_size < 400 << 20


def test_disk_has_no_identity_yet(disk: Path, tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    subprocess.check_call(["qemu-img", "convert", "-O", "raw", disk, raw])
    partition = f"{raw}?offset=1048576"

    def debugfs(command: str) -> str:
        argv = ["/usr/sbin/debugfs", "-R", command, partition]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    assert "sshd_config" in debugfs("ls /etc/ssh")
    assert "ssh_host_" not in debugfs("ls /etc/ssh")
    assert debugfs("cat /etc/machine-id") == ""


SEED = {
    "user-data": "#cloud-config\n",
    "meta-data": "instance-id: own-disk\n",
    "network-config": 'version: 2\nethernets:\n  mgmt:\n    match: {macaddress: "52:54:00:00:00:01"}\n'
    "    set-name: mgmt\n    addresses: [10.0.2.15/24]\n",
}


def test_boots_from_its_own_disk(disk: Path, tmp_path: Path) -> None:
    overlay, console = tmp_path / "overlay.qcow2", tmp_path / "console.log"
    subprocess.check_call(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "qcow2", overlay])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seed = tmp_path / "seed.iso"
    seed.write_bytes(iso(SEED))
    argv = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max,la57=off", "-m", "1024"]
    argv += ["-nodefaults", "-display", "none", "-serial", f"file:{console}"]
    argv += ["-drive", f"file={overlay},if=virtio,format=qcow2"]
    argv += ["-drive", f"file={seed},if=virtio,format=raw,readonly=on"]
    argv += ["-nic", f"user,model=virtio-net-pci,mac=52:54:00:00:00:01,hostfwd=tcp:127.0.0.1:{port}-:22"]
    guest = subprocess.Popen(argv)
    try:
        deadline = time.monotonic() + 240
        banner = b""
        while not banner.startswith(b"SSH-2.0-"):
            assert time.monotonic() < deadline, console.read_text(errors="replace")[-2000:]
            assert guest.poll() is None
            # QEMU itself accepts at once and holds the line until the guest answers: one patient connection at a time.
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
                    banner = line.recv(64)
            except OSError:
                time.sleep(0.5)
    finally:
        guest.kill()
        guest.wait()
