"""Records of hosts from the field: what counts as a port, what is in use, and what is refused with its reason."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from lxml import etree

from vmlab.domainxml.read import read_domain
from vmlab.errors import HostError
from vmlab.lab.beds.decide import Prepared
from vmlab.lab.beds.plan import look_at_records
from vmlab.lab.ground.progress import Silent
from vmlab.plan.actions import CreateVfs, ReturnDevices
from vmlab.topology import load, loads

CASES = Path(__file__).parents[2] / "cases/devices"
NODES = """
name: b
fabrics: {{f: {{kind: {kind}, attach: {attach}{more}}}}}
nodes: {{"c[1-{count}]": {{role: client, cpus: 1, memory: 1GiB, fabrics: {use}, numa: preferred}}}}
"""


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path / "state"))


class Lab:
    """A case's host, whose files a test may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def change(self, name: str, *changes: tuple[str, str]) -> None:
        text = (self.folder / name).read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.write(name, text)

    def domain(self, devices: str, *, running: bool = True, name: str = "guest") -> None:
        id_ = " id='7'" if running else ""
        inside = f"<name>{name}</name><memory unit='GiB'>1</memory><devices>{devices}</devices>"
        self.write(f"domains/{name}.xml", f"<domain type='kvm'{id_}>{inside}</domain>")

    def net(
        self, parent: str, name: str, address: str, *, path: str = "", more: str = "<capability type='80203'/>"
    ) -> None:
        self.write(
            f"nodedev/net_{name}.xml",
            f"<device><name>net_{name}</name><path>{path or f'/sys/devices/pci0000:00/{parent}/net/{name}'}</path>"
            f"<parent>{parent}</parent><capability type='net'><interface>{name}</interface>"
            f"<address>{address}</address>{more}</capability></device>",
        )

    def plan(
        self, kind: str, attach: str, count: int = 1, *, ports: int = 1, device: Mapping[str, object] | None = None
    ) -> Prepared:
        use = f"{{f: {{count: {ports}}}}}" if ports > 1 else "[f]"
        more = f", device: {json.dumps(device)}" if device else ""
        text = NODES.format(kind=kind, attach=attach, count=count, use=use, more=more)
        return look_at_records(loads(text, "b.yaml"), [str(self.folder)], progress=Silent())

    def given(self, *what: object, **how: object) -> list[str]:
        prepared = self.plan(*what, **how)  # type: ignore[arg-type]
        assert prepared.places.placement is not None
        return [str(d.address) for node in prepared.places.placement.nodes.values() for d in node.devices]

    def refused(self, *what: object, **how: object) -> str:
        with pytest.raises(HostError) as refusal:
            self.plan(*what, **how)  # type: ignore[arg-type]
        return refusal.value.message


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    shutil.copytree(CASES / request.param, tmp_path / "host")
    return Lab(tmp_path / "host")


def on(case: str, host: str = "host") -> pytest.MarkDecorator:
    return pytest.mark.parametrize("lab", [f"{case}/{host}"], indirect=True)


@pytest.mark.parametrize(
    ("case", "host", "named"),
    [
        ("vmd-domain/topology.yaml", "host-facts", "10000:01:00.0 is refused for xge: the host uses it"),
        ("switchdev-representors/topology.yaml", "host", "0000:07:00.0"),
        ("macvtap-on-vf/topology.yaml", "host", "0000:81:10.0: the domain instance-0000001a uses it (macvtap on"),
        ("macvtap-on-vf/two.yaml", "host", "0000:81:10.0: the domain instance-0000001a uses it (macvtap on"),
        ("vf-on-vfio-no-domain/topology.yaml", "host", "0000:3b:02.1: bound to vfio-pci: a program of the host"),
        ("vpi-one-ib-one-eth/topology.yaml", "host", "0000:04:00.0 has no more for ib0: the link layer of port 2"),
        ("pf-on-vfio-vf-wanted/topology.yaml", "host", "0000:01:00.1 is refused for xge: it is bound to vfio-pci"),
        ("pf-on-vfio-vf-wanted/topology.yaml", "host-with-class", "0000:01:00.0 is refused for xge: it is bound to"),
        ("wifi-as-hca/passthrough.yaml", "host", "0000:04:00.0 is refused for ib0: it is a Wi-Fi card"),
    ],
)
def test_refused_with_the_device_and_the_reason(case: str, host: str, named: str) -> None:
    file = CASES / case
    with pytest.raises(HostError) as refused:
        look_at_records(load(file), [str(file.parent / host)], progress=Silent())
    assert named in refused.value.message


