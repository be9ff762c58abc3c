"""Golden domains: from the shipped topologies to XML, valid by libvirt's own schema and accepted by its test driver."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from vmlab.domainxml import read
from vmlab.domainxml.build import Boot
from vmlab.domainxml.crash import keep_crashed
from vmlab.domainxml.network import network_xml
from vmlab.domainxml.read import read_domain, read_network_xml
from vmlab.domainxml.template import parse_template
from vmlab.domainxml.text import text
from vmlab.domainxml.volume import volume_xml
from vmlab.errors import TopologyError
from vmlab.plan.desired import Desired, Image, Seed, addresses, desired_networks, desired_node, desired_targets
from vmlab.plan.kernel import BootFile
from vmlab.plan.lease import lease
from vmlab.plan.observed import ObservedBed
from vmlab.plan.placing import virtual
from vmlab.topology import Topology, load, loads
from vmlab.values.identity import domain_uuid
from vmlab.values.pci import PciAddress

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/domains"
SCHEMAS = Path("/usr/share/libvirt/schemas")
TEMPLATE = ROOT / "domain-templates/server.xml"
BOOT = Boot("/pool/images/demo-1.vmlinuz", "/pool/images/demo-1.initrd", "console=ttyS0")
IMAGE = Image("demo", "/pool/images/demo-1.qcow2", 3 << 30, "root", BOOT)
ODD = """
name: odd
fabrics:
  lan: {kind: ethernet, lnet: tcp, attach: bridge, bridge: br0}
  ib0: {kind: infiniband, lnet: o2ib, attach: virtio, mtu: 2044, subnet: 192.168.7.0/29}
nodes:
  n1:
    role: [mds, oss, client]
    cpus: 3
    memory: 2GiB
    hugepages: 2MiB
    disk: 20GiB
    fabrics: {ib0: {count: 2}, lan: {count: 1}}
    disks: [{name: scratch, size: 1GiB}]
"""

BENCH = """
name: bench
nodes:
  n1:
    role: build
    kernel: {image: bzImage, args: "crashkernel=256M"}
    gdb: true
    share: [{host: ./src, at: /src, read_only: true}, {host: /var/tmp, at: /var/tmp/host}]
    disks:
      - {name: fast, size: 4GiB, kind: scsi, serial: s1, wwn: 5000c500a1b2c3d4, sector: 4KiB, multipath: 2}
      - {name: lun, device: /dev/disk/by-id/wwn-0x5000c500a1b2c3d5, kind: scsi, reservations: true}
      - {name: plain, size: 1GiB, kind: scsi}
      - {name: four, size: 1GiB, sector: 4KiB, serial: f1}
  n2: {role: build, kernel: {initrd: initrd, args: quiet}, share: [{host: /src, at: /src}]}
  n3: {role: build, gdb: true, disks: [{name: lun, device: /dev/sdb, kind: scsi}]}
