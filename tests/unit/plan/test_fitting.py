"""Templates on hosts whose QEMU has not all that they ask for."""

from pathlib import Path

import pytest
from lxml import etree
from qemus import DEBIAN_12, LABS, RHEL_8, RHEL_9, RHEL_10, SLES_15, SLES_15_SP2, UBUNTU, Lab

from vmlab.domainxml.template import emulates, parse_template
from vmlab.errors import HostError
from vmlab.guest.keys import BedKeys
from vmlab.inventory.qemu import read_emulator, read_qemu
from vmlab.lab.beds.decide import decide_all
from vmlab.plan.desired import Image
from vmlab.plan.fitting import Fitted, fit, machine_type, with_machine
from vmlab.plan.observed import Observed
from vmlab.runtime.shipped import shipped
from vmlab.topology import loads

SERVER = parse_template((shipped("domain-templates") / "server.xml").read_bytes(), Path("server.xml"))


def on(lab: Lab, template: etree._Element, *, kind: str = "kvm") -> Fitted:
    """As `virt.qemu.fitted` does it, with what the lab's libvirt would tell."""
    emulator = read_emulator(lab.capabilities(), "x86_64")
    assert emulator is not None
    machine, remarks = machine_type("mine", emulates(template), emulator, "kvm1")
    alias = next(a for a, name in lab.machines.items() if machine in (a, name))
    qemu = read_qemu(lab.domain_capabilities(alias, kind))
    found = fit("mine", with_machine(template, machine), qemu, host="kvm1", kind=kind)
    return Fitted(found.template, (*remarks, *found.remarks))


def template(devices: str = "", *, machine: str = "q35", cpu: str = "", os: str = "") -> etree._Element:
    system = f"<os {os}><type arch='x86_64' machine='{machine}'>hvm</type></os>"
    return etree.fromstring(f"<domain>{system}{cpu}<devices>{devices}</devices></domain>")


@pytest.mark.parametrize("kind", ["kvm", "qemu"])
@pytest.mark.parametrize("lab", [name for name in LABS if name != "sles-15-sp2"])
def test_the_shipped_template_is_had_everywhere_as_it_is(lab: str, kind: str) -> None:
    found = on(LABS[lab], SERVER, kind=kind)
    assert found.remarks == ()
    assert etree.tostring(found.template) == etree.tostring(SERVER)


def test_the_emulator_is_the_one_that_libvirt_names() -> None:
    for lab in LABS.values():
        emulator = read_emulator(lab.capabilities(), "x86_64")
        assert emulator is not None
        assert (emulator.path, emulator.kinds) == (lab.path, frozenset({"kvm", "qemu"}))
        assert "q35" in emulator.machines
    assert read_emulator(RHEL_9.capabilities(), "aarch64") is None


DESKTOP = template(
    "<emulator>/usr/bin/qemu-system-x86_64</emulator>"
    "<graphics type='spice'><image compression='off'/></graphics>"
    "<video><model type='qxl' ram='65536'/></video>"
    "<channel type='spicevmc'/><channel type='unix'/>"
    "<rng model='virtio'><backend model='egd' type='tcp'/></rng>"
    "<panic model='isa'/>",
    machine="pc-q35-7.2",
)
_OF = "the template mine asks for"


def kept(found: Fitted) -> list[str]:
    return [str(device.tag) for device in found.template.iterfind("devices/*")]


def test_what_is_not_essential_is_left_out_or_stood_in_for() -> None:
    found = on(RHEL_9, DESKTOP)
    program, remarks = "/usr/libexec/qemu-kvm", [remark.removeprefix(f"{_OF} ") for remark in found.remarks]
    assert remarks[0] == f"the machine type pc-q35-7.2, which {program} of the host kvm1 does not have: it gets q35"
    assert remarks[1] == f"/usr/bin/qemu-system-x86_64, and the QEMU of the host kvm1 is {program}: it gets that"
    lacking = f", which {program} (pc-q35-rhel9.4.0) of the host kvm1 does not have"
    assert [remark.replace(lacking, "") for remark in remarks[2:]] == [
        "the device rng egd: left out",
        "the device channel spicevmc: left out",
        "the device graphics spice: it gets vnc",
        "the device video qxl: it gets virtio",
    ]
    assert emulates(found.template).machine == "q35"
    assert kept(found) == ["graphics", "video", "channel", "panic"]


def test_where_all_is_there_nothing_is_changed() -> None:
    found = on(DEBIAN_12, DESKTOP)
    assert found.remarks == ()
    assert etree.tostring(found.template) == etree.tostring(DESKTOP)


def test_what_stands_in_has_nothing_of_what_it_stands_in_for() -> None:
    devices = on(RHEL_10, DESKTOP).template.find("devices")
    assert devices is not None
    graphics, video = devices[0], devices[1]
    assert etree.tostring(graphics) == b'<graphics type="vnc"/>'
    assert etree.tostring(video) == b'<video><model type="virtio"/></video>'


