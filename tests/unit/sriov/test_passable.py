"""What a guest must not get, and what guests of ours left behind."""

from dataclasses import replace

import pytest

from vmlab.errors import HostError
from vmlab.inventory.model import Claim, HostInventory
from vmlab.inventory.passable import idle_on_vfio, refuse_unpassable, stranded
from vmlab.values.pci import PciAddress

from .hosts import CX5, IGB, IGB_VFS, NVME, TWINS, changed, claim, hosts


def reason(host: HostInventory, *addresses: PciAddress, session: bool = False) -> str:
    with pytest.raises(HostError) as refused:
        refuse_unpassable(host, addresses, domain="ha.oss1", session=session)
    return refused.value.message.removeprefix("ha.oss1 cannot have the devices it is to get: ")


def test_what_nobody_needs_may_be_passed() -> None:
    host = hosts(claim("ha.oss1", CX5), claim("other", NVME, running=False), igb_vfs=4)
    refuse_unpassable(host, (CX5, NVME, *IGB_VFS, *TWINS), domain="ha.oss1")
    refuse_unpassable(host, (), domain="ha.oss1")


def test_what_somebody_needs_may_not() -> None:
    route = changed(hosts(), IGB, used_by="the default route, over bond0 and br0")
    assert reason(route, IGB) == "0000:21:00.0 (ens10) is used by the host: the default route, over bond0 and br0"
    assert reason(hosts(claim("x", CX5)), CX5) == "0000:41:00.0 (mlx5_0, ib0) belongs to the domain x, which runs"
    broken = changed(hosts(), CX5, broken="not ready after FLR")
    assert reason(broken, CX5) == "0000:41:00.0 (mlx5_0, ib0) is out of order: not ready after FLR"
    assert reason(hosts(), IGB._replace(bus=9)) == "the host has no PCI function 0000:09:00.0"
    assert reason(changed(hosts(), NVME, class_code=0x060400), NVME) == "0000:22:00.0 is a PCI bridge"


def test_a_pf_whose_vfs_run_in_other_guests() -> None:
    """libvirt does not refuse this, and tears them out (recorded on the emulated lab host)."""
    host = hosts(claim("a", IGB_VFS[0]), claim("b", IGB_VFS[1], running=False), igb_vfs=4)
    assert reason(host, IGB) == (
        "0000:21:00.0 (ens10) has VFs in use, which would be torn out: "
        "VF 0 (0000:21:10.0): the domain a, VF 1 (0000:21:10.2): the domain b (shut off)"
    )
    assert "has 4 VFs, which would go (vmlab sriov release 0000:21:00.0)" in reason(hosts(igb_vfs=4), IGB)


def test_a_group_goes_as_a_whole() -> None:
    one, other = TWINS
    assert reason(hosts(), one) == (
        "0000:63:01.0 is in IOMMU group 10, which goes to a guest only as a whole; "
        "its other members stay with the host: 0000:63:02.0 on e1000"
    )
    refuse_unpassable(changed(hosts(), other, driver=None), (one,), domain="x")
    refuse_unpassable(changed(hosts(), other, driver="vfio-pci"), (one,), domain="x")
    refuse_unpassable(changed(hosts(), other, class_code=0x060400), (one,), domain="x")


def test_the_host_itself_and_all_reasons_at_once() -> None:
    host = replace(hosts(claim("x", CX5)), no_iommu="the IOMMU is off (intel_iommu=on)")
    assert reason(host, CX5, IGB._replace(bus=9), session=True).split("; ") == [
        "devices take the system's libvirt (qemu:///system), not a session's",
        "the IOMMU is off (intel_iommu=on)",
        "the host has no PCI function 0000:09:00.0",
        "0000:41:00.0 (mlx5_0, ib0) belongs to the domain x, which runs",
    ]


def test_only_what_ours_left_is_stranded() -> None:
    host = hosts(
        claim("ha.oss1", CX5, IGB_VFS[0], bed="ha", running=False),
        claim("ha.oss2", IGB_VFS[1], bed="ha"),
        claim("foreign", NVME, TWINS[0], running=False),
        claim("ha.oss3", TWINS[0], TWINS[1], bed="ha", running=False),
        igb_vfs=4,
    )
    for address in (CX5, *IGB_VFS, NVME, *TWINS):
        host = changed(host, address, driver="vfio-pci")
    # Not oss2's, which runs; not the foreign domain's, nor what it shares; not a VF that no domain knows.
    assert [function.address for function in stranded(host)] == [IGB_VFS[0], CX5, TWINS[1]]
    assert stranded(changed(host, CX5, driver="mlx5_core"))[0].address == IGB_VFS[0]


def test_what_a_guest_uses_without_having_it_and_what_a_program_has() -> None:
    rider = Claim("cloud", None, None, running=True, behind={IGB_VFS[0]: "macvtap on ens10v0"})
    host = changed(hosts(rider, igb_vfs=4), IGB_VFS[1], driver="vfio-pci")
    assert "0000:21:10.0 is used by the domain cloud, which runs: macvtap on ens10v0" in reason(host, IGB_VFS[0])
    assert "0000:21:10.2 is bound to vfio-pci: a program of the host, by way of vfio-pci" in reason(host, IGB_VFS[1])
    assert "VF 0 (0000:21:10.0): the domain cloud (macvtap on ens10v0), VF 1" in reason(host, IGB)
    refuse_unpassable(replace(host, claims=(replace(rider, running=False),)), (IGB_VFS[0],), domain="x")
    lost = Claim("cloud", None, None, running=True, lost=("the vDPA device /dev/vhost-vdpa-0",))
    host = changed(hosts(lost, igb_vfs=4), IGB_VFS[0], driver="mlx5_core")
    assert "perhaps the domain cloud (the vDPA device /dev/vhost-vdpa-0" in reason(host, IGB_VFS[0])
    refuse_unpassable(host, (IGB_VFS[1],), domain="x")


def test_whole_functions_that_wait_on_vfio() -> None:
    host = changed(changed(hosts(igb_vfs=1), CX5, driver="vfio-pci"), IGB_VFS[0], driver="vfio-pci")
    assert [function.address for function in idle_on_vfio(host)] == [CX5]
    refuse_unpassable(host, (CX5,), domain="x")
    opened = changed(host, CX5, opened_by="spdk (pid 7)")
    assert idle_on_vfio(opened) == ()
    assert "is bound to vfio-pci: the program spdk (pid 7), by way of vfio-pci" in reason(opened, CX5)
    assert idle_on_vfio(replace(host, claims=(claim("x", CX5, running=False),))) == ()


def test_a_member_of_the_group_that_a_program_has() -> None:
    one, other = TWINS
    host = changed(changed(hosts(), other, driver="vfio-pci"), other, opened_by="dpdk (pid 7)")
    assert "its other members stay with the host: 0000:63:02.0 on vfio-pci" in reason(host, one)
