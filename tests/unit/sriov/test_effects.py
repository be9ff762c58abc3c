"""Virtual functions made, set up and released on made trees of sysfs."""

from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.inventory.guids import VfGuids
from vmlab.inventory.vfs import VfPlan
from vmlab.runtime.wait import Deadline
from vmlab.values.guid import NO_GUID, Guid
from vmlab.values.pci import PciAddress
from vmlab.virt import sriov
from vmlab.virt.machine import Machine
from vmlab.virt.sriov import EthernetVf, Vf

from .conftest import make_tree, put_double
from .kernel import IGB, Kernel, igb_tree

PF = PciAddress.parse("0000:21:00.0")
SOON = 5.0
PAIR = VfGuids(Guid.parse("0210:198e:c381:0000"), Guid.parse("0210:198e:c381:0001"))


def vf(number: int, pf: PciAddress = PF) -> Vf:
    return Vf(pf, number, PciAddress(0, pf.bus, 0x10, 2 * number))


def create(kernel: Kernel, *writes: int, now: int = 0, pf: PciAddress = PF) -> tuple[PciAddress, ...]:
    return sriov.create(kernel, VfPlan(pf, now, writes[-1] if writes else now, writes), Deadline.after(SOON))


def test_vfs_are_made_without_the_hosts_drivers(tmp_path: Path) -> None:
    kernel = Kernel(igb_tree(tmp_path), late=3)
    assert create(kernel, 4) == tuple(vf(number).address for number in range(4))
    assert kernel.written == [
        (f"{IGB}/sriov_drivers_autoprobe", "0"),
        (f"{IGB}/sriov_numvfs", "4"),
        (f"{IGB}/sriov_drivers_autoprobe", "1"),
    ]
    assert not kernel.links(("bus/pci/devices/0000:21:10.*/driver",))


def test_numbers_are_not_letters(tmp_path: Path) -> None:
    """virtfn10 comes after virtfn9."""
    folder = tmp_path / IGB
    make_tree(folder, {f"virtfn{n}": f"-> ../0000:21:1{n // 8}.{n % 8}" for n in range(12)})
    found = sriov.functions(Kernel(tmp_path), PF)
    assert [(address.slot - 0x10) * 8 + address.function for address in found] == list(range(12))


def test_another_count_goes_by_way_of_none(tmp_path: Path) -> None:
    kernel = Kernel(igb_tree(tmp_path))
    create(kernel, 2)
    assert len(create(kernel, 0, 4, now=2)) == 4
    assert create(kernel, 0, now=4) == ()
    kernel.written.clear()
    assert create(kernel) == ()
    assert kernel.written == []


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (VfPlan(PF, 2, 9, (0, 9)), "cannot have 9 VFs: it is more than .* (Numerical result out of range)"),
        (VfPlan(PF, 2, 4, (4,)), "cannot have 4 VFs: it has VFs already.* (Device or resource busy)"),
        (VfPlan(PF, 0, 4, (4,)), "had 0 VFs a moment ago and has 2 now"),
    ],
)
def test_autoprobe_is_as_it_was_after_a_refusal(tmp_path: Path, plan: VfPlan, text: str) -> None:
    kernel = Kernel(igb_tree(tmp_path))
    create(kernel, 2)
    with pytest.raises(HostError, match=text.replace("(", r"\(").replace(")", r"\)")):
        sriov.create(kernel, plan, Deadline.after(SOON))
    assert kernel.read(f"{IGB}/sriov_drivers_autoprobe") == "1"


def test_a_driver_that_makes_none(tmp_path: Path) -> None:
    kernel = Kernel(igb_tree(tmp_path))
    (tmp_path / IGB / "driver").unlink()
    with pytest.raises(
        HostError, match=r"its driver makes no VFs this way, or it has none \(No such file or directory"
    ):
        create(kernel, 4)


def test_autoprobe_that_was_off_stays_off(tmp_path: Path) -> None:
    kernel = Kernel(igb_tree(tmp_path))
    kernel.write(f"{IGB}/sriov_drivers_autoprobe", "0")
    create(kernel, 1)
    assert kernel.written[1:] == [(f"{IGB}/sriov_numvfs", "1")]


def test_links_that_never_come(tmp_path: Path) -> None:
    kernel = Kernel(igb_tree(tmp_path), late=1000)
    with pytest.raises(HostError, match="has 3 VFs, not 4, and that did not change in time"):
        sriov.create(kernel, VfPlan(PF, 0, 4, (4,)), Deadline.after(0.5))
    assert kernel.read(f"{IGB}/sriov_drivers_autoprobe") == "1"


