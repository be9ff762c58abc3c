from pathlib import Path

import pytest
from recorded_hosts import HOSTS, record

from vmlab.errors import HostError
from vmlab.inventory.capabilities import read_capabilities
from vmlab.inventory.claims import read_claims
from vmlab.inventory.model import Cell, Claim
from vmlab.inventory.record import read_record
from vmlab.inventory.scrub import NO_UUID
from vmlab.lab.ground.recorded import recorded
from vmlab.runtime.log import tell_warnings
from vmlab.values.identity import domain_uuid
from vmlab.values.pci import PciAddress

NAMESPACE = "https://vmlab.io/xmlns/bed/1"
PINNED = f"""
<domain type='kvm' id='7'>
  <name>ha.oss1</name>
  <metadata><v:node xmlns:v='{NAMESPACE}' bed='ha' name='oss1' roles='oss'/></metadata>
  <memory unit='KiB'>4194304</memory>
  <vcpu placement='static'>2</vcpu>
  <iothreads>1</iothreads>
  <cputune>
    <vcpupin vcpu='0' cpuset='8'/>
    <vcpupin vcpu='1' cpuset='9'/>
    <emulatorpin cpuset='0-1'/>
    <iothreadpin iothread='1' cpuset='2'/>
  </cputune>
  <numatune><memory mode='strict' nodeset='1'/></numatune>
  <devices>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0x21' slot='0x00' function='0x1'/></source>
      <address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>
    </hostdev>
    <hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source></hostdev>
    <interface type='hostdev' managed='yes'>
      <source><address type='pci' domain='0x0000' bus='0x61' slot='0x00' function='0x2'/></source>
    </interface>
    <disk type='nvme' device='disk'>
      <source type='pci' managed='yes' namespace='1'>
        <address domain='0x0000' bus='0x22' slot='0x00' function='0x0'/>
      </source>
    </disk>
  </devices>
</domain>
"""


def cells() -> tuple[Cell, ...]:
    return read_capabilities(record(HOSTS["nps4"])["capabilities.xml"]).cells


def claim(xml: str) -> Claim:
    (found,) = read_claims({"domains/x.xml": xml}, cells())
    return found


def test_a_pinned_domain_of_a_bed() -> None:
    assert claim(PINNED) == Claim(
        "ha.oss1",
        "ha",
        "oss1",
        running=True,
        cpus=frozenset({8, 9}),
        memory_kib={1: 4 << 20},
        devices=frozenset(map(PciAddress.parse, ("0000:21:00.1", "0000:61:00.2", "0000:22:00.0"))),
    )


def test_a_foreign_domain_that_floats() -> None:
    xml = "<domain type='kvm'><name>a</name><memory unit='GiB'>2</memory><vcpu cpuset='0-127'>4</vcpu></domain>"
    assert claim(xml) == Claim("a", None, None, running=False, memory_kib={None: 2 << 20})


@pytest.mark.parametrize(
    ("inside", "memory", "huge"),
    [
        ("<numatune><memory mode='strict' nodeset='0,4'/></numatune>", {0: 1 << 20, 4: 1 << 20}, {}),
        ("<numatune><memory mode='interleave' nodeset='2-3'/></numatune>", {2: 1 << 20, 3: 1 << 20}, {}),
        ("<numatune><memory mode='strict' nodeset='0-7'/></numatune>", {None: 2 << 20}, {}),
        ("<numatune><memory mode='preferred' nodeset='1'/></numatune>", {None: 2 << 20}, {}),
        ("<numatune><memory mode='strict' placement='auto'/></numatune>", {None: 2 << 20}, {}),
        ("<memoryBacking><hugepages/></memoryBacking>", {}, {(None, 2048): 2 << 20}),
        (
            (
                "<memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>"
                "<numatune><memory nodeset='5'/></numatune>"
            ),
            {},
            {(5, 1 << 20): 2 << 20},
        ),
        ("<memoryBacking><hugepages><page size='4'/></hugepages></memoryBacking>", {None: 2 << 20}, {}),
        (
            (
                "<memoryBacking><hugepages><page size='2048' unit='KiB' nodeset='1'/></hugepages></memoryBacking>"
                "<numatune><memory mode='strict' nodeset='0-1'/><memnode cellid='0' mode='strict' nodeset='0'/>"
                "<memnode cellid='1' mode='strict' nodeset='1'/></numatune>"
                "<cpu><numa><cell id='0' cpus='0' memory='1' unit='GiB'/>"
                "<cell id='1' cpus='1' memory='1024' unit='MiB'/></numa></cpu>"
            ),
            {0: 1 << 20},
            {(1, 2048): 1 << 20},
        ),
    ],
)
def test_memory_by_cell(inside: str, memory: dict[int | None, int], huge: dict[tuple[int | None, int], int]) -> None:
    found = claim(f"<domain><name>a</name><memory unit='GiB'>2</memory>{inside}</domain>")
    assert (found.memory_kib, found.huge_kib) == (memory, huge)