def test_another_versions_machine_is_its_family_of_today() -> None:
    for asked, lab, gets in (
        ("pc-q35-rhel8.2.0", RHEL_10, "q35"),
        ("pc-q35-jammy", DEBIAN_12, "q35"),
        ("pc-i440fx-3.1", RHEL_8, "pc"),
        ("pc-q35-noble", UBUNTU, "pc-q35-noble"),
        ("ubuntu-q35", UBUNTU, "ubuntu-q35"),
    ):
        found = on(lab, template(machine=asked))
        assert emulates(found.template).machine == gets
        assert bool(found.remarks) is (gets != asked)


@pytest.mark.parametrize(
    ("lab", "asked", "message"),
    [
        (RHEL_10, template(machine="pc"), "the machine type pc, which /usr/libexec/qemu-kvm of the host kvm1"),
        (RHEL_10, template(machine="pc-i440fx-rhel7.6.0"), "the machine type pc-i440fx-rhel7.6.0, which"),
        (SLES_15, template(machine="microvm"), "the machine type microvm, which /usr/bin/qemu-system-x86_64 of"),
        (RHEL_9, template("<filesystem type='mount'/>"), "the device filesystem path, which /usr/libexec/qemu-kvm"),
        (RHEL_9, template("<disk device='floppy'/>"), "the device disk floppy, which"),
        (RHEL_9, template("<disk device='disk'><target bus='fdc'/></disk>"), "the device disk fdc, which"),
        (DEBIAN_12, template(os="firmware='efi'"), "efi firmware, which /usr/bin/qemu-system-x86_64 (pc-q35-7.2) of"),
        (RHEL_9, template(cpu="<cpu><model>Nehalem</model></cpu>"), "the CPU model Nehalem, which"),
        (
            RHEL_9,
            template(cpu="<cpu mode='custom'><model>Skylake-Server</model></cpu>"),
            "the CPU model Skylake-Server, which the CPUs of the host kvm1 are not able to be",
        ),
    ],
)
def test_what_guests_cannot_do_without_is_refused_by_name(lab: Lab, asked: etree._Element, message: str) -> None:
    with pytest.raises(HostError) as error:
        on(lab, asked)
    assert error.value.message.startswith(f"{_OF} {message}")
    assert "kvm1" in error.value.message
    assert error.value.hint


def test_what_an_older_libvirt_does_not_tell_of_is_not_lacking() -> None:
    asked = template("<filesystem type='mount'/><panic model='isa'/><channel type='spicevmc'/>")
    assert on(SLES_15_SP2, asked).remarks == ()
    assert on(RHEL_8, template("<channel type='spicevmc'/>")).remarks == ()


def test_a_firmware_that_is_qemus_own_need_not_be_described() -> None:
    found = on(RHEL_9, template(os="firmware='bios'"))
    os = found.template.find("os")
    assert os is not None
    assert os.get("firmware") is None
    assert found.remarks == ()


def test_emulated_guests_have_qemus_default_cpu_where_libvirt_knows_no_other() -> None:
    found = on(SLES_15_SP2, SERVER, kind="qemu")
    (remark,) = found.remarks
    assert remark.startswith(f'{_OF} <cpu mode="maximum">, which /usr/bin/qemu-system-x86_64 (pc-q35-4.2) of the host')
    assert remark.endswith("does not have: it gets QEMU's default CPU")
    cpu = found.template.find("cpu")
    assert cpu is not None
    assert not cpu.attrib
    assert on(SLES_15_SP2, SERVER).remarks == ()


def test_a_cpu_mode_that_kvm_does_not_have() -> None:
    found = on(SLES_15_SP2, template(cpu="<cpu mode='maximum'/>"))
    cpu = found.template.find("cpu")
    assert cpu is not None
    assert cpu.get("mode") == "host-model"
    assert found.remarks[0].endswith("it gets host-model")


def test_a_bed_has_the_fitted_template_and_tells_of_it() -> None:
    topology = loads("name: b\nnodes: {n1: {role: client}}\n", "b.yaml")
    images = {("local", "demo"): Image("demo", "/demo.qcow2", 1, "root", None)}
    prepared = decide_all(
        topology,
        {"local": Observed({}, {}, {}, pool_path="/pool")},
        {},
        images=images,
        keys=BedKeys.fresh(Path("/nowhere/bed")),
        accel="tcg",
        restart=False,
        fit=lambda host, name, asked, kind: Fitted(
            with_machine(asked, "pc-q35-rhel9.4.0"), (f"{name} on {host}, {kind}",)
        ),
    )
    assert prepared.notes == ("server on local, qemu",)
    assert 'machine="pc-q35-rhel9.4.0"' in prepared.nodes["n1"].xml