@pytest.mark.parametrize(
    ("case", "given"),
    [
        ("vmd-domain/topology.yaml", ["10000:01:00.0"]),
        ("vmd-domain/plain.yaml", ["0000:41:00.0"]),
        ("vf-on-vfio-no-domain/two.yaml", ["0000:3b:02.2", "0000:3b:02.3"]),
        ("vpi-one-ib-one-eth/both.yaml", ["0000:04:00.0", "0000:04:00.0"]),
        ("pf-on-vfio-vf-wanted/passthrough.yaml", ["0000:01:00.0"]),
        ("wifi-as-hca/topology.yaml", []),
    ],
)
def test_given(case: str, given: list[str]) -> None:
    file = CASES / case
    prepared = look_at_records(load(file), [str(file.parent / "host")], progress=Silent())
    assert prepared.places.placement is not None
    devices = [str(d.address) for node in prepared.places.placement.nodes.values() for d in node.devices]
    assert devices == given
    assert not any(isinstance(action, CreateVfs) for action in prepared.plan.actions)


def test_the_status_of_a_refusal(tmp_path: Path) -> None:
    case = CASES / "vf-on-vfio-no-domain"
    command = [sys.executable, "-m", "vmlab", "plan", str(case / "topology.yaml"), "--inventory", str(case / "host")]
    env = {"PATH": "/usr/bin:/bin", "VMLAB_STATE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "0000:3b:00.0 has no more for xge" in done.stderr


# --- Ports ---


@on("switchdev-representors")
def test_representors_are_no_ports(lab: Lab) -> None:
    for number in (2, 3, 4, 5):
        (lab.folder / f"nodedev/pci_0000_07_00_{number}.xml").unlink()
    lab.change(
        "nodedev/pci_0000_07_00_0.xml", *((f"<address domain='0x0000' bus='0x07' slot='0x00' function='0x{n}'/>\n", "")
        for n in (2, 3, 4, 5)),
    )  # fmt: skip
    assert lab.given("ethernet", "passthrough") == ["0000:07:00.0"]
    assert "free 1" in lab.refused("ethernet", "passthrough", ports=2)
    message = lab.refused("infiniband", "passthrough")
    assert "0000:07:00.0 is refused for f: its link layer is Ethernet" in message


@on("switchdev-representors")
@pytest.mark.parametrize(
    "name", ["eth0", "enp7s0f0npf0vf0", "eth0_0", "pf0hpf", "en7f0pf0sf88", "pf0vf0", "enp7s0f0_9"]
)
def test_representors_under_other_names(lab: Lab, name: str) -> None:
    """Even where the name says nothing: a card of one port has one, and it is that with the burnt-in address."""
    lab.net("pci_0000_07_00_0", name, "e2:00:00:00:07:09")
    assert lab.plan("ethernet", "vf").places.hosts["local"].functions.keys()
    inventory = lab.plan("ethernet", "vf").places.hosts["local"]
    ports = {str(a): [p.interface for p in f.ports] for a, f in inventory.functions.items()}
    assert ports["0000:07:00.0"] == ["enp7s0f0"]


@on("macvtap-on-vf")
def test_representors_and_subfunctions_of_another_maker(lab: Lab) -> None:
    """ice has both, too, and nothing says that its functions have one port each."""
    lab.net("pci_0000_81_00_0", "eth7", "0a:00:00:00:00:07")
    lab.net("pci_0000_81_00_0", "enp129s0f0npf0vf1", "00:11:22:33:44:55")
    lab.net(
        "pci_0000_81_00_0", "enp129s0f0s88", "00:11:22:33:44:56",
        path="/sys/devices/pci0000:80/0000:81:00.0/ice.sf.4/net/enp129s0f0s88",
    )  # fmt: skip
    inventory = lab.plan("ethernet", "vf").places.hosts["local"]
    ports = {str(a): [p.interface for p in f.ports] for a, f in inventory.functions.items()}
    assert ports["0000:81:00.0"] == ["enp129s0f0"]


@on("vpi-one-ib-one-eth")
def test_vpi_with_ethernet_first(lab: Lab) -> None:
    (lab.folder / "nodedev/net_enp4s0d1_00_02_c9_0e_b1_9e.xml").unlink()
    lab.net("pci_0000_04_00_0", "enp4s0", "00:02:c9:0e:b1:9d")
    topology = load(CASES / "vpi-one-ib-one-eth/both.yaml")
    prepared = look_at_records(topology, [str(lab.folder)], progress=Silent())
    (function,) = prepared.places.hosts["local"].functions.values()
    assert [(port.number, port.link_layer) for port in function.ports] == [(1, "ethernet"), (2, "infiniband")]
    macs = {a.interface: a.mac for a in prepared.nodes["oss1"].metadata.addresses}
    assert macs["xge"] == "00:02:c9:0e:b1:9d"
    assert macs["ib0"] == "0002:c903:000e:b19d"
    for kind in ("infiniband", "ethernet"):
        assert lab.given(kind, "passthrough") == ["0000:04:00.0"]
        assert "free 1" in lab.refused(kind, "passthrough", ports=2)


@on("vpi-one-ib-one-eth")
def test_each_fabric_has_the_port_of_its_kind(lab: Lab) -> None:
    topology = load(CASES / "vpi-one-ib-one-eth/both.yaml")
    prepared = look_at_records(topology, [str(lab.folder)], progress=Silent())
    macs = {a.interface: a.mac for a in prepared.nodes["oss1"].metadata.addresses}
    assert (macs["ib0"], macs["xge"]) == ("0002:c903:000e:b19d", "00:02:c9:0e:b1:9e")


@on("vpi-one-ib-one-eth")
def test_two_vpi_cards_serve_two_ports_of_each_kind(lab: Lab) -> None:
    for path in list((lab.folder / "nodedev").iterdir()):
        text = path.read_text().replace("pci_0000_04", "pci_0000_05").replace("0000:04", "0000:05")
        text = text.replace("<bus>4</bus>", "<bus>5</bus>").replace("bus='0x04'", "bus='0x05'")
        text = text.replace("number='31'", "number='32'").replace("enp4", "enp5").replace("ib0", "ib1")
        text = text.replace("b1:9", "b2:9")
        lab.write(f"nodedev/other_{path.name}", text)
    text = """
name: b
fabrics: {ib0: {kind: infiniband, attach: passthrough}, xge: {kind: ethernet, attach: passthrough}}
nodes: {n: {role: client, cpus: 1, memory: 1GiB, fabrics: {ib0: {count: %d}, xge: {count: %d}}}}
"""
    for ib, ethernet in ((2, 2), (2, 1), (1, 2), (1, 1)):
        prepared = look_at_records(loads(text % (ib, ethernet), "b.yaml"), [str(lab.folder)], progress=Silent())
        assert prepared.places.placement is not None
        devices = prepared.places.placement.nodes["n"].devices
        for kind, count in (("ib0", ib), ("xge", ethernet)):
            assert len({d.address for d in devices if d.fabric == kind}) == count
        assert len({d.address for d in devices}) == 2


# --- What cannot serve is named ---


@on("wifi-as-hca")
@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("a Wi-Fi card of the Ethernet class", (("0x028000", "0x020000"), ("Wireless ", "")), "Wi-Fi card"),
        ("Wi-Fi of the Ethernet class, without a driver", (("0x028000", "0x020000"),), "Wi-Fi card"),
        ("unknown, of the class", (("Wireless ", ""),), r"network controller of another kind \(class 0x0280\)"),
        ("Omni-Path", (("0x028000", "0x020800"), ("AR9485 Wireless", "Omni-Path HFI")), "Omni-Path: not supported"),
        ("EFA", (("0x028000", "0x020000"), ("0x0034", "0xefa1"), ("0x168c", "0x1d0f")), "EFA: not supported"),
    ],
)
def test_no_hca(lab: Lab, name: str, changes: tuple[tuple[str, str], ...], said: str) -> None:
    lab.change("nodedev/pci_0000_04_00_0.xml", *changes)
    if name.startswith("a "):
        lab.net("pci_0000_04_00_0", "wlp4s0", "00:03:7f:00:00:01", more="<capability type='80211'/>")
    for kind in ("infiniband", "ethernet"):
        message = lab.refused(kind, "passthrough", device={"address": "0000:04:00.0"})
        assert re.search(rf"0000:04:00\.0 is refused for f: .*{said}", message)


