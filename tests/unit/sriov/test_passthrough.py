"""Functions taken from the host's drivers and given back, with a double of libvirt's node devices."""

from pathlib import Path, PurePosixPath
from typing import Any

import libvirt
import pytest

from vmlab.errors import HostError, LibvirtError
from vmlab.inventory.passable import stranded
from vmlab.runtime.wait import Deadline
from vmlab.values.pci import PciAddress
from vmlab.virt import passthrough
from vmlab.virt.connection import Host, refused
from vmlab.virt.machine import Machine

from .conftest import make_tree, put_double
from .hosts import changed, claim, hosts
from .kernel import Kernel

CX5 = PciAddress.parse("0000:41:00.0")
FOLDER = "bus/pci/devices/0000:41:00.0"
TREE = {
    f"{FOLDER}/driver": "-> ../../drivers/mlx5_core",
    f"{FOLDER}/driver_override": "(null)\n",
    f"{FOLDER}/iommu_group": "-> ../../../kernel/iommu_groups/20",
    "bus/pci/drivers/vfio-pci/unbind": "",
    "bus/pci/drivers_probe": "",
}
SOON = 5.0


class LibvirtDouble(Host):
    """Node devices that change the made tree as libvirt was seen to do; `forgetful` after a restart of libvirtd."""

    def __init__(self, kernel: Kernel, *, forgetful: bool = False, in_use: str = "") -> None:
        self.uri = "qemu:///system"
        self.kernel = kernel
        self.forgetful = forgetful
        self.in_use = in_use
        self.asked: list[str] = []

    def call(self, action: Any) -> Any:
        try:
            return action(self)
        except libvirt.libvirtError as error:
            raise refused(error) from error

    def nodeDeviceLookupByName(self, name: str) -> "LibvirtDouble":  # noqa: N802 - libvirt's own name
        self.asked.append(name)
        return self

    def detachFlags(self, driver: str | None, flags: int) -> None:  # noqa: N802
        assert (driver, flags) == (None, 0)
        self._bind("vfio-pci")

    def reAttach(self) -> None:  # noqa: N802
        if self.in_use:
            error = libvirt.libvirtError("")
            error.err = (55, 10, f"PCI device 0000:41:00.0 is in use by driver QEMU, domain {self.in_use}")
            raise error
        if not self.forgetful:
            self._bind("mlx5_core")

    def _bind(self, driver: str) -> None:
        link = self.kernel.root / FOLDER / "driver"
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../drivers/{driver}")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(make_tree(tmp_path / "sys", TREE), natural="mlx5_core")


def test_taken_once_its_group_can_be_opened(kernel: Kernel, tmp_path: Path) -> None:
    vfio = tmp_path / "vfio"
    make_tree(vfio, {"20": ""})
    host = LibvirtDouble(kernel)
    passthrough.take(host, kernel, Machine(), [CX5], Deadline.after(SOON), vfio=PurePosixPath(vfio))
    assert host.asked == ["pci_0000_41_00_0"]
    assert kernel.link(f"{FOLDER}/driver") == "vfio-pci"


def test_a_group_that_does_not_appear(kernel: Kernel, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=f"{tmp_path}/vfio/20 of 0000:41:00.0 does not appear"):
        passthrough.take(
            LibvirtDouble(kernel), kernel, Machine(), [CX5], Deadline.after(0.1), vfio=PurePosixPath(tmp_path / "vfio")
        )
    (kernel.root / FOLDER / "iommu_group").unlink()
    with pytest.raises(HostError, match=r"0000:41:00.0 is in no IOMMU group"):
        passthrough.take(LibvirtDouble(kernel), kernel, Machine(), [CX5], Deadline.after(0.1))


