"""Guests of several virtual CPUs in two cells: whole cores, both threads of one, huge pages of 1 GiB.

Nobody waits for them: where their threads and their memory are shows as soon as they run.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import MINUTES, Lab
from .in_force import as_planned

BED = """
name: t-pins
hosts: {local: {reserve: {cpus: 0, memory: 0B}}}
nodes:
  spread: {role: client, cpus: 2, threads: isolate, numa: {cells: 2}, memory: 256MiB}
  tight: {role: client, cpus: 2, threads: require, memory: 256MiB}
"""
GIGANTIC = "  gigantic: {role: client, memory: 1GiB, hugepages: 1GiB}\n"
PAGES = "devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages"
# libvirt looks for places of huge pages when it begins.
_MOUNT = "mkdir -p /mnt/1GiB; mount -t hugetlbfs -o pagesize=1G none /mnt/1GiB; systemctl restart libvirtd"


@pytest.fixture(scope="module")
def nodes(lab: Lab) -> Iterator[dict[str, Any]]:
    """What the plan says of each; without the gigantic page where memory has been used and has no hole of that size."""
    lab.sysfs(PAGES, "1")
    lab.sh(_MOUNT)
    file = lab.put("/root/t-pins.yaml", BED + GIGANTIC * (lab.sysfs(PAGES) == "1"))
    lab.vmlab("up", file, "--accel", "kvm", "--no-wait", deadline_s=10 * MINUTES)
    yield {node["name"]: node for node in lab.json("plan", file)["nodes"]}
    lab.vmlab("down", "t-pins", "--yes")
    assert lab.sh("ls /etc/systemd/system | grep vmlab-power || true") == ""
    lab.sh("umount /mnt/1GiB; systemctl restart libvirtd")
    lab.sysfs(PAGES, "0")


def test_threads_and_memory_are_where_the_plan_says(lab: Lab, nodes: dict[str, Any]) -> None:
    for node in nodes.values():
        as_planned(lab, "t-pins", node)


def test_a_node_in_two_cells_has_a_core_in_each_for_itself(nodes: dict[str, Any]) -> None:
    cells = nodes["spread"]["cells"]
    assert [cell["host_cell"] for cell in cells] == [0, 1]
    cores = [cpu // 2 for cell in cells for cpus in cell["vcpus"].values() for cpu in cpus]
    others = [cpu for name in nodes.keys() - {"spread"} for cpu in _pinned(nodes[name])]
    assert not set(cores) & {cpu // 2 for cpu in others}


def test_a_node_that_requires_threads_has_both_of_a_core(nodes: dict[str, Any]) -> None:
    one, other = _pinned(nodes["tight"])
    assert one != other
    assert one // 2 == other // 2


def test_a_page_of_1_gib_comes_from_its_cell(nodes: dict[str, Any]) -> None:
    if "gigantic" not in nodes:
        pytest.skip("the lab host has no 1 GiB of memory in one piece any more")
    (cell,) = nodes["gigantic"]["cells"]
    assert (cell["host_cell"], cell["page_kib"]) == (1, 1 << 20)


def test_a_client_s_power_service_is_a_unit_that_comes_back(lab: Lab, nodes: dict[str, Any]) -> None:
    assert nodes["spread"]["powers"]
    unit = "vmlab-power-qemu-system-t-pins.service"
    assert lab.sh(f"systemctl is-enabled {unit}; systemctl is-active {unit}").split() == ["enabled", "active"]
    first = lab.sh(f"systemctl show --property MainPID --value {unit}").strip()
    lab.sh(f"systemctl kill --signal KILL {unit}")
    lab.sh(f"until [ $(systemctl show -p MainPID --value {unit}) != 0 ]; do sleep 1; done; systemctl is-active {unit}")
    assert lab.sh(f"systemctl show --property MainPID --value {unit}").strip() not in ("0", first)
    # What a boot does: systemd starts what its target wants.
    assert lab.sh(f"systemctl show --property WantedBy --value {unit}").split() == ["multi-user.target"]
    lab.sh(f"systemctl stop {unit}; systemctl daemon-reload; systemctl start multi-user.target")
    assert lab.sh(f"systemctl is-active {unit}").strip() == "active"


def _pinned(node: Any) -> list[int]:
    return [cpu for cell in node["cells"] for cpus in cell["vcpus"].values() for cpu in cpus]
