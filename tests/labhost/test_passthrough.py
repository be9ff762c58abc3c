"""Functions of the lab host in nested guests: virtual ones made and pinned, whole ones, killed commands, refusals."""

import json
import time
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest
from lxml import etree

from .conftest import CELL_0_IGB, CELL_1_IGB, MINUTES, NVME, SHARED, Lab
from .in_force import as_planned
from .san import CONFLICT, NO_TARGET, RESERVE, TARGET

VFS = """
name: t-vf
hosts: {{local: {{reserve: {{cpus: 1, memory: 0B}}}}}}
fabrics: {{net0: {{kind: ethernet, lnet: tcp, attach: vf, device: {{pf: "{pf}"}},
  vf: {{spoof_check: false, trust: true}}}}}}
nodes:
  fta1: {{role: fta, memory: 512MiB, fabrics: [net0], disks: [
    {{name: one, device: {one}, kind: scsi, reservations: true}},
    {{name: other, device: {other}, kind: scsi, reservations: true}}]}}
  fta2: {{role: fta, memory: 512MiB, fabrics: [net0], hugepages: 2MiB}}
workloads:
  - fio: {{nodes: "fta[1-2]", directory: /var/tmp, rw: randrw, size: 8MiB, runtime_s: 3, native: {{mount: /var/tmp}}}}
"""
ONE = """
name: {name}
hosts: {{local: {{reserve: {{cpus: 0, memory: 0B}}}}}}
fabrics: {{net0: {{kind: ethernet, lnet: tcp, attach: {attach}, device: {{{device}}}}}}}
nodes: {{node1: {{role: fta, memory: {memory}, fabrics: [net0], pin: shared, numa: none}}}}
"""


def one(lab: Lab, attach: str, device: str, *, name: str = "t-one", memory: str = "512MiB") -> str:
    return lab.put(f"/root/{name}.yaml", ONE.format(name=name, attach=attach, device=device, memory=memory))


@pytest.fixture(scope="module")
def paths(lab: Lab) -> Iterator[list[str]]:
    """The host's two disks, which are paths to one."""
    lab.bare()
    yield lab.sh(TARGET).split()
    lab.sh(NO_TARGET)


