"""The demo image's two ways to become a node: without cloud-init, and with it. The tests go in this order."""

import re
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from vmlab.lab.ground.bed import DEFAULT_URI
from vmlab.lab.ground.image_store import folder
from vmlab.store.images import read
from vmlab.virt.connection import connected

from . import identity
from .conftest import MINUTES, Vmlab, image_store, qemu_pids, remains
from .deb import package

BED = "t-first"

pytestmark = pytest.mark.usefixtures("boots")

TEXT = """
name: t-first
image: {image}
fabrics:
  tcp0: {{kind: ethernet, subnet: 10.94.0.0/24, mtu: 1400, attach: virtio}}
nodes:
  lean: {{role: client, memory: 512MiB, fabrics: [tcp0]}}
  cloud: {{role: client, memory: 512MiB, fabrics: [tcp0], first_boot: cloud-init}}
"""


NAMED = "t-named"
NAMED_TEXT = """
name: t-named
image: t-named
fabrics:
  tcp0: {kind: ethernet, subnet: 10.96.0.0/24, mtu: 1400, attach: virtio}
nodes:
  "n[1-2]": {role: client, memory: 512MiB, fabrics: [tcp0]}
"""


@pytest.fixture(scope="module")
def file(vmlab: Vmlab, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bed, of a demo image that can do without cloud-init."""
    del vmlab
    with connected(DEFAULT_URI) as host:
        store = folder(host)
    lean = [path.stem for path in sorted(store.glob("demo*.json")) if read(path).lean]
    assert lean, "the demo image was built before it could do without cloud-init: vmlab image build demo"
    written = tmp_path_factory.mktemp("bed") / "first.yaml"
    written.write_text(TEXT.format(image=lean[0]))
    return str(written)


@pytest.fixture(scope="module")
def bed(vmlab: Vmlab, file: str) -> Iterator[Vmlab]:
    planned = vmlab.json("plan", file)
    assert {node["name"]: node["first_boot"] for node in planned["nodes"]} == {"lean": "lean", "cloud": "cloud-init"}
    vmlab.run("up", file, "--accel", "tcg", deadline_s=6 * MINUTES)
    yield vmlab
    vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []


def told(bed: Vmlab, node: str) -> list[str]:
    return identity.told(bed, BED, node)


def test_both_are_who_they_should_be(bed: Vmlab) -> None:
    lean, cloud = told(bed, "lean"), told(bed, "cloud")
    identity.check(lean, "lean", "10.94.0.11/24", {"lean", "cloud"})
    identity.check(cloud, "cloud", "10.94.0.12/24", {"lean", "cloud"})
    assert identity.host_key(lean) != identity.host_key(cloud)
    shapes = [re.sub(r"\d+|lean|cloud|\S*:\S*|\S{40,}", "-", "\n".join(lines)) for lines in (lean, cloud)]
    assert shapes[0].splitlines()[:4] == shapes[1].splitlines()[:4]


def test_cloud_init_ran_in_one_of_them_only(bed: Vmlab) -> None:
    ask = "ls -d /run/cloud-init /run/vmlab/first-boot /etc/vmlab/kept /var/lib/cloud/instance/vmlab-kept 2>&-; :"
    there = {node: bed.run("ssh", BED, node, "--", ask).split() for node in ("lean", "cloud")}
    assert there == {
        "lean": ["/etc/vmlab/kept", "/run/vmlab/first-boot"],
        "cloud": ["/run/cloud-init", "/var/lib/cloud/instance/vmlab-kept"],
    }
    assert bed.run("ssh", BED, "lean", "--", "systemctl --failed --no-legend").strip() == ""


def test_who_only_reads_sees_no_secret(bed: Vmlab) -> None:
    """Neither in a domain's XML nor in QEMU's command line, and the seed's file is closed."""
    nodes = ("lean", "cloud")
    words = [bed.run("ssh", BED, node, "--", "sed -n 2p /etc/ssh/ssh_host_ed25519_key").strip() for node in nodes]
    assert all(len(word) > 60 for word in words)
    connection = libvirt.openReadOnly(DEFAULT_URI)
    xml = "".join(connection.lookupByName(f"{BED}.{node}").XMLDesc() for node in nodes)
    lines = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in qemu_pids(BED).values())
    with connected(DEFAULT_URI) as host:
        seeds = sorted((folder(host).parent / "beds").glob(f"{BED}.*.seed.iso"))
    connection.close()
    assert len(seeds) == len(words)
    assert 'first-boot="lean"' in xml
    assert not [word for word in words if word in xml or word in lines]
    assert [word for word in words for seed in seeds if word.encode() in seed.read_bytes()]
    assert {seed.stat().st_mode & 0o077 for seed in seeds} == {0}


def test_they_stay_so_when_they_reboot_and_when_they_lose_their_power(bed: Vmlab, file: str) -> None:
    before = {node: told(bed, node) for node in ("lean", "cloud")}
    machine = bed.run("ssh", BED, "lean", "--", "cat /etc/machine-id")
    boot = bed.run("ssh", BED, "lean", "--", "cat /proc/sys/kernel/random/boot_id; systemctl --no-block reboot")
    bed.run("power", "cycle", BED, "cloud", deadline_s=6 * MINUTES)
    bed.run("up", file, "--accel", "tcg", deadline_s=6 * MINUTES)
    assert bed.run("ssh", BED, "lean", "--", "cat /proc/sys/kernel/random/boot_id").strip() not in boot
    assert {node: told(bed, node) for node in ("lean", "cloud")} == before
    bed.run("power", "cycle", BED, "lean", deadline_s=6 * MINUTES)
    bed.run("up", file, "--accel", "tcg", deadline_s=6 * MINUTES)
    assert told(bed, "lean") == before["lean"]
    assert bed.run("ssh", BED, "lean", "--", "cat /etc/machine-id") == machine
    assert {node["stage"] for node in bed.json("status", BED)} == {"ready"}


@pytest.mark.nightly
def test_clones_find_the_cards_that_udev_has_named_in_their_template(vmlab: Vmlab, tmp_path: Path) -> None:
    """As in images of others, whose kernel is not told net.ifnames=0."""
    rule = {"etc/udev/rules.d/80-t.rules": 'SUBSYSTEM=="net", ACTION=="add", KERNEL=="eth*", NAME="en%n"\n'}
    file = tmp_path / "named.yaml"
    file.write_text(NAMED_TEXT)
    try:
        how = ("--from", "demo", "--packages", str(package(tmp_path, "t-rule", rule)), "--no-check", "--accel", "tcg")
        vmlab.run("image", "build", NAMED, *how)
        vmlab.run("up", str(file), "--accel", "tcg", "--warm", "only", deadline_s=10 * MINUTES)
        for number in (1, 2):
            lines = identity.told(vmlab, NAMED, f"n{number}")
            identity.check(lines, f"n{number}", f"10.96.0.{10 + number}/24", {"n1", "n2"})
        before, word, after = vmlab.run("ssh", NAMED, "n1", "--", "dmesg").partition("due to virtual machine fork")
        assert ": renamed from en0" in before
        assert word
        assert "renamed from" not in after
    finally:
        vmlab.run("down", NAMED, "--yes")
        for template in (line["template"] for line in vmlab.json("warm", "list")):
            if template["image"] == NAMED:
                vmlab.run("warm", "rm", template["key"], "--yes")
        if (image_store() / f"{NAMED}.json").exists():
            vmlab.run("image", "rm", NAMED, "--yes")
    assert remains(NAMED, vmlab) == []
