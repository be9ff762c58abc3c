"""The lab host is a real host to what runs in it. All that the other tests here rely on is looked at first."""

import json

import pytest
from lxml import etree

from .conftest import CELL_0_IGB, CELL_1_IGB, NVME, SHARED, Lab


def test_two_cells_of_two_cores_with_two_threads(lab: Lab) -> None:
    cells = etree.fromstring(lab.virsh("capabilities")).findall("host/topology/cells/cell")
    assert [{s.get("id"): s.get("value") for s in cell.findall("distances/sibling")} for cell in cells] == [
        {"0": "10", "1": "21"},
        {"0": "21", "1": "10"},
    ]
    assert [[cpu.get("siblings") for cpu in cell.findall("cpus/cpu")] for cell in cells] == [
        ["0-1", "0-1", "2-3", "2-3"],
        ["4-5", "4-5", "6-7", "6-7"],
    ]
    assert all(int(cell.findtext("memory", "0")) > 2 << 20 for cell in cells)


@pytest.mark.parametrize(
    ("address", "driver", "cell", "vfs"),
    [(CELL_0_IGB, "igb", "0", "7"), (CELL_1_IGB, "igb", "1", "7"), (NVME, "nvme", "0", "4")],
)
def test_a_function_with_sriov_in_a_group_of_its_own(lab: Lab, address: str, driver: str, cell: str, vfs: str) -> None:
    assert lab.driver(address) == driver
    assert lab.pci(address, "numa_node") == cell
    assert lab.pci(address, "sriov_totalvfs") == vfs
    assert lab.run("ls", f"/sys/kernel/iommu_groups/{lab.group(address)}/devices").split() == [address]


def test_what_is_behind_the_bridge_shares_a_group(lab: Lab) -> None:
    assert {lab.group(address) for address in SHARED} == {lab.group(SHARED[0])}
    members = lab.run("ls", f"/sys/kernel/iommu_groups/{lab.group(SHARED[0])}/devices").split()
    assert sorted(members) == sorted(SHARED)
    assert [lab.driver(address) for address in SHARED[1:]] == ["e1000", "e1000"]


def test_a_guest_runs_under_kvm(lab: Lab) -> None:
    probe = "from vmlab.virt.accel import runs_guests; print(runs_guests('qemu-system-x86_64', 'kvm'))"
    path = "PYTHONPATH=/opt/vmlab/source:/opt/vmlab/python"
    assert lab.run("env", path, "python3", "-c", probe) == "None\n"


def test_host_check_finds_nothing_that_keeps_beds_from_coming_up(lab: Lab) -> None:
    found = {line["what"]: line for line in json.loads(lab.vmlab("host", "check", "-o", "json"))}
    assert {what for what, line in found.items() if line["verdict"] == "no"} == set()
    assert found["KVM"]["verdict"] == found["IOMMU"]["verdict"] == "ok"


def test_huge_pages_can_be_had_of_one_cell(lab: Lab) -> None:
    pages = "devices/system/node/node1/hugepages/hugepages-2048kB"
    lab.sysfs(f"{pages}/nr_hugepages", "64")
    try:
        assert lab.sysfs(f"{pages}/free_hugepages") == "64"
        cell = etree.fromstring(lab.virsh("capabilities")).find("host/topology/cells/cell[@id='1']")
        assert cell is not None
        assert {p.get("size"): p.text for p in cell.findall("pages")}["2048"] == "64"
    finally:
        lab.sysfs(f"{pages}/nr_hugepages", "0")


def test_libvirt_lists_vfs_soon_after_they_are_made(lab: Lab) -> None:
    vfs = ["pci_0000_21_10_0", "pci_0000_21_10_2"]
    lab.pci(CELL_0_IGB, "sriov_numvfs", "2")
    try:
        lab.sh(f"for vf in {' '.join(vfs)}; do until virsh -q nodedev-info $vf; do sleep 0.5; done; done 2>&1")
        described = etree.fromstring(lab.virsh("nodedev-dumpxml", vfs[1]))
        parent = described.find("capability/capability[@type='phys_function']/address")
        assert parent is not None
        assert parent.get("bus") == "0x21"
        assert described.findtext("driver/name") == "igbvf"
        numa = described.find("capability/numa")
        assert numa is not None
        assert numa.get("node") == "0"
        assert lab.group("0000:21:10.0") != lab.group("0000:21:10.2")
        lab.pci(CELL_0_IGB, "sriov_numvfs", "3", status=1)
        assert "busy" in lab.complaints
    finally:
        lab.pci(CELL_0_IGB, "sriov_numvfs", "0")
    lab.pci(CELL_0_IGB, "sriov_numvfs", "8", status=1)
    assert "out of range" in lab.complaints
