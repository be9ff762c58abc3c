"""A host whose QEMU is /usr/libexec/qemu-kvm and nothing else, as RHEL, Rocky and Alma have it: with real guests."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .apart import Apart, apart
from .conftest import Vmlab, image_store

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces")

BED = """
name: t-rhel
nodes:
  node1: {role: client, memory: 512MiB, template: ./desktop.xml}
"""
# What somebody wrote for a workstation: RHEL's QEMU has no such machine type, and its program is another.
DESKTOP = """
<domain type="kvm">
  <name>desktop</name>
  <memory unit="MiB">512</memory>
  <vcpu>1</vcpu>
  <os><type arch="x86_64" machine="pc-q35-99.0">hvm</type><boot dev="hd"/></os>
  <features><acpi/><apic/></features>
  <cpu mode="host-passthrough"/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type="usb" model="none"/>
    <memballoon model="none"/>
  </devices>
</domain>
"""


@pytest.fixture(scope="module")
def rhel(vmlab: Vmlab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    assert "demo" in vmlab.run("image", "list")
    with apart(tmp_path_factory.mktemp("rhel"), image_store()) as host:
        yield host


def test_there_is_no_qemu_of_another_name(rhel: Apart) -> None:
    assert rhel.sh("ls /usr/bin/qemu-system-* 2>/dev/null || echo none") == "none\n"
    found = {line["what"]: line for line in json.loads(rhel.run("host", "check", "-o", "json"))}
    assert found["QEMU"]["verdict"] == "ok"
    assert "/usr/libexec/qemu-kvm" in found["QEMU"]["found"]
    assert found["daemons"]["found"] == "libvirtd"
    assert "not installed" not in found["KVM"]["found"]


def test_a_bed_comes_up_and_goes(rhel: Apart, tmp_path: Path) -> None:
    (tmp_path / "bed.yaml").write_text(BED)
    (tmp_path / "desktop.xml").write_text(DESKTOP)
    rhel.run("up", str(tmp_path / "bed.yaml"), "--accel", "tcg")
    assert "asks for the machine type pc-q35-99.0, which /usr/libexec/qemu-kvm of the host" in rhel.complaints
    assert "the QEMU of the host" in rhel.complaints
    assert rhel.run("exec", "t-rhel", "-n", "node1", "--", "uname", "-m").strip().endswith("x86_64")
    assert "/usr/libexec/qemu-kvm" in rhel.sh("tr '\\0' '\\n' < /proc/$(pgrep -f guest=t-rhel.node1)/cmdline | head -1")
    rhel.run("down", "t-rhel", "--yes")
    assert json.loads(rhel.run("list", "-o", "json")) == []