"""
FILES = {
    ("kernel", "bzImage"): BootFile("bench._kernel-0123456789ab", "/home/bzImage", 10, "0123456789ab" + 52 * "0"),
    ("initrd", "initrd"): BootFile("bench._initrd-0123456789ab", "/home/initrd", 10, "0123456789ab" + 52 * "0"),
}


def desired(topology: Topology, *, kind: str = "qemu") -> Desired:
    leases = lease(topology, ObservedBed(topology.name), {})
    template = keep_crashed(parse_template(TEMPLATE.read_bytes(), TEMPLATE))
    nodes = {
        node.name: desired_node(
            topology,
            node,
            image=IMAGE,
            template=template,
            domain_type=kind,
            pool_path="/pool/beds",
            host="local",
            addresses=addresses(topology, leases, virtual(topology), node.name),
            seeds=lambda _: Seed({"user-data": "#cloud-config\n"}),
            files=FILES,
            share_driver="9p" if node.name == "n2" else "virtiofs",
        )
        for node in topology.nodes.values()
    }
    networks = desired_networks(topology, leases, virtual(topology))
    return Desired(topology.name, networks, desired_targets(topology, topology.nodes.keys()), nodes, {})


def topologies() -> list[Topology]:
    shipped = (
        *("minimal", "ha-topology", "two-hop-routing", "burst-buffer"),
        *("oss-benchmark-small", "fta-sriov-small"),
    )
    return [
        *(load(ROOT / f"topologies/{name}.yaml") for name in shipped),
        loads(ODD, "odd.yaml"),
        loads(BENCH, "/bed/bench.yaml"),
    ]


def schema(name: str) -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(SCHEMAS / f"{name}.rng"))


@pytest.mark.parametrize("kind", ["qemu", "kvm"])
@pytest.mark.parametrize("topology", topologies(), ids=lambda topology: topology.name)
def test_domains_are_golden_and_valid(topology: Topology, kind: str, golden: Callable[[Path, str], None]) -> None:
    wanted = desired(topology, kind=kind)
    rng = schema("domain")
    test = libvirt.open("test:///default")
    for name, node in wanted.nodes.items():
        if kind == "qemu":
            golden(GOLDEN / topology.name / f"{name}.xml", node.xml)
        rng.assertValid(etree.fromstring(node.xml))
        test_domain = etree.fromstring(node.xml)
        test_domain.set("type", "test")
        defined = test.defineXML(text(test_domain))
        facts = read_domain(defined.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        asked = read_domain(node.xml)
        defined.undefine()
        # What libvirt keeps is what was asked for: the next look must not see a change where there is none.
        assert (facts.disks, facts.serials, facts.memory_kib, facts.vcpus) == (
            asked.disks,
            asked.serials,
            asked.memory_kib,
            asked.vcpus,
        )
        assert facts.details == asked.details
        assert facts.metadata == node.metadata


@pytest.mark.parametrize("topology", topologies(), ids=lambda topology: topology.name)
def test_networks_and_volumes_are_valid(topology: Topology, golden: Callable[[Path, str], None]) -> None:
    wanted = desired(topology)
    for network in wanted.networks:
        xml = text(network_xml(network))
        golden(GOLDEN / topology.name / f"network-{network.metadata.fabric}.xml", xml)
        schema("network").assertValid(etree.fromstring(xml))
        assert read_network_xml(xml).metadata == network.metadata
    for volume in (*wanted.targets, *(node.root for node in wanted.nodes.values())):
        schema("storagevol").assertValid(volume_xml(volume))


@pytest.mark.parametrize(
    ("machine", "first", "ports"),
    [("q35", [("pcie-root", "0")], True), ("pc", [], False), ("pc-i440fx-rhel7.6.0", [], False)],
)
def test_a_template_without_controllers(machine: str, first: list[tuple[str, str]], ports: bool) -> None:
    system = f"<os><type machine='{machine}'>hvm</type></os>"
    template = etree.fromstring(f"<domain><name>t</name>{system}<devices/></domain>")
    topology = loads("name: b\nnodes: {n1: {role: client}}\n")
    places = addresses(topology, lease(topology, ObservedBed(topology.name), {}), {}, "n1")
    node = desired_node(
        topology,
        topology.nodes["n1"],
        image=IMAGE,
        template=template,
        domain_type="kvm",
        pool_path="/pool",
        host="local",
        addresses=places,
        seeds=lambda _: Seed({}),
    )
    controllers = etree.fromstring(node.xml).findall("devices/controller")
    assert [(c.get("model"), c.get("index")) for c in controllers if c.get("index")] == first
    assert any(c.get("model") == "pcie-root-port" for c in controllers) is ports


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not xml", "the template is no XML: Start tag expected"),
        (b"<network/>", "the template is no libvirt domain: its root element is <network>"),
        (b"<domain><devices/></domain>", "the template is no complete domain: <os><type> is missing"),
        (b"<domain><os><type>hvm</type></os></domain>", "<devices> is missing"),
        (b"<!DOCTYPE d [<!ENTITY e SYSTEM '/etc/passwd'>]><domain><name>&e;</name></domain>", "is missing"),
    ],
)
def test_a_template_that_is_no_domain_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(TopologyError) as raised:
        parse_template(content, Path("t.xml"))
    assert message in raised.value.message
    assert raised.value.message.startswith("t.xml:")


def test_disks_are_read_whatever_they_lie_on() -> None:
    facts = read_domain("""
    <domain type="kvm"><name>other</name><devices>
      <disk type="file"><source file="/a.qcow2" startupPolicy="optional" index="1"/><serial>one</serial></disk>
      <disk type="file" device="cdrom"><target dev="sda"/></disk>
      <disk type="file" device="cdrom"><source file=""/></disk>
      <disk type="block"><source dev="/dev/sdb"/><backingStore><source file="/base.qcow2"/></backingStore></disk>
      <disk type="network"><source protocol="rbd" name="pool/c"><host name="ceph"/></source><serial/></disk>
      <disk type="volume"><source pool="p" volume="d.raw"/><serial>four</serial></disk>
    </devices></domain>
    """)
    assert facts.disks == ("/a.qcow2", "/dev/sdb", "d.raw")
    assert facts.serials == ("one", "four")


TRAPS = (
    "<!-- </vcpu> <disk --> <!-- </disk> -->",
    "<x><![CDATA[</vcpu><devices><disk ]]></x><y><![CDATA[</disk>]]></y>",
    "<x><vcpu>64</vcpu></x>",
    "<x><vcpu>64</vcpu><disk a='1'>no</disk></x>",
    "<vcpu>64</vcpu><devices><disk a='1'><source file='/no'/></disk></devices>",
    "<hostdev type='pci'/><disk/>",
)
DEFINED = f"""<domain type='kvm'>
  <name>ha.oss1</name>
  <uuid>{domain_uuid("ha", "oss1")}</uuid>
  <metadata>
    {{trap}}
    <vmlab:node xmlns:vmlab="https://vmlab.io/xmlns/bed/1" bed="ha" name="oss1" roles="oss">
      <vmlab:address fabric="mgmt" kind="management" ip="10.0.0.2/24"/>
    </vmlab:node>
    {{trap}}
  </metadata>
  <memory unit='KiB'>1024</memory>
  <vcpu>2</vcpu>
  <devices>
    <emulator>/usr/bin/qemu</emulator>{{devices}}
    <controller type='usb'/>
    <memballoon model='none'/>
  </devices>
  <seclabel type='none'/>