@on("wifi-as-hca")
def test_an_omni_path_port_is_no_infiniband_port(lab: Lab) -> None:
    """hfi1 has IPoIB, too, and calls its link layer InfiniBand."""
    lab.change(
        "nodedev/pci_0000_04_00_0.xml", ("0x028000", "0x020800"), ("AR9485 Wireless", "HFI"),
        ("</parent>", "</parent><driver><name>hfi1</name></driver>"),
    )  # fmt: skip
    lab.net("pci_0000_04_00_0", "ib0", "80:81:00:02:fe:80:00:00:00:00:00:00:00:11:75:01:01:78:ec:4d")
    assert "0000:04:00.0 is refused for f: Omni-Path: not supported" in lab.refused("infiniband", "passthrough")


@on("wifi-as-hca")
def test_iwarp_is_an_hca_of_the_wrong_link_layer(lab: Lab) -> None:
    port = {"number": 1, "link_layer": "ethernet", "rdma": "cxgb4_0", "interface": "enp3s0"}
    lab.write("facts.json", json.dumps({"devices": {"0000:03:00.0": {"ports": [port]}}}))
    assert "0000:03:00.0 is refused for f: its link layer is Ethernet" in lab.refused("infiniband", "passthrough")


@on("vmd-domain")
def test_what_the_user_selects_is_never_passed_over(lab: Lab) -> None:
    def said(address: str) -> str:
        return lab.refused("ethernet", "passthrough", device={"address": address})

    assert "10000:e1:00.0 is refused for f: it is no HCA or NIC" in said("10000:e1:00.0")
    assert "10000:99:00.0 is refused for f: the host has no such function" in said("10000:99:00.0")
    assert "0000:41:00.0 is refused for f: its link layer is InfiniBand" in said("0000:41:00.0")
    message = lab.refused("infiniband", "passthrough", device={"pf": "ens1"})
    assert "10000:01:00.0 is refused for f: its link layer is Ethernet" in message
    assert "10000:01:00.0" not in lab.refused("infiniband", "passthrough", 2)  # nobody asked for that NIC