@pytest.fixture(scope="module")
def bed(lab: Lab, paths: list[str]) -> Iterator[str]:
    """Two guests with a VF each, from nothing; one on huge pages of the cell, one with both paths to a disk."""
    one, other = paths
    lab.sysfs("devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "256")
    file = lab.put("/root/t-vf.yaml", VFS.format(pf=CELL_0_IGB, one=one, other=other))
    lab.vmlab("up", file, "--accel", "kvm", deadline_s=15 * MINUTES)
    yield "t-vf"
    if lab.virsh("list", "--all", "--name").strip():  # else a test took it down
        lab.vmlab("down", "t-vf", "--yes")


@pytest.fixture(scope="module")
def plan(lab: Lab, bed: str) -> Any:
    """The bed as it is, for all that look at it: to work it out takes half a minute there."""
    return lab.json("plan", f"/root/{bed}.yaml")


def test_its_guests_run_under_kvm_and_are_ready(lab: Lab, bed: str) -> None:
    told = [(node["name"], node["stage"]) for node in lab.json("status", bed)]
    assert told == [("fta1", "ready"), ("fta2", "ready")]
    for name, _ in told:
        assert etree.fromstring(lab.virsh("dumpxml", f"{bed}.{name}")).get("type") == "kvm"
    assert lab.vmlab("ssh", bed, "fta1", "--", "hostname") == "fta1\n"


def test_vfs_are_made_for_a_bed_and_hang_in_its_guests(lab: Lab, bed: str, plan: Any) -> None:
    assert lab.pci(CELL_0_IGB, "sriov_numvfs") == "2"
    assert lab.pci(CELL_0_IGB, "sriov_drivers_autoprobe") == "1"
    assert not plan["changes"]
    given = [node["devices"][0] for node in plan["nodes"]]
    assert [(d["function"], d["host_cell"], d["remote"]) for d in given] == [("vf", 0, False)] * 2
    assert [lab.driver(d["address"]) for d in given] == ["vfio-pci"] * 2
    driver = lab.vmlab("ssh", bed, "fta1", "--", "readlink", "/sys/class/net/net0/device/driver")
    assert driver.strip().endswith("/igbvf")
    interface = lab.run("ls", f"/sys/bus/pci/devices/{CELL_0_IGB}/net").strip()
    told = json.loads(lab.run("ip", "-json", "link", "show", interface))
    given = [(vf["spoofchk"], vf["trust"]) for vf in told[0]["vfinfo_list"]]
    assert given == [(False, True)] * 2


def test_traffic_goes_over_the_vfs(lab: Lab, bed: str, plan: Any) -> None:
    there = {node["name"]: node["addresses"]["net0"] for node in plan["nodes"]}
    lab.vmlab("ssh", bed, "fta1", "--", "ping", "-q", "-c", "3", "-W", "10", "-I", "net0", there["fta2"])


def test_the_physical_function_stands_beside_the_guests_of_its_vfs(lab: Lab, bed: str, plan: Any) -> None:
    """iperf3 from one guest to the other, and on the host in the place of both: its own interface, the guests' CPUs."""
    planned = {node["name"]: node for node in plan["nodes"]}
    interface = lab.run("ls", f"/sys/bus/pci/devices/{CELL_0_IGB}/net").strip()
    own = str(IPv4Network(f"{planned['fta1']['addresses']['net0']}/24", strict=False)[200])
    lab.run("ip", "address", "add", f"{own}/24", "dev", interface)
    asked = ("from=fta1", "to=fta2", "duration_s=2", "streams=1", "ways=out")
    words = [word for option in asked for word in ("--set", option)]
    try:
        run = lab.json("run", f"/root/{bed}.yaml", "iperf3", *words, "--native")
    finally:
        lab.run("ip", "address", "del", f"{own}/24", "dev", interface)
    assert run["skipped"] == []
    (beside,) = [one for one in run["beside_host"] if one["metric"] == "throughput"]
    assert beside["labels"]["fabric"] == "net0"
    assert min(beside["vm"], beside["host"]) > 0
    there = {node["name"]: node for node in run["nodes"] if node["where"] == "host"}
    assert there.keys() == planned.keys()
    for name, node in there.items():
        assert node["addresses"][interface] == own  # it is on the management network, too
        (cpus,) = (cell["vcpus"] for cell in planned[name]["cells"])
        assert node["vcpus"] == cpus


def test_disks_of_the_host_stand_beside_those_of_its_guests(lab: Lab, bed: str) -> None:
    """fio in both guests at once, and on the host in two places at once, in the folder that the file names."""
    run = lab.json("run", f"/root/{bed}.yaml", "fio")
    assert run["skipped"] == []
    beside = {one["metric"]: one for one in run["beside_host"]}
    for metric in ("iops", "bandwidth", "latency"):
        assert min(beside[metric]["vm"], beside[metric]["host"]) > 0
    begun = [command["node"] for command in run["commands"] if command["task"].startswith("fio.")]
    assert sorted(begun) == ["fta1", "fta1", "fta2", "fta2"]
    assert lab.run("find", "/var/tmp/vmlab-fio", "-type", "f") == ""


def test_reservations_hold_between_two_paths_of_the_host(lab: Lab, bed: str) -> None:
    """The guest reserves the disk on one path; the array refuses what comes on the other."""
    told = lab.vmlab("ssh", bed, "fta1", "--", "python3", "-c", RESERVE).splitlines()
    assert told == [f"0 {CONFLICT}", "written | Invalid exchange"]


def test_pins_and_memory_are_as_planned(lab: Lab, bed: str, plan: Any) -> None:
    for node in plan["nodes"]:
        as_planned(lab, bed, node)
        assert len(node["emulator_cpus"]) == 2  # the host's own core
        (cell,) = node["cells"]
        assert not set(node["emulator_cpus"]) & {cpu for cpus in cell["vcpus"].values() for cpu in cpus}


def test_a_count_does_not_change_while_a_vf_is_held(lab: Lab, bed: str) -> None:
    lab.vmlab("sriov", "create", CELL_0_IGB, "3", status=4)
    assert f"the domain {bed}.fta1" in lab.complaints
    lab.vmlab("sriov", "create", CELL_0_IGB, "2")
    lab.vmlab("sriov", "release", CELL_0_IGB, "--yes", status=4)
    assert lab.pci(CELL_0_IGB, "sriov_numvfs") == "2"


def test_a_pf_whose_vfs_are_in_use_is_not_passed(lab: Lab, bed: str) -> None:
    lab.vmlab("plan", one(lab, "passthrough", f'address: "{CELL_0_IGB}"'), status=4)
    assert bed in lab.complaints
    assert len(lab.virsh("list", "--name").split()) == 2


def test_a_function_that_another_domain_holds_is_not_given_again(lab: Lab, bed: str, plan: Any) -> None:
    held = plan["nodes"][0]["devices"][0]["address"]
    lab.vmlab("plan", one(lab, "vf", f'address: "{held}"'), status=4)
    assert f"{bed}.fta1" in lab.complaints


def test_down_gives_the_vfs_back(lab: Lab, bed: str, plan: Any) -> None:
    addresses = [node["devices"][0]["address"] for node in plan["nodes"]]
    lab.vmlab("down", bed, "--yes")
    assert [lab.driver(address) for address in addresses] == ["igbvf"] * 2
    assert lab.virsh("list", "--all", "--name").strip() == ""
    assert lab.sh("pgrep -x qemu-pr-helper || true") == ""


def test_sriov_create_and_release(lab: Lab) -> None:
    lab.vmlab("sriov", "create", CELL_1_IGB, "8", status=4)
    assert "can have 7 VFs, not 8" in lab.complaints
    lab.vmlab("sriov", "create", CELL_1_IGB, "4")
    assert lab.pci(CELL_1_IGB, "sriov_numvfs") == "4"
    lab.vmlab("sriov", "create", CELL_1_IGB, "2")
    shown = next(pf for pf in lab.json("sriov", "show") if pf["address"] == CELL_1_IGB)
    assert len(shown["vfs"]) == 2
    lab.vmlab("sriov", "release", CELL_1_IGB, "--yes")
    assert lab.pci(CELL_1_IGB, "sriov_numvfs") == "0"


@pytest.mark.parametrize("again", ["up", pytest.param("down", marks=pytest.mark.nightly)])
def test_killed_when_the_function_is_taken_and_the_guest_not_started(lab: Lab, again: str) -> None:
    """kill -9 between detach and start: the next `up` finishes; the next `down` gives the function back."""
    file = one(lab, "passthrough", f'address: "{CELL_1_IGB}"')
    lab.sh(f"(setsid vmlab up {file} > /tmp/up.log 2>&1 & echo $! > /tmp/up.pid)")
    deadline = time.monotonic() + 5 * MINUTES
    while lab.driver(CELL_1_IGB) != "vfio-pci":
        assert time.monotonic() < deadline, lab.get("/tmp/up.log")
    lab.sh("kill -9 $(cat /tmp/up.pid)")
    if again == "up":
        lab.vmlab("up", file, deadline_s=15 * MINUTES)
        assert lab.driver(CELL_1_IGB) == "vfio-pci"
        driver = lab.vmlab("ssh", "t-one", "node1", "--", "readlink", "/sys/class/net/net0/device/driver")
        assert driver.strip().endswith("/igb")
    lab.vmlab("down", "t-one", "--yes")
    assert lab.driver(CELL_1_IGB) == "igb"
    assert lab.virsh("list", "--all", "--name").strip() == ""


def test_what_the_host_needs_is_not_passed(lab: Lab) -> None:
    functions = lab.json("host", "show")["functions"]
    route = next(f for f in functions if f["used_by"] and "default route" in f["used_by"])
    lab.vmlab("plan", one(lab, "passthrough", f'address: "{route["address"]}"'), status=4)
    assert "default route" in lab.complaints


def test_swap_keeps_its_function(lab: Lab) -> None:
    disk = "/dev/$(basename $(ls -d /sys/bus/pci/devices/0000:64:00.0/nvme/nvme*/nvme*n1 | head -n 1))"
    lab.sh(f"mkswap {disk} > /dev/null; swapon {disk}")
    try:
        functions = {f["address"]: f for f in lab.json("host", "show")["functions"]}
        assert "swap" in functions["0000:64:00.0"]["used_by"]
        assert functions[NVME]["used_by"] is None
    finally:
        lab.sh(f"swapoff {disk}")


def test_a_shared_group_goes_as_a_whole_or_not_at_all(lab: Lab) -> None:
    device = f'address: "{SHARED[1]}"'
    lab.vmlab("plan", one(lab, "passthrough", device), status=4)
    assert SHARED[2] in lab.complaints
    assert "e1000" in lab.complaints
    told = json.loads(lab.vmlab("plan", one(lab, "passthrough", f"{device}, whole_group: true"), "-o", "json"))
    (given,) = told["nodes"][0]["devices"]
    assert (given["address"], given["group"]) == (SHARED[1], [SHARED[2]])


def test_too_little_memory_on_the_cell_is_told(lab: Lab) -> None:
    file = lab.put("/root/big.yaml", "name: t-big\nnodes: {node1: {role: client, memory: 4GiB}}\n")
    lab.vmlab("plan", file, status=4)
    assert "wanted 4GiB of memory" in lab.complaints


def test_a_session_cannot_pass_functions(lab: Lab) -> None:
    file = one(lab, "vf", f'pf: "{CELL_1_IGB}"')
    told = lab.run("env", "LIBVIRT_DEFAULT_URI=qemu:///session", "vmlab", "up", file, status=None)
    assert "qemu:///system" in lab.complaints, told
    assert lab.pci(CELL_1_IGB, "sriov_numvfs") == "0"
