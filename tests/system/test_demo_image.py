"""The demo image as it comes out of its build; VMLAB_DEMO_IMAGE_DIR names the folder with demo.json."""

import json
import os
import socket
import subprocess
import time
from io import BytesIO
from pathlib import Path

import pycdlib
import pytest

from vmlab.store.images import read

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def folder() -> Path:
    if (given := os.environ.get("VMLAB_DEMO_IMAGE_DIR")) is None:
        pytest.skip("VMLAB_DEMO_IMAGE_DIR is not set")
    return Path(given)


def test_manifest_says_what_it_carries(folder):
    manifest = read(folder / "demo.json")
    assert manifest.user == "root"
    assert manifest.lustre is None
    assert {"perftest", "rdma-core", "fio", "iperf3", "cloud-init", "openssh-server"} <= manifest.carries.keys()
    assert manifest.kernel in (folder / manifest.files.kernel).read_bytes().decode("latin-1")
    assert "console=ttyS0" in manifest.cmdline


def test_disk_is_small_and_stands_alone(folder):
    disk = folder / read(folder / "demo.json").files.disk
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", disk]))
    assert info["format"] == "qcow2"
    assert "backing-filename" not in info
    assert disk.stat().st_size < 400 << 20


def test_disk_has_no_identity_yet(folder, tmp_path):
    raw = tmp_path / "disk.raw"
    subprocess.check_call(["qemu-img", "convert", "-O", "raw", folder / "demo.qcow2", raw])
    partition = f"{raw}?offset=1048576"

    def debugfs(command: str) -> str:
        argv = ["/usr/sbin/debugfs", "-R", command, partition]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    assert "sshd_config" in debugfs("ls /etc/ssh")
    assert "ssh_host_" not in debugfs("ls /etc/ssh")
    assert debugfs("cat /etc/machine-id") == ""


def _write_seed(path: Path) -> None:
    network = (
        'version: 2\nethernets:\n  mgmt:\n    match: {macaddress: "52:54:00:00:00:01"}\n    set-name: mgmt\n'
        "    addresses: [10.0.2.15/24]\n"
    )
    iso = pycdlib.PyCdlib()
    iso.new(joliet=3, rock_ridge="1.09", vol_ident="cidata")
    files = {"user-data": "#cloud-config\n", "meta-data": "instance-id: own-disk\n", "network-config": network}
    for number, (name, text) in enumerate(files.items()):
        content = text.encode()
        iso.add_fp(BytesIO(content), len(content), f"/F{number}.;1", rr_name=name, joliet_path=f"/{name}")
    iso.write(str(path))
    iso.close()


def test_boots_from_its_own_disk(folder, tmp_path):
    overlay, console = tmp_path / "overlay.qcow2", tmp_path / "console.log"
    disk = (folder / "demo.qcow2").resolve()
    subprocess.check_call(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "qcow2", overlay])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seed = tmp_path / "seed.iso"
    _write_seed(seed)
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
