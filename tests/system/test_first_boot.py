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

from .conftest import MINUTES, Vmlab, qemu_pids, remains

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
# What a node is: its name, addresses, MTU, routes, who vouches for it, whom it knows, and who may log in.
IDENTITY = """
hostname
ip -o -4 address show scope global | awk '{print $2, $4}' | sort
cat /sys/class/net/tcp0/mtu /sys/class/net/tcp0/address
ip -4 route | sort
grep -v '^#' /etc/hosts | sort -u
sha256sum </root/.ssh/authorized_keys
sed -n 's/^nameserver //p' /etc/resolv.conf
stat -c '%a %U %n' /etc/ssh/ssh_host_ed25519_key /root/.ssh/authorized_keys /root/.ssh/id_ed25519
cat /etc/ssh/ssh_host_ed25519_key.pub
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
    return bed.run("ssh", BED, node, "--", IDENTITY).splitlines()


def test_both_are_who_they_should_be(bed: Vmlab) -> None:
    for number, node in enumerate(("lean", "cloud"), 11):
        lines = told(bed, node)
        assert lines[0] == node
        assert f"tcp0 10.94.0.{number}/24" in lines
        assert "1400" in lines
        assert any(re.match(r"default via 10\.\S+\.1 dev mgmt", line) for line in lines)
        assert {line.split()[-1] for line in lines if re.match(r"10\.\S+ (lean|cloud)$", line)} == {"lean", "cloud"}
        assert "600 root /etc/ssh/ssh_host_ed25519_key" in lines
        assert "600 root /root/.ssh/authorized_keys" in lines
    lean, cloud = told(bed, "lean"), told(bed, "cloud")
    keys = [[line for line in lines if line.startswith("ssh-ed25519 ")] for lines in (lean, cloud)]
    assert len(keys[0]) == len(keys[1]) == 1
    assert keys[0] != keys[1]
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
