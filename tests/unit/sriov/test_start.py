"""The door by which domains start: what a definition says of devices is checked, set up and taken, whoever asks."""

from ipaddress import IPv4Interface
from pathlib import Path, PurePosixPath
from typing import Any

import libvirt
import pytest
from lxml import etree

from vmlab.domainxml.metadata import Address, NodeMetadata, node_element
from vmlab.domainxml.read import read_domain
from vmlab.errors import HostError
from vmlab.inventory.model import Claim, HostInventory
from vmlab.plan.actions import StartDomain
from vmlab.plan.starting import VfIdentity, identities
from vmlab.topology.bed import VfSettings
from vmlab.values.identity import domain_uuid
from vmlab.values.pci import PciAddress
from vmlab.virt import passthrough
from vmlab.virt import start as door
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine
from vmlab.virt.perform import perform

from .conftest import make_tree, put_double
from .hosts import CX5, IGB, IGB_VFS, changed, claim, hosts
from .kernel import Kernel

CX5_VFS = (PciAddress.parse("0000:41:00.1"), PciAddress.parse("0000:41:00.2"))
MAC, GUID = "52:54:00:aa:00:01", "0200:1122:3344:0003"
VLAN = VfSettings(vlan=100, trust=False)


def address(interface: str, mac: str, vf: VfSettings | None = None, *, kind: str = "ethernet") -> Address:
    return Address(interface.partition("-")[0], kind, "vf", interface, mac, IPv4Interface("10.0.0.2/24"), vf=vf)


def domain(ports: dict[str, PciAddress], *addresses: Address) -> str:
    """A definition as `domainxml` makes it, with what matters here."""
    places = (*addresses, Address("mgmt", "management", "virtio", "mgmt", MAC, IPv4Interface("10.77.0.11/24")))
    root = etree.Element("domain", type="kvm")
    etree.SubElement(root, "name").text = "b.n1"
    etree.SubElement(root, "uuid").text = domain_uuid("b", "n1")
    etree.SubElement(root, "memory").text = "1024"
    etree.SubElement(root, "metadata").append(node_element(NodeMetadata("b", "n1", (), "demo", "root", "", places)))
    devices = etree.SubElement(root, "devices")
    for function in dict.fromkeys(ports.values()):
        hostdev = etree.SubElement(devices, "hostdev", mode="subsystem", type="pci", managed="yes")
        named = str(function).replace(".", ":").split(":")
        parts = zip(("domain", "bus", "slot", "function"), named, strict=True)
        etree.SubElement(etree.SubElement(hostdev, "source"), "address", {name: f"0x{value}" for name, value in parts})
        serves = "_".join(interface for interface, at in ports.items() if at == function)
        etree.SubElement(hostdev, "alias", name=f"ua-{serves}")
    return etree.tostring(root, encoding="unicode")


def hca() -> HostInventory:
    inventory = changed(hosts(igb_vfs=4), CX5, virtual_functions=CX5_VFS)
    functions = dict(inventory.functions)
    for vf in CX5_VFS:
        functions[vf] = changed(hosts(), CX5, physical_function=CX5, ports=(), total_vfs=0).functions[CX5]
        functions[vf] = type(functions[vf])(
            vf, 0x020700, 0x15B3, 0x1018, driver="mlx5_core", iommu_group=30, physical_function=CX5
        )
    return HostInventory(inventory.name, inventory.arch, inventory.cells, functions, inventory.claims)


def test_a_definition_tells_who_a_vf_is() -> None:
    xml = domain(
        {"xge": IGB_VFS[1], "ib0": CX5_VFS[1], "ib0-1": CX5_VFS[1], "pf": CX5},
        address("xge", MAC, VLAN),
        address("ib0", GUID, kind="infiniband"),
        address("ib0-1", GUID, kind="infiniband"),
        address("pf", GUID, kind="infiniband"),
        address("eth", MAC),
    )
    assert identities(read_domain(xml), hca()) == (
        VfIdentity(IGB, 1, IGB_VFS[1], MAC, VLAN),
        VfIdentity(CX5, 1, CX5_VFS[1], None, VfSettings()),
    )


def test_settings_of_a_vf_are_written_and_read() -> None:
    for settings in (None, VLAN, VfSettings(vlan=0), VfSettings(spoof_check=True, trust=True)):
        facts = read_domain(domain({}, address("xge", MAC, settings)))
        assert facts.metadata is not None
        assert facts.metadata.addresses[0].vf == settings


