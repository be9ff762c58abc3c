"""A host whose QEMU is /usr/libexec/qemu-kvm and nothing else, as RHEL, Rocky and Alma have it: with a real guest.

It has no way out, either: the guest resolves and reaches what this host does, and is told at once of the rest.
"""

import json
import os
from collections.abc import Iterator

import pytest

from .apart import Apart, apart
from .conftest import Vmlab, image_store

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces")

BED = "name: t-rhel\nnodes: {node1: {role: client, memory: 512MiB, template: ./desktop.xml}}\n"
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
# Where a mirror may be: on a network of the host's, known by the host's own /etc/hosts.
MIRROR = """
ip link add lab type bridge
ip addr add 192.0.2.7/28 dev lab
ip link set lab up
cd /etc/apt
setsid -f "$PYTHON" -m http.server --bind 192.0.2.7 8000 >/dev/null 2>&1
"""
FETCH = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())"
RESOLVE = "import socket, sys; socket.getaddrinfo(sys.argv[1], 80)"


@pytest.fixture(scope="module")
def rhel(vmlab: Vmlab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    assert "demo" in vmlab.run("image", "list")
    hosts = "127.0.0.1 localhost\n192.0.2.7 mirror.lab.example"
    work = tmp_path_factory.mktemp("rhel")
    with apart(work, image_store(), hosts=hosts, resolv_conf="nameserver 198.51.100.53") as host:
        host.sh(MIRROR)
        yield host


@pytest.fixture(scope="module")
def bed(rhel: Apart, tmp_path_factory: pytest.TempPathFactory) -> Apart:
    folder = tmp_path_factory.mktemp("bed")
    (folder / "bed.yaml").write_text(BED)
    (folder / "desktop.xml").write_text(DESKTOP)
    rhel.run("up", str(folder / "bed.yaml"), "--accel", "tcg")
    rhel.up = rhel.complaints
    return rhel


def guest(bed: Apart, *argv: str, status: int = 0) -> dict[str, str]:
    """What a command in the guest printed."""
    said = bed.run("exec", "t-rhel", "-n", "node1", "-o", "json", "--", *argv, status=status)
    answer: dict[str, str] = json.loads(said)[0]
    return answer


def test_there_is_no_qemu_of_another_name(rhel: Apart) -> None:
    assert rhel.sh("ls /usr/bin/qemu-system-* 2>/dev/null || echo none") == "none\n"
    found = {line["what"]: line for line in json.loads(rhel.run("host", "check", "-o", "json"))}
    assert found["QEMU"]["verdict"] == "ok"
    assert "/usr/libexec/qemu-kvm" in found["QEMU"]["found"]
    assert found["daemons"]["found"] == "libvirtd"
    assert "not installed" not in found["KVM"]["found"]
    assert found["way out"]["found"] == "the host has no default route: guests reach its own networks only"


def test_a_template_of_another_host_is_fitted(bed: Apart) -> None:
    assert "asks for the machine type pc-q35-99.0, which /usr/libexec/qemu-kvm of the host" in bed.up
    assert "asks for /usr/bin/qemu-system-x86_64, and the QEMU of the host" in bed.up
    assert guest(bed, "uname", "-m")["stdout"] == "x86_64\n"
    assert "/usr/libexec/qemu-kvm" in bed.sh("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -B2 guest=t-rhel.node1")


def test_a_guest_resolves_what_the_host_resolves(bed: Apart) -> None:
    assert guest(bed, "getent", "hosts", "mirror.lab.example")["stdout"].split()[0] == "192.0.2.7"


def test_a_guest_reaches_what_the_host_reaches(bed: Apart) -> None:
    listing = guest(bed, "python3", "-c", FETCH, "http://mirror.lab.example:8000/")["stdout"]
    assert "sources.list" in listing


def test_without_a_way_out_a_guest_is_told_so(bed: Apart) -> None:
    assert "the host has no default route" in bed.up
    for address in ("http://198.51.100.1/", "http://nowhere.example/"):
        said = guest(bed, "python3", "-c", FETCH, address, status=1)["stderr"].splitlines()[-1]
        assert "unreachable" in said or "resolution" in said or "not known" in said
        assert "timed out" not in said


def test_the_bed_goes(bed: Apart) -> None:
    bed.run("down", "t-rhel", "--yes")
    assert json.loads(bed.run("list", "-o", "json")) == []