GUEST = """
<domain id='3'><name>a</name>{memory}<currentMemory unit='GiB'>1</currentMemory>
<cpu><numa><cell id='0' cpus='0' memory='2' unit='GiB'/><cell id='1' cpus='1' memory='2' unit='GiB'/></numa></cpu>
<numatune><memnode cellid='1' mode='strict' nodeset='3'/></numatune>
{backing}<devices>{devices}</devices></domain>
"""
DIMM = "<memory model='{model}'>{source}<target><size unit='GiB'>1</size><node>{node}</node></target></memory>"


def dimm(model: str = "dimm", node: int = 0, source: str = "") -> str:
    return DIMM.format(model=model, node=node, source=source)


BACKING = "<memoryBacking><hugepages/></memoryBacking>"
LIMIT = "<maxMemory slots='{0}' unit='GiB'>{1}</maxMemory>"


@pytest.mark.parametrize(
    ("parts", "memory", "huge", "later"),
    [
        # A balloon that is blown up is let out again.
        ({"memory": "<memory unit='GiB'>4</memory>"}, {None: 2, 3: 2}, {}, 0),
        # A dimm lies where its guest cell does, or where it says.
        ({"memory": "<memory unit='GiB'>5</memory>", "devices": dimm(node=1)}, {None: 2, 3: 3}, {}, 0),
        ({"devices": dimm(source="<source><nodemask>5</nodemask></source>")}, {None: 2, 3: 2, 5: 1}, {}, 0),
        (
            {"devices": dimm(source="<source><pagesize unit='MiB'>2</pagesize><nodemask>0-1</nodemask></source>")},
            {None: 2, 3: 2},
            {(0, 2048): 0.5, (1, 2048): 0.5},
            0,
        ),
        ({"backing": BACKING, "devices": dimm(node=1)}, {}, {(None, 2048): 2, (3, 2048): 3}, 0),
        # As much as virtio-mem can grow to; a file or the processor's own memory is not the host's.
        ({"devices": dimm("virtio-mem")}, {None: 3, 3: 2}, {}, 0),
        ({"devices": dimm("nvdimm") + dimm("virtio-pmem") + dimm("sgx-epc")}, {None: 2, 3: 2}, {}, 0),
        # What can still be plugged in: up to the limit, while a slot is free.
        ({"memory": LIMIT.format(4, 16)}, {None: 14, 3: 2}, {}, 12),
        ({"memory": LIMIT.format(4, 16), "devices": dimm(node=1)}, {None: 13, 3: 3}, {}, 11),
        ({"memory": LIMIT.format(1, 16), "devices": dimm(node=1)}, {None: 2, 3: 3}, {}, 0),
        ({"memory": LIMIT.format(2, 4)}, {None: 2, 3: 2}, {}, 0),
        ({"memory": LIMIT.format(2, 5), "backing": BACKING}, {}, {(None, 2048): 3, (3, 2048): 2}, 1),
    ],
)
def test_all_memory_that_a_guest_can_have(parts: dict[str, str], memory: dict, huge: dict, later: int) -> None:
    found = claim(GUEST.format(**{"memory": "", "backing": "", "devices": ""} | parts))
    assert {cell: kib / (1 << 20) for cell, kib in found.memory_kib.items()} == memory
    assert {key: kib / (1 << 20) for key, kib in found.huge_kib.items()} == huge
    assert found.later_kib == later << 20


def test_of_a_guest_without_cells_the_total_has_the_dimms() -> None:
    """As libvirt prints it: <memory> is what it booted with and what was plugged in since."""
    xml = f"<domain><name>a</name><memory unit='GiB'>5</memory><devices>{dimm()}</devices></domain>"
    assert claim(xml).memory_kib == {None: 5 << 20}