@pytest.fixture
def ip(doubles: Path, tmp_path: Path) -> Path:
    """A double of `ip` that only writes down how it is called; it refuses `trust`, as igb's kernel refuses `rate`."""
    log = tmp_path / "ip.log"
    refuse = 'case "$*" in *trust*) echo "RTNETLINK answers: Operation not supported" >&2; exit 2;; esac'
    put_double(doubles, "ip", f'echo "$*" >> "{log}"\n{refuse}')
    return log


def test_ethernet(tmp_path: Path, ip: Path) -> None:
    kernel = Kernel(igb_tree(tmp_path))
    create(kernel, 2)
    make_tree(tmp_path, {f"{IGB}/net/a0/type": "1\n", f"{IGB}/net/a0/phys_port_name": "pf0vf1\n"})  # a representor
    sriov.set_ethernet(kernel, Machine(), vf(1), EthernetVf("52:54:00:aa:00:01"))
    assert ip.read_text() == "link set dev ens10 up\nlink set dev ens10 vf 1 mac 52:54:00:aa:00:01\n"
    ip.unlink()
    with pytest.raises(HostError, match=r"^`ip link set dev ens10 vf 0 trust on`: Operation not supported$"):
        sriov.set_ethernet(
            kernel, Machine(), vf(0), EthernetVf("52:54:00:aa:00:00", vlan=100, spoofchk=False, trust=True)
        )
    assert ip.read_text().splitlines()[1:] == [
        "link set dev ens10 vf 0 mac 52:54:00:aa:00:00",
        "link set dev ens10 vf 0 vlan 100",
        "link set dev ens10 vf 0 spoofchk off",
        "link set dev ens10 vf 0 trust on",
    ]


def test_another_function_is_never_set_up(tmp_path: Path, ip: Path) -> None:
    """A tool of others once unbound the PF for a VF: the address must be the child of that number."""
    kernel = Kernel(igb_tree(tmp_path))
    create(kernel, 2)
    kernel.written.clear()
    for wrong in (Vf(PF, 0, PF), Vf(PF, 1, vf(0).address), vf(3)):
        with pytest.raises(HostError, match="is not VF"):
            sriov.set_ethernet(kernel, Machine(), wrong, EthernetVf("52:54:00:aa:00:00"))
        with pytest.raises(HostError, match="is not VF"):
            sriov.set_guids(kernel, Machine(), wrong, {1: PAIR})
    assert not ip.exists()
    assert not kernel.written


HCA = PciAddress.parse("0000:41:00.0")
MLX5 = "bus/pci/devices/0000:41:00.0"


@pytest.fixture
def mlx5(tmp_path: Path) -> Kernel:
    """A ConnectX-5 as upstream's driver shows it, with two VFs, in the form of its ABI documents; no recording."""
    tree = {
        f"{MLX5}/sriov_totalvfs": "8\n",
        f"{MLX5}/sriov_numvfs": "0\n",
        f"{MLX5}/sriov_drivers_autoprobe": "1\n",
        f"{MLX5}/net/ib0/type": "32\n",
        f"{MLX5}/infiniband/mlx5_0/ports/1/link_layer": "InfiniBand\n",
        f"{MLX5}/driver": "-> ../../drivers/mlx5_core",
        "bus/pci/drivers/mlx5_core/bind": "",
        "bus/pci/drivers/mlx5_core/unbind": "",
    }
    kernel = Kernel(make_tree(tmp_path, tree), natural="mlx5_core")
    create(kernel, 2, pf=HCA)
    kernel.written.clear()
    return kernel


def ofed(kernel: Kernel) -> None:
    """MLNX_OFED's files, with what they hold at first."""
    for number in range(2):
        zero = ":".join(["00"] * 8) + "\n"
        names = {"policy": "Down\n", "node": zero, "port": zero}
        make_tree(kernel.root, {f"{MLX5}/sriov/{number}/{name}": text for name, text in names.items()})


def test_guids_by_ofeds_files(mlx5: Kernel, ip: Path) -> None:
    ofed(mlx5)
    sriov.set_guids(mlx5, Machine(), vf(1, HCA), {1: PAIR})
    assert mlx5.written == [
        (f"{MLX5}/sriov/1/policy", "Follow"),
        (f"{MLX5}/sriov/1/node", "02:10:19:8e:c3:81:00:00"),
        (f"{MLX5}/sriov/1/port", "02:10:19:8e:c3:81:00:01"),
    ]
    mlx5.written.clear()
    sriov.set_guids(mlx5, Machine(), vf(1, HCA), {1: PAIR})
    assert mlx5.written == []
    assert not ip.exists()


