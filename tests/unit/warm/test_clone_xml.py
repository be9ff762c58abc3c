"""What a template and its clones have alike. `data/oss1.xml` is a definition as libvirt 9.0 keeps it."""

from pathlib import Path

import pytest
from lxml import etree

from vmlab.domainxml.clone import Files, parted, shape, template_xml, why_none

XML = (Path(__file__).parent / "data/oss1.xml").read_text()
FILES = Files("/t/root", "/t/seed", "/t/console")


def changed(*pairs: tuple[str, str]) -> str:
    xml = XML
    for old, new in pairs:
        assert old in xml
        xml = xml.replace(old, new)
    return xml


@pytest.mark.parametrize(
    "pairs",
    [
        [("bed.oss1", "bed.oss2")],
        [("52f009af-b584-513c-bec8-3f596ff2bc9b", "52f009af-b584-513c-bec8-3f596ff2bc9c")],
        [("52:54:5d:f3:76:c2", "52:54:00:00:00:99")],
        [("network='bed.eth'", "network='other.eth'")],
        [("<vcpu placement='static'>", "<vcpu placement='static' cpuset='3-4'>")],
        [("<serial>lustre-MGS</serial>", "<serial>lustre-OST0001</serial>")],
        [("<os>", "<cputune><vcpupin vcpu='0' cpuset='2'/></cputune><os>")],
        [("<os>", "<numatune><memory mode='strict' nodeset='0'/></numatune><os>")],
    ],
    ids=["names", "uuid", "mac", "network", "cpus", "data disk", "pins", "cell"],
)
def test_what_only_the_host_sees_makes_no_other_template(pairs: list[tuple[str, str]]) -> None:
    assert shape(changed(*pairs)) == shape(XML)


@pytest.mark.parametrize(
    "pairs",
    [
        [("524288", "1048576")],
        [("pc-q35-7.2", "pc-q35-7.1")],
        [("<vcpu placement='static'>1<", "<vcpu placement='static'>2<")],
        [("demo-6f48de18eacb.vmlinuz", "demo-000000000000.vmlinuz")],
        [("<rom enabled='no'/>", "<mtu size='9000'/><rom enabled='no'/>")],
        [("bus='0x04' slot='0x00'", "bus='0x0a' slot='0x00'")],
        [
            (
                "<controller type='pci' index='12' model='pcie-root-port'>",
                "<controller type='pci' index='12' model='dmi'>",
            )
        ],
    ],
    ids=["memory", "machine", "vcpus", "kernel", "mtu", "place", "ports"],
)
def test_what_a_guest_sees_makes_another_one(pairs: list[tuple[str, str]]) -> None:
    assert shape(changed(*pairs)) != shape(XML)


def test_what_else_it_depends_on_is_named() -> None:
    assert len({shape(XML), shape(XML, 7002022), shape(XML, 7002023), shape(XML, 7002022, "cpu")}) == 4


def test_a_template_is_nobody_and_on_no_network() -> None:
    domain = etree.fromstring(template_xml(XML, "vmlab-template.1", FILES))
    assert domain.findtext("name") == "vmlab-template.1"
    assert domain.find("uuid") is None
    assert domain.find("metadata") is None
    assert domain.find("genid") is not None
    assert [disk.findtext("serial") for disk in domain.iterfind("devices/disk")] == ["root", "seed"]
    assert [source.get("file") for source in domain.iterfind("devices/disk/source")] == ["/t/root", "/t/seed"]
    assert {card.get("type") for card in domain.iterfind("devices/interface")} == {"ethernet"}
    assert domain.find("devices/interface/source") is None
    assert {log.get("file") for log in domain.iterfind("devices//log")} == {"/t/console"}
    assert "bed" not in template_xml(XML, "vmlab-template.1", FILES)


def test_data_disks_are_plugged_in_their_places() -> None:
    left, plugged = parted(XML)
    there = etree.fromstring(left)
    assert [disk.findtext("serial") for disk in there.iterfind("devices/disk")] == ["root", "seed"]
    disks = [etree.fromstring(disk) for disk in plugged]
    assert [disk.findtext("serial") for disk in disks] == ["lustre-MGS", "lustre-MDT0000", "lustre-OST0000"]
    assert all(disk.find("address") is not None for disk in disks)
    assert there.findtext("uuid") == "52f009af-b584-513c-bec8-3f596ff2bc9b"


HOSTDEV = "<hostdev mode='subsystem' type='pci' managed='no'><source/></hostdev><input type='mouse' bus='ps2'/>"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("<input type='mouse' bus='ps2'/>", HOSTDEV, "PCI function"),
        ("<boot dev='hd'/>", "<loader>/usr/share/OVMF.fd</loader><boot dev='hd'/>", "firmware"),
        ("<interface type='network'>", "<interface type='direct'>", "network card"),
        (
            "<metadata>",
            "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'/><metadata>",
            "QEMU arguments",
        ),
    ],
)
def test_what_can_be_no_clone_says_why(old: str, new: str, why: str) -> None:
    assert why in why_none(changed((old, new)))
    assert why_none(XML) == ""
