"""Guests of another architecture than their host, or their image."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from vmlab.domainxml.template import emulates
from vmlab.errors import HostError
from vmlab.inventory.architecture import runs
from vmlab.inventory.model import HostInventory
from vmlab.lab.ground.recorded import recorded
from vmlab.plan.desired import Image
from vmlab.plan.native import guest_architectures
from vmlab.topology import loads

ROOT = Path(__file__).parents[3]
BED = "name: b\nhosts: {h1: {}, h2: {}}\nnodes: {'n[1-2]': {role: client}, n3: {role: client, host: h2}}\n"


def template(kind: str) -> etree._Element:
    return etree.fromstring(f"<domain><os><type {kind}>hvm</type></os><devices/></domain>")


SERVER = template("arch='x86_64' machine='q35'")


def found(hosts: Mapping[str, str], *, image: str = "", kind: etree._Element = SERVER) -> Mapping[str, str]:
    some = recorded(ROOT / "tests/hosts/mixed")
    inventories: dict[str, HostInventory] = {name: replace(some, arch=arch) for name, arch in hosts.items()}
    images = {"demo": Image("demo", "/demo.qcow2", 1, "root", None, image)}
    return guest_architectures(loads(BED, "b.yaml"), inventories, images, {"server": emulates(kind)})


@pytest.mark.parametrize("arch", ["aarch64", "ppc64le", "s390x", "riscv64", "loongarch64", "i686"])
def test_a_foreign_host_is_refused_with_both_names(arch: str) -> None:
    with pytest.raises(HostError) as error:
        found({"h1": arch, "h2": arch})
    assert error.value.message == (
        f"n[1-2]: the host h1 is {arch} and the host h2 is {arch}, and the template server is x86_64/q35"
    )
    assert error.value.status == 4


def test_a_node_is_held_to_its_host() -> None:
    with pytest.raises(HostError, match=r"^n3: the host h2 is aarch64, and the template server is x86_64/q35$"):
        found({"h1": "x86_64", "h2": "aarch64"})
    assert found({"h1": "aarch64", "h2": "x86_64"}) == dict.fromkeys(("n1", "n2", "n3"), "x86_64")


def test_the_host_is_foreign_to_a_template_of_another() -> None:
    virt = template("arch='aarch64' machine='virt'")
    with pytest.raises(HostError, match=r"the host h1 is x86_64 .*, and the template server is aarch64/virt$"):
        found({"h1": "x86_64", "h2": "x86_64"}, kind=virt)
    found({"h1": "aarch64", "h2": "aarch64"}, kind=virt)


def test_the_image_is_of_its_template_s_architecture() -> None:
    """Under emulation, too: then there are no hosts that guests run on natively."""
    for hosts in ({}, {"h1": "x86_64", "h2": "x86_64"}):
        with pytest.raises(HostError, match=r": the image demo is aarch64, and the template server is x86_64/q35$"):
            found(hosts, image="arm64")
        found(hosts, image="amd64")
        found(hosts)


def test_emulated_guests_are_of_any_architecture() -> None:
    assert found({}) == {}


def test_a_template_that_leaves_it_to_libvirt() -> None:
    plain = template("")
    found({"h1": "aarch64", "h2": "aarch64"}, kind=plain)
    with pytest.raises(HostError, match=r"the host h1 is aarch64 .*, and the image demo is x86_64$"):
        found({"h1": "aarch64", "h2": "aarch64"}, kind=plain, image="x86_64")
    with pytest.raises(HostError, match=r"and the template server is x86_64/pc-q35-8.2$"):
        found({"h1": "aarch64", "h2": "aarch64"}, kind=template("machine='pc-q35-8.2'"))


def test_what_is_not_known_is_not_foreign() -> None:
    found({"h1": "unknown", "h2": ""})


@pytest.mark.parametrize(
    ("host", "guest", "expected"),
    [
        ("x86_64", "i686", True),
        ("i686", "x86_64", False),
        ("aarch64", "armv7l", True),
        ("ppc64le", "ppc64", True),
        ("ppc64", "ppc64le", True),
        ("s390x", "x86_64", False),
    ],
)
def test_what_a_processor_runs_besides(host: str, guest: str, expected: bool) -> None:
    assert runs(host, guest) is expected
