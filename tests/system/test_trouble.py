"""What labs do to a tool: SIGKILL at any moment, a restarted libvirtd, a full disk, images that are none."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from vmlab.guest.boot import WAITS
from vmlab.lab.ground.bed import DEFAULT_URI
from vmlab.lab.ground.image_store import folder as image_folder
from vmlab.virt.connection import connected
from vmlab.virt.pool import MARK

from .conftest import ROOT, SMALL, WARM, Vmlab, qemu_pids, remains

BED = "t-one"
FILE = str(ROOT / "topologies/minimal.yaml")

pytestmark = pytest.mark.usefixtures("boots")


@pytest.fixture(autouse=True)
def clean(vmlab: Vmlab) -> Iterator[None]:
    yield
    vmlab.run("down", BED, "--yes")


def killed_at(vmlab: Vmlab, stage: str) -> None:
    """Start `up`, wait until it says that a node has come to `stage`, and kill it."""
    process = vmlab.start("up", FILE, "--name", BED)
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.rstrip().endswith(f": {stage}"):
            break
    else:
        pytest.fail(f"`up` never came to {stage}:\n{''.join(seen)}")
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(
    "stage", ["create-volume", "write-seed", "define-domain", "start-domain", WAITS["kernel"], WAITS["ssh"]]
)
def test_down_leaves_nothing_after_a_kill(vmlab: Vmlab, stage: str) -> None:
    killed_at(vmlab, stage)
    vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []


@pytest.mark.parametrize("delay_s", [0.15, 0.3, 0.45, 0.6])
def test_down_leaves_nothing_after_a_kill_in_between(vmlab: Vmlab, delay_s: float) -> None:
    """Not at a stage but at a time: in the middle of whatever is going on then."""
    process = vmlab.start("up", FILE, "--name", BED)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []


def test_up_finishes_what_killed_ones_began(vmlab: Vmlab) -> None:
    for stage in ("write-seed", "define-domain", "start-domain", WAITS["ssh"], "roles"):
        killed_at(vmlab, stage)
    vmlab.run("up", FILE, "--name", BED)
    assert {node["stage"] for node in vmlab.json("status", BED)} == {"ready"}
    # A killed `down` is finished by the next, too.
    process = vmlab.start("down", BED, "--yes")
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []


def test_two_vmlabs_at_one_bed(vmlab: Vmlab) -> None:
    first = vmlab.start("up", FILE, "--name", BED, *SMALL, *WARM)
    assert first.stderr is not None
    next(line for line in first.stderr if line.rstrip().endswith(": define-domain"))
    first.send_signal(signal.SIGSTOP)  # it holds the bed for as long as it takes
    vmlab.run("up", FILE, "--name", BED, status=9)
    assert f"pid {first.pid}" in vmlab.complaints
    vmlab.run("down", BED, "--yes", status=9)
    first.send_signal(signal.SIGCONT)
    _, told = first.communicate()
    assert first.returncode == 0, told


def restart_libvirtd() -> None:
    if Path("/run/systemd/system").is_dir():
        subprocess.run(("systemctl", "restart", "libvirtd"), check=True)
        return
    pid = int(Path("/run/libvirtd.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.1)
    reaped = ("setsid", "-f", sys.executable, str(ROOT / "scripts/reaper.py"), "libvirtd", "-d")
    subprocess.run(reaped, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    while subprocess.run(("virsh", "-q", "-c", DEFAULT_URI, "version"), capture_output=True, check=False).returncode:
        time.sleep(0.1)


@pytest.mark.alone
def test_libvirtd_restarted_in_the_middle(vmlab: Vmlab) -> None:
    first = vmlab.start("up", FILE, "--name", BED)
    assert first.stderr is not None
    next(line for line in first.stderr if line.rstrip().endswith(f": {WAITS['kernel']}"))
    restart_libvirtd()
    _, told = first.communicate()
    assert first.returncode == 0, told


def test_a_guest_that_dies_is_noticed_at_once(vmlab: Vmlab) -> None:
    first = vmlab.start("up", FILE, "--name", BED)
    assert first.stderr is not None
    next(line for line in first.stderr if line.rstrip().endswith(f": {WAITS['kernel']}"))
    os.kill(qemu_pids(BED)[f"{BED}.node1"], signal.SIGKILL)
    died = time.monotonic()
    _, told = first.communicate()
    assert first.returncode == 6, told
    assert time.monotonic() - died < 15
    assert "node1" in told


def test_power_that_fails_right_after_up(vmlab: Vmlab) -> None:
    """What is written once, at the first boot, is on the disk by then."""
    vmlab.run("up", FILE, "--name", BED)
    vmlab.run("power", "off", BED, "*")
    vmlab.run("up", FILE, "--name", BED)
    assert {line["stage"] for line in vmlab.json("status", BED)} == {"ready"}


def test_a_guest_that_never_boots(vmlab: Vmlab, tmp_path: Path) -> None:
    disk = tmp_path / "empty.qcow2"
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(disk), "64M"), check=True)
    vmlab.run("image", "import", "t-empty", str(disk))
    topology = tmp_path / "empty.yaml"
    topology.write_text(f"name: {BED}\nimage: t-empty\nnodes: {{node1: {{role: client, memory: 256MiB}}}}\n")
    vmlab.run("up", str(topology), "--timeout", "15s", status=6)
    assert "node1" in vmlab.complaints
    assert "vmlab console" in vmlab.complaints
    vmlab.run("image", "rm", "t-empty", "-y", status=4)
    assert f"{BED}.node1" in vmlab.complaints
    vmlab.run("down", BED, "--yes")
    vmlab.run("image", "rm", "t-empty", "-y")


@pytest.mark.parametrize("found", [False, True], ids=["that it started", "that it finds so"])
def test_a_kernel_that_panics(vmlab: Vmlab, tmp_path: Path, *, found: bool) -> None:
    """Emulated guests get a second try, since emulation slips now and then; what panics again is given up."""
    demo = next(image for image in vmlab.json("image", "list") if image["name"] == "demo")
    with connected(DEFAULT_URI) as host:
        shutil.copy(image_folder(host) / demo["files"]["kernel"], tmp_path / "t-panic.vmlinuz")
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(tmp_path / "t-panic.qcow2"), "64M"), check=True)
    files = {"disk": "t-panic.qcow2", "kernel": "t-panic.vmlinuz"}
    manifest = {"schema": 1, "name": "t-panic", "cmdline": "console=ttyS0 root=/dev/vda", "files": files}
    (tmp_path / "t-panic.json").write_text(json.dumps(manifest))
    vmlab.run("image", "import", "t-panic", str(tmp_path / "t-panic.qcow2"))
    topology = tmp_path / "panic.yaml"
    topology.write_text(f"name: {BED}\nimage: t-panic\nnodes: {{node1: {{role: client, memory: 512MiB}}}}\n")
    if found:
        vmlab.run("up", str(topology), "--no-wait")
        while vmlab.json("status", BED)[0]["stage"] != "panic":
            time.sleep(1)
    vmlab.run("up", str(topology), status=6)
    assert "Kernel panic - not syncing" in vmlab.complaints
    emulated = "emulated (TCG)" in vmlab.complaints
    assert vmlab.complaints.count("started once more") == (1 if emulated else 0)
    vmlab.run("down", BED, "--yes")
    vmlab.run("image", "rm", "t-panic", "-y")


def test_an_image_that_is_none(vmlab: Vmlab, tmp_path: Path) -> None:
    text = tmp_path / "text.qcow2"
    text.write_text("this is no disk")
    vmlab.run("image", "import", "t-text", str(text), status=4)
    assert "is no qcow2 image" in vmlab.complaints
    base, top = tmp_path / "base.qcow2", tmp_path / "top.qcow2"
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(base), "64M"), check=True)
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(top)), check=True)
    vmlab.run("image", "import", "t-top", str(top), status=4)
    assert f"{top} is not whole: it needs a backing file, {base}" in vmlab.complaints


def test_a_template_that_is_no_domain(vmlab: Vmlab, tmp_path: Path) -> None:
    template = tmp_path / "network.xml"
    template.write_text("<network><name>x</name></network>")
    topology = tmp_path / "bed.yaml"
    topology.write_text(f"name: {BED}\nnodes: {{node1: {{role: client, template: ./network.xml}}}}\n")
    vmlab.run("up", str(topology), status=3)
    assert "no libvirt domain" in vmlab.complaints
    assert remains(BED, vmlab) == []


def test_a_name_that_is_taken(vmlab: Vmlab, connection: "libvirt.virConnect") -> None:
    stranger = connection.defineXML(
        f"<domain type='qemu'><name>{BED}.node1</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    )
    try:
        vmlab.run("up", FILE, "--name", BED, status=4)
        assert f"{BED}.node1" in vmlab.complaints
        vmlab.run("down", BED, "--yes")
        assert stranger.isPersistent()
    finally:
        stranger.undefine()


@pytest.fixture
def full_pool(connection: "libvirt.virConnect", tmp_path: Path) -> Iterator[Path]:
    """The beds' pool on a file system with no room."""
    pool = connection.storagePoolLookupByName("vmlab")
    usual = pool.XMLDesc()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)), check=True)
    try:
        (tmp_path / "fill").write_bytes(bytes(200 * 1024))
        (tmp_path / MARK).touch()
        pool.destroy()
        pool.undefine()
        small = connection.storagePoolDefineXML(
            f"<pool type='dir'><name>vmlab</name><target><path>{tmp_path}</path></target></pool>"
        )
        small.create()
        yield tmp_path
        small.destroy()
        small.undefine()
        restored = connection.storagePoolDefineXML(usual)
        restored.setAutostart(1)
        restored.create()
    finally:
        subprocess.run(("umount", "-l", str(tmp_path)), check=True)


@pytest.mark.alone
def test_a_full_disk(vmlab: Vmlab, full_pool: Path) -> None:
    vmlab.run("up", FILE, "--name", BED, status=4)
    assert "No space left" in vmlab.complaints
    vmlab.run("down", BED, "--yes")
    assert {path.name for path in full_pool.iterdir()} == {"fill", MARK}
