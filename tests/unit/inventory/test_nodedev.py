from pathlib import Path

import pytest
from lxml import etree
from recorded_hosts import CX3, HOSTS, Device, HostCell, HostPlan, record

from vmlab.errors import HostError
from vmlab.inventory.model import HostInventory, Port
from vmlab.inventory.nodedev import read_nodedevs
from vmlab.inventory.record import read_record
from vmlab.values.pci import PciAddress

FOLDER = Path(__file__).parents[2] / "hosts"
SCHEMA = Path("/usr/share/libvirt/schemas/nodedev.rng")
at = PciAddress.parse


def host(name: str) -> HostInventory:
    files = {path.relative_to(FOLDER / name).as_posix(): path.read_text() for path in (FOLDER / name).rglob("*.*")}
    return read_record(name, files)


@pytest.mark.parametrize("name", sorted(HOSTS))
def test_the_recorded_hosts_are_what_their_plan_says(name: str) -> None:
    written = {path.relative_to(FOLDER / name).as_posix(): path.read_text() for path in (FOLDER / name).rglob("*.*")}
    assert written == record(HOSTS[name]), "python tests/recorded_hosts.py"


def test_the_recorded_devices_are_libvirts() -> None:
    schema = etree.RelaxNG(etree.parse(SCHEMA))
    for path in FOLDER.glob("*/nodedev/*.xml"):
        if "_80_00_" not in path.name:  # libvirt prints the 20 bytes of an IPoIB address, against its own schema
            schema.assertValid(etree.parse(path))


def test_a_connectx3_known_by_node_devices_alone() -> None:
    found = host("fta-1s")
    function = found.functions[at("0000:04:00.0")]
    assert (function.generation, function.is_network, function.cell, function.total_vfs) == ("mlx4", True, 0, 16)
    assert function.ports == (Port(1, "infiniband", "ib0", guid="0002:c903:0000:0401", state="up"),)
    assert function.virtual_functions == tuple(PciAddress(0, 4, number >> 3, number & 7) for number in range(1, 13))
    virtual = found.functions[at("0000:04:00.1")]
    assert (virtual.generation, virtual.driver, virtual.physical_function) == ("mlx4", None, function.address)
    assert [member.address for member in found.group(virtual)] == [virtual.address]
    assert found.functions[at("0000:00:01.0")].is_bridge


def test_the_emulated_lab_host() -> None:
    found = host("lab-host")
    port = found.functions[at("0000:21:00.0")]
    assert (port.driver, port.generation, port.cell, port.iommu_group) == ("igb", "other", 0, 13)
    assert (port.total_vfs, port.sriov_offset, port.sriov_stride) == (7, 128, 2)
    assert list(map(str, port.virtual_functions)) == [f"0000:21:10.{n}" for n in (0, 2, 4, 6)]
    assert port.ports == (Port(1, "ethernet", "ens10", mac="52:54:00:10:00:00", state="down"),)
    shared = found.group(found.functions[at("0000:63:01.0")])
    assert [(str(f.address), f.driver, f.is_bridge) for f in shared] == [
        ("0000:62:00.0", "shpchp", True),
        ("0000:63:01.0", "e1000", False),
        ("0000:63:02.0", "e1000", False),
    ]
    assert found.functions[at("0000:00:02.0")].used_by == "the default route, over mgmt0"
    assert found.no_iommu is None


def test_two_ports_of_one_function_and_children_of_an_ipoib_interface() -> None:
    device = Device(
        "0000:81:00.0",
        CX3,
        "mlx4_core",
        0,
        guids=("0002:c903:0000:8102", "0002:c903:0000:8101", "0002:c903:0000:8101"),
        interfaces=("ib2", "ib3", "ib3.8001"),
    )
    files = record(HostPlan([HostCell(1, 1)], [device]))
    function = read_record("h", files).functions[at("0000:81:00.0")]
    assert [(p.number, p.interface, p.guid) for p in function.ports] == [
        (1, "ib3", "0002:c903:0000:8101"),
        (2, "ib2", "0002:c903:0000:8102"),
    ]


def test_what_others_name_is_there_though_nothing_describes_it() -> None:
    """libvirt lists fresh virtual functions two seconds late; a record may leave out all but the HCAs."""
    files = {n: t for n, t in record(HOSTS["fta-1s"]).items() if n.endswith("pci_0000_04_00_0.xml")}
    functions = read_nodedevs(files)
    assert len(functions) == 13
    assert functions[at("0000:04:01.4")].physical_function == at("0000:04:00.0")
    assert functions[at("0000:04:01.4")].is_network
    files = {n: t for n, t in record(HOSTS["shared-group"]).items() if n.endswith("pci_0000_41_00_0.xml")}
    hidden = read_nodedevs(files)[at("0000:42:00.0")]
    assert (hidden.iommu_group, hidden.is_bridge) == (4, False)
    assert hidden.driver is None


def test_a_virtual_function_that_its_physical_one_does_not_name() -> None:
    texts = record(HOSTS["fta-1s"])
    name = "nodedev/pci_0000_04_00_0.xml"
    bare = etree.fromstring(texts[name])
    for capability in bare.findall("capability/capability"):
        capability.getparent().remove(capability)
    functions = read_nodedevs(
        {**texts, name: etree.tostring(bare, encoding="unicode")} | {"capabilities.xml": "<device/>"}
    )
    assert len(functions[at("0000:04:00.0")].virtual_functions) == 12


@pytest.mark.parametrize("index", [0, 1])
def test_classes_before_libvirt_told_them(index: int) -> None:
    name, expected = (("pci_0000_04_00_0", 0x028000), ("pci_0000_00_01_0", 0x060400))[index]
    text = record(HOSTS["fta-1s"])[f"nodedev/{name}.xml"]
    start, end = text.index("<class>"), text.index("</class>") + len("</class>")
    assert next(iter(read_nodedevs({"x": text[:start] + text[end:]}).values())).class_code == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<bus>4</bus>", "<bus>300</bus>", "there is no PCI address 0000:12c:00.0"),
        ("<bus>4</bus>", "", "x: <bus>: '' is no number"),
        ("id='0x1003'", "id='ConnectX'", "x: <product id>: 'ConnectX' is no number"),
        ("node='0'", "node='none'", "x: <numa node>: 'none' is no number"),
    ],
)
def test_what_cannot_be_read_is_refused(old: str, new: str, message: str) -> None:
    text = record(HOSTS["fta-1s"])["nodedev/pci_0000_04_00_0.xml"].replace('"', "'")
    assert old in text
    with pytest.raises(HostError) as raised:
        read_nodedevs({"x": text.replace(old, new)})
    assert message in raised.value.message