def test_memory_of_the_next_start_counts_if_it_is_more() -> None:
    xml = "<domain{}><name>a</name><memory unit='GiB'>{}</memory></domain>"
    small, large = xml.format(" id='2'", 2), xml.format("", 6)
    for one, other in ((small, large), (large, small)):
        (found,) = read_claims({"domains/a.inactive.xml": one, "domains/a.xml": other}, cells())
        assert found.running
        assert found.memory_kib == {None: 6 << 20}


def test_a_running_domain_also_holds_what_is_only_defined() -> None:
    """A function that was added with --config is handed over at the next start."""
    defined = PINNED.replace(" id='7'", "").replace("0x61", "0xa1").replace("cpuset='9'", "cpuset='40'")
    for order in ((PINNED, defined), (defined, PINNED)):
        (found,) = read_claims(dict(zip(("domains/a.inactive.xml", "domains/a.xml"), order, strict=True)), cells())
        assert found.running
        assert 9 in found.cpus
        assert 40 not in found.cpus
        assert {address.bus for address in found.devices} == {0x21, 0x22, 0x61, 0xA1}


def test_the_owner_of_a_function() -> None:
    found = read_record("h", {**record(HOSTS["nps4"]), "domains/a.xml": PINNED})
    owner = found.owner(PciAddress.parse("0000:61:00.2"))
    assert owner is not None
    assert owner.domain == "ha.oss1"
    assert found.owner(PciAddress.parse("0000:61:00.1")) is None


@pytest.mark.parametrize(
    ("old", "new", "bed"),
    [
        ("</name>", f"</name><uuid>{domain_uuid('ha', 'oss1')}</uuid>", "ha"),
        ("</name>", f"</name><uuid>{NO_UUID}</uuid>", "ha"),  # a record's
        ("</name>", f"</name><uuid>{domain_uuid('ha', 'oss2')}</uuid>", None),
        ("<name>ha.oss1", "<name>ha.oss1-clone", None),
        ("<name>ha.oss1", "<name>ha.oss2", None),
        ("name='oss1'", "name='oss2'", None),
        ("roles='oss'/>", "><v:address ip='x'/></v:node>", None),
        ("roles='oss'/>", "><v:address ip='10.0.0.1/24' mtu='large'/></v:node>", None),
    ],
)
def test_a_claim_is_a_beds_only_if_metadata_name_and_uuid_agree(old: str, new: str, bed: str | None) -> None:
    """What it takes of the host it takes in any case."""
    assert old in PINNED
    found = claim(PINNED.replace(old, new))
    assert (found.bed, found.node is None) == (bed, bed is None)
    assert bool(found.unreadable) == ("address" in new)
    assert {8, 9} <= found.cpus
    assert len(found.devices) == 3


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<network/>", "domains/x.xml: its root element is <network> (expected <domain>)"),
        ("<domain/>", "domains/x.xml: <name> is missing"),
        (PINNED.replace("cpuset='9'", "cpuset='nine'"), "<vcpupin>: 'nine' is no list of CPUs"),
        (GUEST.format(memory="", backing="", devices="<memory model='dimm'/>"), "a <memory> device has no <size>"),
        (PINNED.replace("bus='0x21'", "bus='0x121'"), "there is no PCI address 0000:121:00.1"),
    ],
)
def test_what_cannot_be_read_is_refused(xml: str, message: str) -> None:
    with pytest.raises(HostError) as raised:
        claim(xml)
    assert message in raised.value.message


def test_a_record_with_metadata_that_cannot_be_understood_is_read_and_named(tmp_path: Path) -> None:
    for name, text in record(HOSTS["nps4"]).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "domains").mkdir(exist_ok=True)
    (tmp_path / "domains/a.xml").write_text(PINNED.replace("roles='oss'/>", "><v:address ip='x'/></v:node>"))
    told: list[str] = []
    tell_warnings(told.append)
    found = recorded(tmp_path)
    assert "ha.oss1" in {claim.domain for claim in found.claims if claim.bed is None}
    (line,) = told
    assert line.startswith(f"{tmp_path}: domain ha.oss1: vmlab's metadata of it cannot be understood (")
