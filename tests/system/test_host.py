"""This machine's inventory, as its own libvirt and sysfs tell it. Nothing is changed."""

from pathlib import Path

import libvirt

from vmlab.lab.ground.recorded import recorded

from .conftest import Vmlab


def test_this_machine_is_shown_and_captured(vmlab: Vmlab, tmp_path: Path) -> None:
    told = vmlab.json("host", "show")
    connection = libvirt.open("qemu:///system")
    devices = connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV)
    assert len(told["functions"]) >= len(devices) > 0
    assert sum(len(cell["cpus"]) for cell in told["cells"]) == connection.getInfo()[2]
    assert all(0 < cell["available_kib"] <= cell["memory_kib"] for cell in told["cells"] if cell["memory_kib"])
    assert any(function["used_by"] for function in told["functions"])  # at least what / is mounted from
    vmlab.run("host", "capture", str(tmp_path / "here"))
    kept = recorded(tmp_path / "here")
    assert [str(address) for address in kept.functions] == [function["address"] for function in told["functions"]]
    assert [cell.cpus[0].id for cell in kept.cells] == [cell["cpus"][0]["id"] for cell in told["cells"]]
