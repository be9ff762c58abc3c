"""Golden domains for given placements: valid by libvirt's schema, and kept whole by its test driver."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from vmlab.domainxml.build import WantedDomain, build
from vmlab.domainxml.devices import Disk, Interface
from vmlab.domainxml.hostdev import Hostdev
from vmlab.domainxml.metadata import NodeMetadata
from vmlab.domainxml.read import DomainFacts, read_domain
from vmlab.domainxml.template import parse_template
from vmlab.domainxml.text import text
from vmlab.domainxml.tuning import GuestCell, Tuning, guest_threads
from vmlab.values.pci import PciAddress

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "domain-templates/server.xml"
GOLDEN = ROOT / "tests/golden/domains/tuned"
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
METADATA = NodeMetadata("lab", "n1", ("oss",), "demo", "root", "", ())
GIB = 1 << 20
PAIRED = {cpu: frozenset({cpu % 4, cpu % 4 + 4}) for cpu in range(8)}
HCA, VF0, VF1 = (PciAddress.parse(text) for text in ("0000:41:00.0", "0000:41:00.2", "0000:c1:01.7"))


def machine(name: str, vcpus: int, memory_kib: int) -> WantedDomain:
    return WantedDomain(
        name=f"lab.{name}",
        uuid="5b1bc070-2c4d-55b3-a944-482b5b3fb352",
        domain_type="kvm",
        vcpus=vcpus,
        memory_kib=memory_kib,
        page_kib=None,
        boot=None,
        disks=(Disk("/pool/root.qcow2", "qcow2", "root"), Disk("/pool/seed.iso", "raw", "seed", readonly=True)),
        interfaces=(Interface("52:54:00:00:00:01", "vmlab-lab-mgmt", None),),
        console_log="/pool/console.log",
    )


def two_cells(page_kib: int | None = None) -> Tuning:
    """vCPUs 0 and 1 on a core of host cell 0, 2 and 3 on one of cell 1."""
    near, far = {0: (1,), 1: (5,)}, {2: (3,), 3: (7,)}
    return Tuning(
        (GuestCell(near, 2 * GIB, 0, page_kib, (10, 21)), GuestCell(far, 2 * GIB, 1, GIB, (21, 10))), (0, 4), threads=2
    )


ONE_CELL = Tuning((GuestCell({0: (1,), 1: (2,), 2: (3,), 3: (4,)}, 4 * GIB, host_cell=0),), emulator_cpus=(0,))
SHARED = Tuning((GuestCell({0: (1, 2, 3), 1: (1, 2, 3)}, 2 * GIB, host_cell=1),), emulator_cpus=(1, 2, 3))
CASES = {
    "one-cell": replace(machine("one-cell", 4, 4 * GIB), tuning=ONE_CELL, hostdevs=(Hostdev(VF0, 0),)),
    "two-cells-vfs": replace(
        machine("two-cells-vfs", 4, 4 * GIB), tuning=two_cells(GIB), hostdevs=(Hostdev(VF0, 0), Hostdev(VF1, 1))
    ),
    "two-cells-pages-differ": replace(machine("two-cells-pages-differ", 4, 4 * GIB), tuning=two_cells()),
    "shared-pins": replace(machine("shared-pins", 2, 2 * GIB), tuning=SHARED),
    "whole-function": replace(
        machine("whole-function", 4, 4 * GIB),
        tuning=two_cells(2048),
        hostdevs=(Hostdev(HCA, 1), Hostdev(HCA._replace(function=1), 1)),
    ),
    "emulated": replace(
        machine("emulated", 4, 4 * GIB), domain_type="qemu", tuning=two_cells(GIB), hostdevs=(Hostdev(VF0, 1),)
    ),
}


def built(wanted: WantedDomain, template: bytes | None = None) -> etree._Element:
    source = TEMPLATE.read_bytes() if template is None else template
    return build(parse_template(source, TEMPLATE), wanted, METADATA)


def placed(facts: DomainFacts) -> tuple[Mapping[int, frozenset[int]], frozenset[int], tuple[PciAddress, ...]]:
    return facts.details.pins, facts.details.nodeset, facts.hostdevs


@pytest.mark.parametrize("name", CASES)
def test_tuned_domains_are_golden_and_valid(name: str, golden: Callable[[Path, str], None]) -> None:
    domain = built(CASES[name])
    golden(GOLDEN / f"{name}.xml", text(domain))
    etree.RelaxNG(etree.parse(SCHEMA)).assertValid(domain)


@pytest.mark.parametrize("name", CASES)
def test_libvirt_keeps_what_was_asked_for(name: str) -> None:
    wanted = CASES[name]
    domain = built(wanted)
    asked = read_domain(text(domain))
    domain.set("type", "test")
    test = libvirt.open("test:///default")
    kept = test.defineXML(text(domain)).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert placed(read_domain(kept)) == placed(asked)
    assert asked.memory_kib == read_domain(kept).memory_kib == wanted.memory_kib
    assert wanted.tuning is not None
    assert asked.details.pins == {v: frozenset(cpus) for cell in wanted.tuning.cells for v, cpus in cell.vcpus.items()}
    assert asked.details.nodeset == {cell.host_cell for cell in wanted.tuning.cells}
    assert asked.hostdevs == tuple(hostdev.address for hostdev in wanted.hostdevs)
    # The order is libvirt's own: what both have, they have in the same order.
    ours, theirs = ([str(e.tag) for e in root] for root in (domain, etree.fromstring(kept)))
    assert [tag for tag in ours if tag in theirs] == [tag for tag in theirs if tag in ours]


@pytest.mark.parametrize(
    ("pins", "threads"),
    [
        ([((0,), (4,))], 2),
        ([((0,), (4,)), ((1,), (5,), (6,), (2,))], 2),
        ([((0,), (1,), (4,), (5,))], 1),  # vCPUs 0 and 1 are on two cores
        ([((0,), (4,), (1,))], 1),  # a core and a half
        ([((0,), (4,)), ((1,),)], 1),
        ([((0, 4), (0, 4))], 1),  # shared: they float
        ([((0,), ())], 1),
    ],
)
def test_guest_threads_are_siblings_on_the_host(pins: list[tuple[tuple[int, ...], ...]], threads: int) -> None:
    cells, first = [], 0
    for row in pins:
        cells.append(GuestCell(dict(enumerate(row, first)), GIB))
        first += len(row)
    assert guest_threads(cells, PAIRED) == threads
    assert guest_threads(cells, {cpu: frozenset({cpu}) for cpu in range(8)}) == 1


def test_cells_of_different_sizes_share_no_socket() -> None:
    cells = (GuestCell({0: (), 1: ()}, GIB), GuestCell({2: (), 3: (), 4: (), 5: ()}, GIB))
    domain = built(replace(machine("uneven", 6, 2 * GIB), tuning=Tuning(cells, threads=2)))
    topology = domain.find("cpu/topology")
    assert topology is not None
    assert dict(topology.attrib) == {"sockets": "3", "dies": "1", "cores": "1", "threads": "2"}


@pytest.mark.parametrize(("threads", "features"), [(2, ["topoext"]), (1, [])])
def test_guests_on_amd_are_told_of_their_threads(threads: int, features: list[str]) -> None:
    tuning = replace(two_cells(GIB), threads=threads, topoext=True)
    domain = built(replace(CASES["two-cells-vfs"], tuning=tuning))
    assert [e.get("name") for e in domain.iterfind("cpu/feature")] == features
    assert [e.tag for e in domain.iterfind("cpu/*")] == ["topology", *("feature" for _ in features), "numa"]


def test_what_is_not_placed_is_not_written() -> None:
    domain = built(replace(machine("free", 2, GIB), tuning=Tuning((GuestCell({0: (), 1: ()}, GIB),))))
    for tag in ("cputune", "numatune", "memoryBacking", "iothreads", "cpu/numa"):
        assert domain.find(tag) is None, tag


def test_a_templates_own_tuning_gives_way_and_its_shares_stay() -> None:
    own = b"""<domain type='kvm'><name>t</name>
      <memoryBacking><hugepages/><nosharepages/></memoryBacking>
      <vcpu placement='auto' cpuset='0-3' current='1'>4</vcpu>
      <iothreads>2</iothreads>
      <cputune><shares>512</shares><vcpupin vcpu='3' cpuset='7'/><emulatorpin cpuset='7'/></cputune>
      <numatune><memory mode='preferred' nodeset='7'/></numatune>
      <os><type>hvm</type></os><cpu mode='host-passthrough'><topology sockets='4' cores='1' threads='1'/>
      <cache mode='passthrough'/><feature policy='require' name='topoext'/></cpu>
      <devices><memballoon model='virtio'/></devices></domain>"""
    domain = built(CASES["one-cell"], own)
    assert [child.tag for child in domain] == [
        *("name", "uuid", "metadata", "memory", "memoryBacking", "vcpu", "iothreads", "cputune", "numatune", "os"),
        *("cpu", "devices"),
    ]
    vcpu, cputune, cpu = (domain.find(tag) for tag in ("vcpu", "cputune", "cpu"))
    assert vcpu is not None and cputune is not None and cpu is not None  # noqa: PT018 - for the type checker
    assert dict(vcpu.attrib) == {"placement": "static"}
    assert [e.tag for e in cputune] == ["shares", *["vcpupin"] * 4, "emulatorpin", "iothreadpin", "iothreadpin"]
    assert [e.tag for e in cpu] == ["topology", "cache", "feature"]
    assert [e.get("nodeset") for e in domain.iterfind("numatune/memory")] == ["0"]
    assert [e.tag for e in domain.iterfind("memoryBacking/*")] == ["nosharepages"]
    assert [e.get("model") for e in domain.iterfind("devices/memballoon")] == ["none"]


def test_expander_buses_keep_off_the_templates_controllers() -> None:
    own = b"""<domain type='kvm'><name>t</name><os><type>hvm</type></os><devices>
      <controller type='pci' index='0' model='pcie-root'/><controller type='pci' model='pcie-root-port'/>
      <controller type='pci' index='40' model='pcie-expander-bus'><target busNr='0xc8'/></controller>
      </devices></domain>"""
    wanted = replace(CASES["two-cells-vfs"], domain_type="test")
    domain = built(wanted, own)
    ours = [c for c in domain.iterfind("devices/controller[@index]") if c.get("index") not in ("0", "40")]
    assert [(c.get("index"), c.get("model")) for c in ours] == [
        ("41", "pcie-expander-bus"),
        ("42", "pcie-root-port"),
        ("43", "pcie-expander-bus"),
        ("44", "pcie-root-port"),
    ]
    assert [t.get("busNr") for c in ours for t in c.iterfind("target")] == ["198", "196"]
    test = libvirt.open("test:///default")
    assert test.defineXML(text(domain)).name() == wanted.name


def test_a_remote_function_hangs_on_no_cells_bus() -> None:
    wanted = CASES["two-cells-vfs"]
    remote = Hostdev(PciAddress(0, 0xC1, 0, 0))
    domain = built(replace(wanted, hostdevs=(*wanted.hostdevs, remote)))
    element = domain.findall("devices/hostdev")[-1]
    assert element.find("address") is None
    plain = "count(devices/controller[@model='pcie-root-port'][not(@index)])"
    assert domain.xpath(plain) == built(wanted).xpath(plain) + 1