</domain>"""
DISKS = "<disk type='file'><source file='/one'/><serial>1</serial></disk><disk type='block'><source dev='/two'/></disk>"
PASSED = """<hostdev mode='subsystem' type='pci'>
  <source><address domain='0x0000' bus='0x41' slot='0x00' function='0x1'/></source>
</hostdev>"""


def whole(xml: str, *, disks: bool) -> etree._Element:
    assert disks
    return etree.fromstring(xml)


@pytest.mark.parametrize("trap", ["", *TRAPS])
@pytest.mark.parametrize("devices", ["", DISKS, PASSED, f"{DISKS}<controller type='pci'/>{PASSED}"])
def test_a_domain_that_is_read_in_part_is_the_same(trap: str, devices: str, monkeypatch: pytest.MonkeyPatch) -> None:
    xml = DEFINED.format(trap=trap, devices=devices)
    facts = read_domain(xml)
    assert facts.metadata is not None
    assert (facts.vcpus, facts.memory_kib, len(facts.disks)) == (2, 1024, 2 * (DISKS in devices))
    assert facts.hostdevs == ((PciAddress(0, 0x41, 0, 1),) if PASSED in devices else ())
    without = read_domain(xml, disks=False)
    assert replace(without, disks=facts.disks, serials=facts.serials) == facts
    monkeypatch.setattr(read, "_shown", whole)
    assert read_domain(xml) == facts


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("domains/**/*.xml")), ids=lambda path: path.stem)
def test_real_domains_that_are_read_in_part_are_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xml = path.read_text()
    facts = read_domain(xml)
    without = read_domain(xml, disks=False)
    assert replace(without, disks=facts.disks, serials=facts.serials) == facts
    monkeypatch.setattr(read, "_shown", whole)
    assert read_domain(xml) == facts


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<volume type='file'>\n  <name>a</name></volume>", True),
        ('<volume type="file"><name>a</name></volume>', True),
        ("<volume><name>a</name></volume>", True),
        ("<volume type='dir'><name>a</name></volume>", False),
    ],
)
def test_what_is_a_file(xml: str, expected: bool) -> None:
    assert read.is_file(xml) is expected


def test_a_digest_changes_with_what_was_asked_for_only() -> None:
    one, other = desired(loads(ODD)), desired(loads(ODD))
    assert one.nodes["n1"].digest == other.nodes["n1"].digest
    for old, new in (("cpus: 3", "cpus: 4"), ("size: 1GiB", "size: 2GiB"), ("disk: 20GiB", "disk: 30GiB")):
        assert desired(loads(ODD.replace(old, new))).nodes["n1"].digest != one.nodes["n1"].digest
