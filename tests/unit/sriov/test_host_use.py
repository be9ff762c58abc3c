"""What the host needs, from what it prints of itself in one go."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.runtime.process import Result
from vmlab.values.pci import PciAddress
from vmlab.virt.host_use import read_host_use
from vmlab.virt.machine import Machine
from vmlab.virt.sysfs import Sysfs

from .conftest import make_tree

VF, OTHER, PF = map(PciAddress.parse, ("0000:3b:02.0", "0000:3b:02.1", "0000:3b:00.0"))
LINKS = f"/sys/class/net/ens1 ../../devices/pci0000:3a/{PF}/net/ens1\n"
ROUTES = '[{"dst": "default", "dev": "ens1"}]\n'


@dataclass(frozen=True)
class Told(Machine):
    said: str = ""

    def run(self, argv: Sequence[str], *, deadline_s: float, stdin: str | None = None) -> Result:
        assert deadline_s
        assert stdin is None
        return Result(tuple(argv), 0, self.said, "", timed_out=False)


def test_interfaces_elsewhere_and_programs(tmp_path: Path) -> None:
    tree = {f"bus/pci/devices/{VF}/iommu_group": "-> ../../../../kernel/60", "kernel/60/type": "DMA-FQ"}
    sysfs = Sysfs.local(make_tree(tmp_path, tree))
    elsewhere, programs = f"/sys/bus/pci/devices/{OTHER}\n", "4711 /dev/vfio/60 dpdk-testpmd\n"
    use = read_host_use(Told(said=f"{LINKS}\0{ROUTES}\0\0\0\0{elsewhere}\0{programs}"), sysfs)
    assert use.used_by == {
        OTHER: "its network interface is in another network namespace",
        PF: "the default route, over ens1",
    }
    assert use.opened_by == {VF: "dpdk-testpmd (pid 4711)"}


def test_not_to_know_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot tell which devices the host itself needs"):
        read_host_use(Told(said=LINKS), Sysfs.local(tmp_path))


def test_this_machine_tells() -> None:
    """The real script, on the real sysfs."""
    read_host_use(Machine(), Sysfs.local(Path("/sys")))