@on("vmd-domain")
def test_a_domain_of_five_digits_in_a_guests_xml(lab: Lab) -> None:
    source = "<address domain='0x10000' bus='0x01' slot='0x00' function='0x0'/>"
    lab.domain(f"<hostdev mode='subsystem' type='pci' managed='yes'><source>{source}</source></hostdev>")
    device = {"address": "10000:01:00.0", "whole_group": True}
    message = lab.refused("ethernet", "passthrough", device=device)
    assert "10000:01:00.0 is refused for f: the domain guest has it" in message
    (lab.folder / "domains/guest.xml").unlink()
    prepared = lab.plan("ethernet", "passthrough", device=device)
    xml = prepared.nodes["c1"].xml
    assert [str(address) for address in read_domain(xml).hostdevs] == ["10000:01:00.0", "0000:64:05.5", "10000:e1:00.0"]
    schema = etree.RelaxNG(etree.parse("/usr/share/libvirt/schemas/domain.rng"))
    schema.assertValid(etree.fromstring(xml))


# --- What is in use ---

MACVTAP = "<interface type='direct'><source dev='{}' mode='passthrough'/></interface>"


@on("macvtap-on-vf")
@pytest.mark.parametrize(
    ("devices", "how"),
    [
        (MACVTAP.format("enp129s0f0v0"), "macvtap on enp129s0f0v0"),
        (MACVTAP.format("enp129s0f0v0.100"), "macvtap on enp129s0f0v0.100"),
        (
            "<interface type='direct'><source network='pool' portid='x' dev='enp129s0f0v0' mode='vepa'/></interface>",
            "macvtap on enp129s0f0v0",
        ),
        (
            (
                "<interface type='network'><source network='pool'/>"
                "<actual type='direct' mode='passthrough'><source dev='enp129s0f0v0'/></actual></interface>"
            ),
            "macvtap on enp129s0f0v0",
        ),
        (
            "<interface type='network'><source network='pool' dev='enp129s0f0v0'/></interface>",
            "macvtap on enp129s0f0v0",
        ),
        ("<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>", "the vDPA device /dev/vhost-vdpa-0"),
        (
            (
                "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>"
                "<address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>"
            ),
            "the mediated device c2177883-f1bb-47f0-914d-32a22e3a8804",
        ),
        (
            "<hostdev mode='capabilities' type='net'><source><interface>enp129s0f0v0</interface></source></hostdev>",
            "the interface enp129s0f0v0",
        ),
    ],
)
def test_a_vf_that_a_guest_uses_without_having_it(lab: Lab, devices: str, how: str) -> None:
    (lab.folder / "domains/instance-0000001a.xml").unlink()
    path = "<path>/sys/devices/pci0000:80/0000:81:10.0/x</path><parent>pci_0000_81_10_0</parent>"
    vdpa = "<capability type='vdpa'><chardev>/dev/vhost-vdpa-0</chardev></capability>"
    lab.write("nodedev/vdpa_vdpa0.xml", f"<device><name>vdpa_vdpa0</name>{path}{vdpa}</device>")
    uuid = "<uuid>c2177883-f1bb-47f0-914d-32a22e3a8804</uuid>"
    mdev = f"<capability type='mdev'><type id='t'/>{uuid}</capability>"
    lab.write("nodedev/mdev_x.xml", f"<device><name>mdev_x</name>{path}{mdev}</device>")
    assert lab.given("ethernet", "vf", 2) == ["0000:81:10.0", "0000:81:10.2"]
    made = lab.plan("ethernet", "vf", 3).plan.host
    assert [(type(action), str(action.pf)) for action in made if isinstance(action, CreateVfs)] == [
        (CreateVfs, "0000:81:00.0")
    ]
    lab.domain(devices)
    assert lab.given("ethernet", "vf") == ["0000:81:10.2"]
    for count in (2, 3):
        message = lab.refused("ethernet", "vf", count)
        assert f"0000:81:10.0: the domain guest uses it ({how})" in message
    assert f"the domain guest uses it ({how})" in lab.refused("ethernet", "passthrough")
    lab.domain(devices, running=False)  # as with a function that a stopped domain has: it will want it back
    assert lab.given("ethernet", "vf") == ["0000:81:10.2"]