@pytest.mark.parametrize("forgetful", [False, True])
def test_given_back_to_the_driver_that_the_kernel_finds(kernel: Kernel, forgetful: bool) -> None:
    host = LibvirtDouble(kernel, forgetful=forgetful)
    host.detachFlags(None, 0)
    (kernel.root / FOLDER / "driver_override").write_text("vfio-pci\n")
    assert passthrough.give_back(host, kernel, CX5) == "mlx5_core"
    by_hand = [
        (f"{FOLDER}/driver_override", "\n"),
        ("bus/pci/drivers/vfio-pci/unbind", "0000:41:00.0"),
        ("bus/pci/drivers_probe", "0000:41:00.0"),
    ]
    assert kernel.written == (by_hand if forgetful else [])
    assert passthrough.give_back(host, kernel, CX5) == "mlx5_core"
    assert len(host.asked) == 1  # the second time there is nothing to do


def test_what_a_running_guest_has_is_not_given_back(kernel: Kernel) -> None:
    host = LibvirtDouble(kernel, in_use="a")
    host.detachFlags(None, 0)
    with pytest.raises(LibvirtError, match=r"^0000:41:00.0: libvirt: .*in use by driver QEMU, domain a$"):
        passthrough.give_back(host, kernel, CX5)
    assert kernel.written == []


def test_what_stays_on_vfio_is_told(kernel: Kernel) -> None:
    kernel.natural = "mlx5_vfio_pci"
    host = LibvirtDouble(kernel, forgetful=True)
    host.detachFlags(None, 0)
    with pytest.raises(HostError, match=r"0000:41:00.0 stays on mlx5_vfio_pci"):
        passthrough.give_back(host, kernel, CX5)


def test_brought_back_after_a_crash(kernel: Kernel) -> None:
    host = LibvirtDouble(kernel)
    host.detachFlags(None, 0)
    ours = changed(hosts(claim("ha.oss1", CX5, bed="ha", running=False)), CX5, driver="vfio-pci")
    foreign = changed(hosts(claim("x", CX5, running=False)), CX5, driver="vfio-pci")
    assert stranded(foreign) == ()
    (left,) = stranded(ours)
    passthrough.give_back(host, kernel, left.address)
    assert kernel.link(f"{FOLDER}/driver") == "mlx5_core"


def test_vfio_is_loaded_if_it_is_not(kernel: Kernel, doubles: Path) -> None:
    put_double(doubles, "modprobe", "exit 9")
    passthrough.load_vfio(kernel, Machine())
    (kernel.root / "bus/pci/drivers/vfio-pci/unbind").unlink()
    (kernel.root / "bus/pci/drivers/vfio-pci").rmdir()
    fatal = "modprobe: FATAL: Module vfio-pci not found in directory /lib/modules/6.12.107+deb13-amd64"
    put_double(doubles, "modprobe", f'echo "{fatal}" >&2; exit 1')
    with pytest.raises(HostError, match=r"has no vfio-pci.*Module vfio-pci not found"):
        passthrough.load_vfio(kernel, Machine())
    put_double(doubles, "modprobe", f'[ "$*" = vfio-pci ] && mkdir "{kernel.root}/bus/pci/drivers/vfio-pci"')
    passthrough.load_vfio(kernel, Machine())


def test_a_session_is_refused(kernel: Kernel) -> None:
    host = LibvirtDouble(kernel)
    passthrough.check_functions(host, hosts(), [CX5], "ha.oss1")
    host.uri = "qemu:///session"
    with pytest.raises(HostError, match="not a session's"):
        passthrough.check_functions(host, hosts(), [CX5], "ha.oss1")


def test_whether_vfio_could_be_loaded_is_asked_without_loading_it(kernel: Kernel, doubles: Path) -> None:
    log = doubles / "log"
    put_double(doubles, "modprobe", f'echo "$*" >> "{log}"; exit 1')
    assert passthrough.without_vfio(kernel, Machine()) is None
    (kernel.root / "bus/pci/drivers/vfio-pci/unbind").unlink()
    (kernel.root / "bus/pci/drivers/vfio-pci").rmdir()
    why = passthrough.without_vfio(kernel, Machine())
    assert why == "this machine has no vfio-pci, which functions are passed to guests by"
    assert log.read_text() == "--dry-run --quiet vfio-pci\n"
    put_double(doubles, "modprobe", "exit 0")
    assert passthrough.without_vfio(kernel, Machine()) is None
