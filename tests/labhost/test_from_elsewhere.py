"""Functions of the lab host in a guest that this machine brings up there, by ssh: no vmlab runs there."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from system.conftest import MINUTES, Vmlab

from vmlab.runtime.wait import Deadline, until

from .conftest import CELL_0_IGB, CELL_1_IGB, Lab, from_here

BED = "t-away"
TOPOLOGY = f"""
name: {BED}
image: demo
hosts: {{lab: {{uri: "qemu+ssh://root@lab-host/system", reserve: {{cpus: 0, memory: 0B}}}}}}
fabrics:
  net0: {{kind: ethernet, lnet: tcp, attach: vf, device: {{pf: "{CELL_0_IGB}"}}}}
  net1: {{kind: ethernet, lnet: tcp1, attach: passthrough, device: {{address: "{CELL_1_IGB}"}}}}
nodes: {{node1: {{role: router, memory: 512MiB, fabrics: [net0, net1], pin: shared, numa: none}}}}
"""
NOTES = "/run/vmlab-borrowed"
AUTOPROBE = f"bus/pci/devices/{CELL_0_IGB}/sriov_drivers_autoprobe"

pytestmark = pytest.mark.nightly  # a nested guest that boots twice


@pytest.fixture(scope="module")
def away(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vmlab]:
    """The command on this machine, whose ssh knows the lab host."""
    lab.bare()
    command = from_here(tmp_path_factory.mktemp("away"), lab.door("ssh-config"))
    Path(file(command)).write_text(TOPOLOGY)
    yield command
    if lab.virsh("list", "--all", "--name").strip():
        command.run("down", file(command), "--yes")


def file(away: Vmlab) -> str:
    return str(away.state.parent / "away.yaml")


def domains(lab: Lab) -> list[str]:
    return lab.virsh("list", "--all", "--name").split()


def test_what_a_killed_up_has_changed_there_goes_with_down(lab: Lab, away: Vmlab) -> None:
    going = away.start("up", file(away), "--accel", "kvm")
    assert until(lambda: lab.pci(CELL_0_IGB, "sriov_numvfs") == "1", Deadline.after(10 * MINUTES), every_s=0.2)
    going.send_signal(signal.SIGKILL)
    going.wait()
    # Where it was killed between the two writes the switch stands as it was put, with a note of what it was.
    lab.sh(f"mkdir -p {NOTES}; echo '{AUTOPROBE} 1' > {NOTES}/{CELL_0_IGB}; echo 0 > /sys/{AUTOPROBE}")
    away.run("down", file(away), "--yes")
    assert domains(lab) == []
    assert lab.sysfs(AUTOPROBE) == "1"
    assert lab.sh(f"ls {NOTES} 2>/dev/null || :") == ""
    assert lab.driver(CELL_1_IGB) == "igb"


def test_a_guest_there_gets_a_vf_and_a_whole_function_and_down_gives_them_back(lab: Lab, away: Vmlab) -> None:
    away.run("up", file(away), "--accel", "kvm", deadline_s=20 * MINUTES)
    assert [(node["name"], node["stage"]) for node in away.json("status", BED)] == [("node1", "ready")]
    plan = away.json("plan", file(away), "--accel", "kvm")
    assert not plan["changes"]
    (node,) = plan["nodes"]
    given = {device["fabric"]: device for device in node["devices"]}
    assert {name: (device["function"], device["host_cell"]) for name, device in given.items()} == {
        "net0": ("vf", 0),
        "net1": ("passthrough", 1),
    }
    assert {lab.driver(device["address"]) for device in given.values()} == {"vfio-pci"}
    drivers = "for net in net0 net1; do readlink /sys/class/net/$net/device/driver; done"
    told = away.on_all(BED, drivers)["node1"].split()
    assert [driver.rpartition("/")[2] for driver in told] == ["igbvf", "igb"]
    away.run("down", BED, "--yes")
    assert domains(lab) == []
    assert lab.driver(CELL_1_IGB) == "igb"
    assert lab.sh(f"ls {NOTES} 2>/dev/null || :") == ""