@pytest.fixture(autouse=True)
def no_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console of an earlier start is another door's: `test_kept_consoles`."""
    monkeypatch.setattr(door, "put_aside", lambda *_: None)
    monkeypatch.setattr(door, "pool_path", lambda *_: "/nowhere")


class Libvirt(Host):
    """A connection, its only domain, and its node devices."""

    def __init__(self, xml: str, kernel: Kernel, *, active: bool = False) -> None:
        self.uri = "qemu:///system"
        self.xml = xml
        self.active = active
        self.kernel = kernel
        self.done: list[str] = []

    def call(self, action: Any, **_: Any) -> Any:
        return action(self)

    def lookupByName(self, _name: str) -> "Libvirt":  # noqa: N802
        return self

    def isActive(self) -> bool:  # noqa: N802
        return self.active

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        assert flags == libvirt.VIR_DOMAIN_XML_INACTIVE
        return self.xml

    def create(self) -> None:
        self.done.append("create")

    def nodeDeviceLookupByName(self, name: str) -> "Libvirt":  # noqa: N802
        self.done.append(name)
        return self

    def detachFlags(self, _driver: None, _flags: int) -> None:  # noqa: N802
        self.done.append("detach")


@pytest.fixture
def ip(doubles: Path, tmp_path: Path) -> Path:
    log = tmp_path / "ip.log"
    put_double(doubles, "ip", f'echo "$*" >> "{log}"')
    return log


def started(
    xml: str, inventory: HostInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, active: bool = False
) -> Libvirt:
    folder = f"bus/pci/devices/{IGB_VFS[1]}"
    tree = {
        "bus/pci/drivers/vfio-pci/unbind": "",
        f"bus/pci/devices/{IGB}/net/ens10/type": "1\n",
        f"bus/pci/devices/{IGB}/virtfn1": f"-> ../{IGB_VFS[1]}",
        f"{folder}/physfn": f"-> ../{IGB}",
        f"{folder}/iommu_group": "-> ../../../kernel/iommu_groups/16",
    }
    kernel = Kernel(make_tree(tmp_path / "sys", tree))
    make_tree(tmp_path / "vfio", {"16": ""})
    host = Libvirt(xml, kernel, active=active)
    monkeypatch.setattr(door, "inventory", lambda _: inventory)
    monkeypatch.setattr(door, "sysfs_of", lambda _: kernel)
    monkeypatch.setattr(door, "machine_of", lambda _: Machine())

    def take(*arguments: Any) -> None:
        passthrough.take(*arguments, vfio=PurePosixPath(tmp_path / "vfio"))

    monkeypatch.setattr(door, "take", take)
    perform(host, StartDomain("b.n1", "n1", "power on"))
    return host


XML = domain({"xge": IGB_VFS[1]}, address("xge", MAC, VLAN))


def test_a_start_gives_a_vf_its_mac_and_takes_it(ip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = started(XML, hosts(igb_vfs=4), tmp_path, monkeypatch)
    assert host.done == ["pci_0000_21_10_2", "detach", "create"]
    assert ip.read_text().splitlines() == [
        "link set dev ens10 up",
        f"link set dev ens10 vf 1 mac {MAC}",
        "link set dev ens10 vf 1 vlan 100",
        "link set dev ens10 vf 1 trust off",
    ]


def test_a_start_without_devices_asks_the_host_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(domain({}), hosts(), tmp_path, monkeypatch).done == ["create"]


def test_what_runs_is_left_alone(ip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(XML, hosts(igb_vfs=4), tmp_path, monkeypatch, active=True).done == []
    assert not ip.exists()


@pytest.mark.parametrize(
    ("inventory", "why"),
    [
        (hosts(claim("other", IGB_VFS[1]), igb_vfs=4), "belongs to the domain other, which runs"),
        (hosts(), f"the host has no PCI function {IGB_VFS[1]}"),
        (changed(hosts(igb_vfs=4), IGB_VFS[1], used_by="the default route"), "is used by the host"),
    ],
)
def test_a_function_that_is_in_use_is_not_taken(
    inventory: HostInventory, why: str, ip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HostError, match=why):
        started(XML, inventory, tmp_path, monkeypatch)
    assert not ip.exists()


def test_its_own_claim_is_no_hindrance(ip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Claim("b.n1", "b", "n1", running=False, devices=frozenset({IGB_VFS[1]}))
    assert started(XML, hosts(own, igb_vfs=4), tmp_path, monkeypatch).done[-1] == "create"
    assert ip.exists()