@on("macvtap-on-vf")
def test_a_vf_that_a_guest_has_as_an_interface(lab: Lab) -> None:
    (lab.folder / "domains/instance-0000001a.xml").unlink()
    source = "<source><address type='pci' domain='0x0000' bus='0x81' slot='0x10' function='0x0'/></source>"
    for devices in (
        f"<interface type='hostdev' managed='yes'>{source}</interface>",
        f"<interface type='network'><actual type='hostdev'>{source}</actual></interface>",
    ):
        lab.domain(devices)
        assert lab.given("ethernet", "vf") == ["0000:81:10.2"]
        assert "0000:81:10.0: the domain guest has it" in lab.refused("ethernet", "vf", 3)


@on("macvtap-on-vf")
def test_macvtap_on_the_physical_function_leaves_its_vfs_free(lab: Lab) -> None:
    (lab.folder / "domains/instance-0000001a.xml").unlink()
    lab.domain(MACVTAP.format("enp129s0f0"))
    assert lab.given("ethernet", "vf", 2) == ["0000:81:10.0", "0000:81:10.2"]
    assert "0000:81:00.0 is refused for f: the domain guest uses it" in lab.refused("ethernet", "passthrough")


@on("switchdev-representors")
def test_a_vdpa_device_of_which_nothing_tells_the_function(lab: Lab) -> None:
    """Not known is not free."""
    lab.domain("<interface type='vdpa'><source dev='/dev/vhost-vdpa-3'/></interface>")
    message = lab.refused("ethernet", "vf")
    assert "perhaps the domain guest (the vDPA device /dev/vhost-vdpa-3, of which nothing tells" in message


