"""Whatever a record contains, it is read as a host or refused with a HostError, and nothing else."""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from recorded_hosts import HOSTS, record

from vmlab.errors import HostError
from vmlab.inventory.capabilities import read_capabilities
from vmlab.inventory.model import HostInventory
from vmlab.inventory.record import read_record
from vmlab.inventory.scrub import scrubbed
from vmlab.lab.ground.recorded import recorded
from vmlab.report.inventory import inventory_object, inventory_tables
from vmlab.report.plain import dumped

ROOT = Path(__file__).parents[2]
SMALL = {
    name: text
    for host in ("shared-group", "dual-port")
    for name, text in record(HOSTS[host]).items()
    if not name.endswith("facts.json")
}
CASES = [path.read_text() for path in sorted((ROOT / "cases/capabilities").glob("*.xml"))]
DOMAINS = [path.read_text() for path in sorted((ROOT / "golden/domains").glob("*/*.xml")) if "network" not in path.name]
VALUES = [
    "", " ", "-1", "0", "1", "4", "0-3", "0-99999999", "^1", "0x15b3", "yes", "9" * 30, "1.5", "é", "\u0663", "KiB",
    "GB", "zib", "0000:41:00.0", "pci", "net", "virt_functions", "hostdev", "strict", "80:00:02:08:fe:80", ",", "1,,2",
    "\t7\n",
]  # fmt: skip


def outcome(files: dict[str, str]) -> HostInventory | None:
    """The host, if it can be read: then it can be shown, too."""
    try:
        host = read_record("h", files)
    except HostError:
        return None
    assert host.cells
    assert inventory_tables(host).renderables
    assert dumped(inventory_object(host))
    for function in host.functions.values():
        assert function in host.group(function)
        assert all(host.functions[vf].physical_function is not None for vf in function.virtual_functions)
    return host


@given(st.text() | st.sampled_from(CASES), st.text(max_size=60), st.text(max_size=60))
def test_any_text(capabilities: str, device: str, domain: str) -> None:
    outcome({"capabilities.xml": capabilities})
    outcome({**SMALL, "nodedev/x.xml": device})
    outcome({**SMALL, "domains/x.xml": domain})


@given(st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=150)
def test_mutated_documents(chance: random.Random, changes: int) -> None:
    files = dict(SMALL)
    files["domains/x.xml"] = chance.choice(DOMAINS)
    files["capabilities.xml"] = chance.choice([SMALL["capabilities.xml"], *CASES])
    for name in chance.sample(sorted(files), min(changes, len(files))) + ["capabilities.xml"] * chance.randrange(2):
        try:
            files[name] = mutated(files[name], chance)
        except etree.XMLSyntaxError:
            files[name] = files[name][: chance.randrange(len(files[name]) + 1)]
    outcome(files)


def mutated(text: str, chance: random.Random) -> str:
    root = etree.fromstring(text)
    elements = [element for element in root.iter() if isinstance(element.tag, str)]
    element = chance.choice(elements)
    parent = element.getparent()
    match chance.randrange(5):
        case 0 if element.attrib:
            element.set(chance.choice(sorted(element.attrib)), chance.choice(VALUES))
        case 1 if element.attrib:
            del element.attrib[chance.choice(sorted(element.attrib))]
        case 2:
            element.text = chance.choice(VALUES)
        case 3 if parent is not None:
            parent.remove(element)
        case _ if parent is not None:
            parent.append(etree.fromstring(etree.tostring(element)))
        case _:
            element.set("id", chance.choice(VALUES))
    return etree.tostring(root, encoding="unicode")


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE c [<!ENTITY e SYSTEM '/etc/passwd'>]><capabilities><host>&e;</host></capabilities>",
        "<?xml version='1.0' encoding='utf-16'?><capabilities/>",
        "<capabilities><!-- a --><?b c?></capabilities>",
        "<capabilities>" * 5000,
        "\ud800",
        "\x00",
    ],
)
def test_hostile_documents(text: str) -> None:
    assert outcome({"capabilities.xml": text}) is None


def test_what_names_the_machine_is_scrubbed() -> None:
    domain = """<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><name>a</name>
      <uuid>89ffe74b-c26a-4c71-b1e4-def8e237dd1c</uuid><title>Bob's</title><memory>1</memory>
      <sysinfo type='smbios'><system><entry name='serial'>SN123</entry></system></sysinfo>
      <devices><disk type='block'><serial>SN123</serial><wwn>5000c50015ea71ac</wwn></disk>
      <serial type='pty'><target port='0'/></serial></devices>
      <q:commandline><q:arg value='password=SN123'/></q:commandline></domain>"""
    text = scrubbed(domain, "a", "domain")
    for secret in ("SN123", "89ffe74b", "5000c500", "Bob"):
        assert secret not in text
    assert "<serial type=" in text
    device = """<device><name>pci_0000_41_00_0</name><capability type='pci'><domain>0</domain><bus>65</bus>
      <slot>0</slot><function>0</function><capability type='vpd'><fields access='readonly'>
      <serial_number>SN123</serial_number></fields></capability></capability></device>"""
    assert "SN123" not in scrubbed(device, "d", "device")
    capabilities = (ROOT / "hosts/lab-host/capabilities.xml").read_text()
    assert read_capabilities(scrubbed(capabilities, "c", "capabilities")) == read_capabilities(capabilities)


def test_what_is_no_file_is_no_part_of_a_record(tmp_path: Path) -> None:
    """It would be waited for, or never end."""
    folder = tmp_path / "host"
    shutil.copytree(ROOT / "hosts/mixed", folder)
    os.mkfifo(folder / "nodedev" / "fifo.xml")
    (folder / "domains").mkdir()
    (folder / "domains" / "zero.xml").symlink_to("/dev/zero")
    assert replace(recorded(folder), name="mixed") == recorded(ROOT / "hosts/mixed")
