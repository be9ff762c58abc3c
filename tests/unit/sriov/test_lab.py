"""`vmlab sriov`: tables of recorded hosts, and create and release from end to end over a double of the kernel."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vmlab.errors import BusyError, HostError
from vmlab.inventory.model import HostInventory, PciFunction
from vmlab.lab.ground.bed import leasing
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.lab.ground.recorded import recorded
from vmlab.lab.hosts import sriov
from vmlab.report.plain import dumped
from vmlab.report.sriov import sriov_table
from vmlab.report.tables import show
from vmlab.runtime import lock
from vmlab.values.pci import PciAddress
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine

from .conftest import make_tree
from .hosts import CX5, GUID, claim, hosts
from .kernel import Kernel

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["lab-host", "fta-1s", "mixed"])
def test_recorded_hosts(name: str, capsys: pytest.CaptureFixture[str], golden: Callable[[Path, str], None]) -> None:
    lines = sriov.show(recorded(TESTS / "hosts" / name), None)
    show(sriov_table(lines))
    golden(TESTS / "golden/sriov" / f"{name}.txt", capsys.readouterr().out)
    golden(TESTS / "golden/sriov" / f"{name}.json", f"{dumped(lines)}\n")


FOLDER = f"bus/pci/devices/{CX5}"


class Lab(Host):
    """A double of a host: libvirt lists what the made tree has, and the inventory tells its VFs."""

    def __init__(self, root: Path) -> None:
        self.uri = "qemu:///system"
        self.name = "lab"
        self.claims: tuple[Any, ...] = ()
        self.kernel = Kernel(
            make_tree(
                root,
                {
                    f"{FOLDER}/sriov_totalvfs": "8\n",
                    f"{FOLDER}/sriov_numvfs": "0\n",
                    f"{FOLDER}/sriov_drivers_autoprobe": "1\n",
                    f"{FOLDER}/infiniband/mlx5_0/ports/1/link_layer": "InfiniBand\n",
                    f"{FOLDER}/driver": "-> ../../drivers/mlx5_core",
                    **{f"{FOLDER}/sriov/{n}/{name}": "\n" for n in range(8) for name in ("policy", "node", "port")},
                },
            )
        )

    def call(self, action: Any) -> Any:
        return action(self)

    def listAllDevices(self, flags: int) -> list[Any]:  # noqa: N802 - libvirt's own name
        assert flags
        return [Named(path.name) for path in (self.kernel.root / "bus/pci/devices").iterdir()]

    def inventory(self) -> HostInventory:
        links = self.kernel.real.links((f"{FOLDER}/virtfn*",))
        vfs = tuple(PciAddress.parse(links[path]) for path in sorted(links))
        found = hosts(*self.claims)
        functions = {vf: PciFunction(vf, 0x020700, 0x15B3, 0x1018, physical_function=CX5) for vf in vfs}
        pf = replace(found.functions[CX5], virtual_functions=vfs)
        return replace(found, functions={**found.functions, **functions, CX5: pf})


class Named:
    def __init__(self, address: str) -> None:
        self.address = address

    def name(self) -> str:
        return "pci_" + self.address.replace(":", "_").replace(".", "_")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    double = Lab(tmp_path / "sys")
    monkeypatch.setenv("VMLAB_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(sriov, "inventory_of", Lab.inventory)
    monkeypatch.setattr(sriov, "sysfs_of", lambda host: host.kernel)
    monkeypatch.setattr(sriov, "machine_of", lambda _: Machine())
    return double


def test_made_with_guids_and_released(lab: Lab) -> None:
    made, did = sriov.create(lab, "mlx5_0", 2, Silent())
    assert did
    assert [(vf.number, str(vf.address), vf.ids, vf.users) for vf in made.vfs] == [
        (0, "0000:41:10.0", ("0210:198e:c381:0001",), ()),
        (1, "0000:41:10.2", ("0210:198e:c381:0003",), ()),
    ]
    assert made.link_layers == ("infiniband",)
    assert lab.kernel.read(f"{FOLDER}/sriov/1/port") == "02:10:19:8e:c3:81:00:03"
    assert lab.inventory().functions[CX5].ports[0].guid == GUID
    again, did = sriov.create(lab, "ib0", 2, Silent())
    assert (again.vfs, did) == (made.vfs, False)
    assert sriov.losses(lab, "41:00.0")[1] == ["VF 0 0000:41:10.0", "VF 1 0000:41:10.2"]
    assert sriov.release(lab, "mlx5_0") == (CX5, 2)
    assert sriov.release(lab, str(CX5)) == (CX5, 0)


def test_the_host_is_looked_at_once_and_again_only_when_it_was_changed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def inventory(host: Lab) -> HostInventory:
        looks.append("look")
        return host.inventory()

    monkeypatch.setattr(sriov, "inventory_of", inventory)
    wanted = {
        lambda: sriov.create(lab, "mlx5_0", 2, Silent()): 2,  # what was made, is shown
        lambda: sriov.create(lab, "mlx5_0", 2, Silent()): 1,
        lambda: sriov.losses(lab, "mlx5_0"): 1,
        lambda: sriov.release(lab, "mlx5_0"): 1,
    }
    for act, number in wanted.items():
        looks.clear()
        act()
        assert len(looks) == number


def test_nothing_changes_while_a_vf_is_held(lab: Lab) -> None:
    sriov.create(lab, "mlx5_0", 2, Silent())
    lab.claims = (claim("ha.oss1", PciAddress.parse("0000:41:10.2"), bed="ha"),)
    lab.kernel.written.clear()
    acts: list[Callable[[], object]] = [
        lambda: sriov.create(lab, "mlx5_0", 4, Silent()),
        lambda: sriov.losses(lab, "mlx5_0"),
        lambda: sriov.release(lab, "mlx5_0"),
    ]
    for act in acts:
        with pytest.raises(HostError, match=r"VF 1 \(0000:41:10.2\): the domain ha.oss1$"):
            act()
    assert lab.kernel.written == []


def test_one_at_a_time(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    held = lock.held
    monkeypatch.setattr(lock, "held", lambda name, *, what, wait_s: held(name, what=what, wait_s=wait_s / 600))
    with leasing(only(lab)), pytest.raises(BusyError, match="subnets, CPUs and devices on qemu:///system"):
        sriov.create(lab, "mlx5_0", 2, Silent())
    assert not lab.kernel.written
    assert sriov.create(lab, "mlx5_0", 2, Silent())[1]