@on("vf-on-vfio-no-domain")
@pytest.mark.parametrize("driver", ["igb_uio", "uio_pci_generic", "mlx5_vfio_pci"])
def test_programs_have_functions_by_other_drivers(lab: Lab, driver: str) -> None:
    for vf in (0, 1):
        lab.change(f"nodedev/pci_0000_3b_02_{vf}.xml", ("vfio-pci", driver))
    assert lab.given("ethernet", "vf", 2) == ["0000:3b:02.2", "0000:3b:02.3"]
    assert f"0000:3b:02.0: bound to {driver}: a program of the host" in lab.refused("ethernet", "vf", 3)


@on("vf-on-vfio-no-domain")
def test_a_vf_on_vfio_of_a_domain_is_that_domains(lab: Lab) -> None:
    source = "<source><address domain='0x0000' bus='0x3b' slot='0x02' function='0x0'/></source>"
    lab.domain(f"<hostdev mode='subsystem' type='pci' managed='yes'>{source}</hostdev>")
    assert "0000:3b:02.0: the domain guest has it" in lab.refused("ethernet", "vf", 3)


@on("pf-on-vfio-vf-wanted", "host-with-class")
def test_a_whole_function_on_vfio(lab: Lab) -> None:
    """It goes back to its driver first, which alone shows its MAC address; unless a program has it open."""
    made = lab.plan("ethernet", "passthrough").plan.host
    assert [(type(action), action.name) for action in made] == [(ReturnDevices, "0000:01:00.0")]
    lab.write("facts.json", json.dumps({"devices": {"0000:01:00.0": {"opened_by": "dpdk-testpmd (pid 4711)"}}}))
    assert lab.given("ethernet", "passthrough") == ["0000:01:00.1"]
    device = {"address": "0000:01:00.0"}
    message = lab.refused("ethernet", "passthrough", device=device)
    assert "0000:01:00.0 is refused for f: bound to vfio-pci: the program dpdk-testpmd (pid 4711)" in message
    lab.change("nodedev/pci_0000_01_00_0.xml", ("vfio-pci", "igb_uio"))
    assert "bound to igb_uio: a program of the host" in lab.refused("ethernet", "passthrough", device=device)


@on("pf-on-vfio-vf-wanted", "host-with-class")
@pytest.mark.parametrize("driver", ["igb_uio", "pci-stub", "mlx5_vfio_pci"])
def test_only_its_own_driver_makes_virtual_functions(lab: Lab, driver: str) -> None:
    for number in (0, 1):
        lab.change(f"nodedev/pci_0000_01_00_{number}.xml", ("vfio-pci", driver))
    message = lab.refused("ethernet", "vf")
    assert f"0000:01:00.0 is refused for f: it is bound to {driver}" in message


@on("macvtap-on-vf")
def test_what_up_refuses_of_a_physical_function_plan_refuses(lab: Lab) -> None:
    (lab.folder / "domains/instance-0000001a.xml").unlink()
    message = lab.refused("ethernet", "passthrough")
    assert "it has 2 virtual functions, which would go: `vmlab sriov release 0000:81:00.0`" in message
