"""Distributions' images as guests: those of the store, or paths, that VMLAB_TEST_IMAGES names, separated by commas.

Each goes through up, two fabrics, names, reboot, packages from its own repositories, down. What was tried of which
image is told at the end of the session.
"""

import json
import os
import time
from pathlib import Path

import pytest

from vmlab.virt.outside import no_way_out

from .conftest import MINUTES, TRIED, Vmlab, remains

IMAGES = [name for name in os.environ.get("VMLAB_TEST_IMAGES", "").split(",") if name]
BED = "t-image"
NODES = ("node1", "node2")

pytestmark = [
    pytest.mark.images,
    pytest.mark.usefixtures("boots"),
    pytest.mark.skipif(not IMAGES, reason="VMLAB_TEST_IMAGES names no image"),
]

FILE = """
name: {bed}
fabrics:
  lan: {{kind: ethernet}}
  san: {{kind: ethernet, mtu: 2000}}
nodes:
  "node[1-2]": {{role: client, memory: 1GiB, image: "{image}", fabrics: [lan, san], pin: shared, numa: none}}
"""
# Something small that no image has; what it says where it is not offered is the test's failure.
INSTALL = """
set -e
if command -v tree; then echo "tree is there already: installing it proves nothing" >&2; exit 1; fi
if command -v apt-get; then apt-get -q update && apt-get -qy --no-install-recommends install tree
elif command -v dnf; then dnf -qy install tree
else zypper -n install tree
fi
tree --version
"""
# The image's user may be another than root.
AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec "$@"; else exec sudo -n "$@"; fi'
REBOOT = "nohup sh -c 'sleep 1; reboot' >/dev/null 2>&1 &"
BOOT = "/proc/sys/kernel/random/boot_id"
# bash's own way to connect: a cloud image has sshd, and may have no ping.
REACH = 'timeout 20 bash -c "</dev/tcp/$1/22"'


class Bed:
    """The bed of one image. `done` is what it went through."""

    def __init__(self, vmlab: Vmlab, folder: Path, image: str) -> None:
        self.vmlab = vmlab
        self.file = folder / "bed.yaml"
        self.file.write_text(FILE.format(bed=BED, image=image if "/" not in image else str(Path(image).absolute())))
        self.done: list[str] = []

    def up(self) -> None:
        self.vmlab.run("up", str(self.file), deadline_s=60 * MINUTES)

    def run(self, node: str, *argv: str) -> str:
        """As `exec`'s timeout says: packages come slowly to a guest that is emulated."""
        words = ("exec", BED, "-n", node, "-o", "json", "--timeout", "45m", "--", *argv)
        return str(json.loads(self.vmlab.run(*words, deadline_s=60 * MINUTES))[0]["stdout"])

    def run_as_root(self, node: str, script: str) -> None:
        self.run(node, "sh", "-c", AS_ROOT, "as-root", "sh", "-c", script)

    def check_fabrics(self) -> None:
        """Each node has all its addresses, and reaches the other by name and over each fabric."""
        nodes = {node["name"]: node["addresses"] for node in self.vmlab.json("status", BED)}
        for node, other in (NODES, NODES[::-1]):
            listed = json.loads(self.run(node, "ip", "-json", "-4", "address"))
            has = {link["ifname"]: [a["local"] for a in link["addr_info"]] for link in listed}
            for place in nodes[node]:
                assert has[place["interface"]] == [place["ip"].partition("/")[0]]
            for place in nodes[other]:
                self.run(node, "sh", "-c", REACH, "reach", place["ip"].partition("/")[0])
            assert self.run(node, "getent", "hosts", other).split()[0] == nodes[other][0]["ip"].partition("/")[0]
        assert self.run("node1", "cat", "/sys/class/net/san/mtu").strip() == "2000"

    def reboot(self, node: str) -> None:
        before = self.run(node, "cat", BOOT)
        self.run_as_root(node, REBOOT)
        for _ in range(30 * MINUTES):
            time.sleep(1)
            process = self.vmlab.start("exec", BED, "-n", node, "--", "cat", BOOT)
            said, _ = process.communicate()
            if process.returncode == 0 and before.strip() not in said:
                return
        raise AssertionError(f"{node} did not come back")


@pytest.mark.parametrize("image", IMAGES or [""])
def test_an_image_goes_through_its_life(
    vmlab: Vmlab, tmp_path: Path, image: str, request: pytest.FixtureRequest
) -> None:
    bed = Bed(vmlab, tmp_path, image)
    tried = request.config.stash[TRIED][image] = bed.done
    try:
        bed.up()
        name = bed.run("node1", "sh", "-c", '. /etc/os-release; echo "$PRETTY_NAME"').strip()
        tried += [name, "up"]
        bed.check_fabrics()
        tried.append("two fabrics")
        bed.reboot("node1")
        bed.up()
        bed.check_fabrics()
        tried.append("reboot")
        if reason := no_way_out():
            tried.append(f"no packages ({reason})")
        else:
            bed.run_as_root("node1", INSTALL)
            tried.append("packages")
    finally:
        vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []
    tried.append("down")