def test_guids_by_netlink(mlx5: Kernel, ip: Path) -> None:
    sriov.set_guids(mlx5, Machine(), vf(1, HCA), {1: PAIR})
    guids = "node_guid 02:10:19:8e:c3:81:00:00 port_guid 02:10:19:8e:c3:81:00:01"
    assert ip.read_text() == f"link set dev ib0 vf 1 {guids} state auto\n"
    assert mlx5.written == []
    (mlx5.root / MLX5 / "net/ib0/type").write_text("1\n")
    with pytest.raises(HostError, match="has no network interface on the host") as refused:
        sriov.set_guids(mlx5, Machine(), vf(1, HCA), {1: PAIR})
    assert refused.value.hint == "modprobe ib_ipoib"


@pytest.mark.parametrize(("driver", "rebound"), [("mlx5_core", True), ("vfio-pci", False), (None, False)])
def test_a_vf_is_bound_anew_where_its_driver_has_read_the_guids(
    mlx5: Kernel, ip: Path, driver: str | None, rebound: bool
) -> None:
    if driver is not None:
        make_tree(mlx5.root, {"bus/pci/devices/0000:41:10.2/driver": f"-> ../../drivers/{driver}"})
    sriov.set_guids(mlx5, Machine(), vf(1, HCA), {1: PAIR})
    twice = [(f"bus/pci/drivers/mlx5_core/{how}", "0000:41:10.2") for how in ("unbind", "bind")]
    assert mlx5.written == (twice if rebound else [])
    assert mlx5.link("bus/pci/devices/0000:41:10.2/driver") == driver
    assert ip.exists()


def test_guids_by_mlx4s_aliases(tmp_path: Path, ip: Path) -> None:
    """Two InfiniBand ports, as MLNX_OFED's manual describes the files; no recording."""
    device = f"{MLX5}/infiniband/mlx4_0/iov"
    tree = {
        f"{device}/0000:41:10.0/ports/1/gid_idx/0": "3\n",
        f"{device}/0000:41:10.0/ports/2/gid_idx/0": "4\n",
        f"{device}/ports/1/admin_guids/3": "0\n",
        f"{device}/ports/2/admin_guids/4": "0\n",
        f"{MLX5}/virtfn0": "-> ../0000:41:10.0",
        "bus/pci/devices/0000:41:10.0/physfn": "-> ../0000:41:00.0",
    }
    kernel = Kernel(make_tree(tmp_path, tree))
    other = VfGuids(Guid.parse("02bb:198e:c381:0000"), Guid.parse("02bb:198e:c381:0001"))
    sriov.set_guids(kernel, Machine(), vf(0, HCA), {1: PAIR, 2: other})
    assert kernel.written == [
        (f"{device}/ports/1/admin_guids/3", "0x0210198ec3810001"),
        (f"{device}/ports/2/admin_guids/4", "0x02bb198ec3810001"),
    ]
    assert not ip.exists()


def test_guids_that_no_subnet_manager_takes(mlx5: Kernel) -> None:
    for bad in ({}, {1: VfGuids(Guid(0), Guid(0))}, {1: VfGuids(PAIR.node, NO_GUID)}):
        with pytest.raises(HostError, match="shows no port with a GUID"):
            sriov.set_guids(mlx5, Machine(), vf(0, HCA), bad)
    assert mlx5.written == []


def test_release_takes_the_guids_away_first(mlx5: Kernel) -> None:
    ofed(mlx5)
    sriov.release(mlx5, Machine(), VfPlan(HCA, 2, 0, (0,)), Deadline.after(SOON))
    ones = ":".join(["ff"] * 8)
    names = [(path.removeprefix(f"{MLX5}/"), text) for path, text in mlx5.written]
    assert names[0:2] == [("sriov/0/node", ones), ("sriov/0/port", ones)]
    assert names[-1] == ("sriov_numvfs", "0")
    assert sriov.functions(mlx5, HCA) == ()


def test_release_goes_on_where_guids_cannot_be_taken_away(mlx5: Kernel, doubles: Path) -> None:
    put_double(doubles, "ip", "exit 2")
    sriov.release(mlx5, Machine(), VfPlan(HCA, 2, 0, (0,)), Deadline.after(SOON))
    assert sriov.functions(mlx5, HCA) == ()
