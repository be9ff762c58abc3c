"""Counts of virtual functions: what is done, what is refused and why."""

import pytest

from vmlab.errors import HostError, UsageError
from vmlab.inventory.vfs import find_function, plan_vfs

from .hosts import CX3, CX5, IGB, IGB_VFS, NVME, changed, claim, hosts


def test_what_is_done() -> None:
    assert plan_vfs(hosts(), IGB, 4).writes == (4,)
    assert plan_vfs(hosts(igb_vfs=4), IGB, 4).writes == ()
    assert plan_vfs(hosts(igb_vfs=4), IGB, 7).writes == (0, 7)
    assert plan_vfs(hosts(igb_vfs=4), IGB, 2).writes == (0, 2)
    assert plan_vfs(hosts(igb_vfs=4), IGB, 0).writes == (0,)
    assert plan_vfs(hosts(), IGB, 0).writes == ()


def test_never_shrunk_implicitly() -> None:
    plan = plan_vfs(hosts(igb_vfs=4), IGB, 2, at_least=True)
    assert (plan.writes, plan.wanted) == ((), 4)
    assert plan_vfs(hosts(igb_vfs=2), IGB, 4, at_least=True).writes == (0, 4)


def test_nothing_is_taken_away_from_anybody() -> None:
    host = hosts(claim("a", IGB_VFS[0]), claim("ha.oss1", IGB_VFS[1], bed="ha", running=False), igb_vfs=4)
    host = changed(host, IGB_VFS[2], used_by="the default route, over ens10v2")
    host = changed(host, IGB_VFS[3], driver="vfio-pci")
    for wanted in (0, 2, 7):
        with pytest.raises(HostError) as refused:
            plan_vfs(host, IGB, wanted)
        assert refused.value.message == (
            f"0000:21:00.0 (ens10) has 4 VFs and would have to give them all up to have {wanted}, but they are in use: "
            "VF 0 (0000:21:10.0): the domain a; VF 1 (0000:21:10.2): the domain ha.oss1 (shut off); "
            "VF 2 (0000:21:10.4): the host (the default route, over ens10v2); "
            "VF 3 (0000:21:10.6): a program of the host, by way of vfio-pci"
        )
    assert plan_vfs(host, IGB, 4).writes == ()


def test_what_the_kernel_would_refuse_is_refused_before() -> None:
    with pytest.raises(HostError, match=r"0000:21:00.0 \(ens10\) can have 7 VFs, not 8"):
        plan_vfs(hosts(), IGB, 8)
    with pytest.raises(HostError, match="can have 8 VFs, not 16") as refused:
        plan_vfs(hosts(), CX5, 16)
    assert refused.value.hint == (
        "mstconfig -d 0000:41:00.0 set SRIOV_EN=1 NUM_OF_VFS=16 LINK_TYPE_P1=1, then switch the host off and on"
    )
    with pytest.raises(HostError, match="has no driver on the host"):
        plan_vfs(changed(hosts(), IGB, driver=None), IGB, 4)
    with pytest.raises(HostError, match="is bound to vfio-pci") as refused:
        plan_vfs(changed(hosts(), IGB, driver="vfio-pci"), IGB, 4)
    assert refused.value.hint == "virsh nodedev-reattach pci_0000_21_00_0"
    with pytest.raises(HostError, match="passed as a whole to the domain x"):
        plan_vfs(hosts(claim("x", IGB)), IGB, 4)
    with pytest.raises(HostError, match="out of order: not ready after FLR; giving up"):
        plan_vfs(changed(hosts(), IGB, broken="not ready after FLR; giving up"), IGB, 4)


def test_not_a_physical_function() -> None:
    with pytest.raises(HostError, match=r"0000:21:10.2 is itself a VF, of 0000:21:00.0"):
        plan_vfs(hosts(igb_vfs=4), IGB_VFS[1], 4)
    with pytest.raises(HostError, match=r"0000:22:00.0 has no SR-IOV"):
        plan_vfs(hosts(), NVME, 4)
    with pytest.raises(HostError, match="has no PCI function 0000:99"):
        plan_vfs(hosts(), IGB._replace(bus=0x99), 4)


def test_mlx4_counts_are_an_option_of_the_module() -> None:
    with pytest.raises(HostError, match="it has 0, 11 are wanted") as refused:
        plan_vfs(hosts(), CX3, 11)
    assert "`options mlx4_core num_vfs=11 probe_vf=0 port_type_array=1,2` into /etc/modprobe.d/" in refused.value.hint
    assert "takes the host its own InfiniBand" in refused.value.hint
    with_vfs = changed(hosts(), CX3, virtual_functions=(CX3._replace(function=1), CX3._replace(function=2)))
    assert plan_vfs(with_vfs, CX3, 2).writes == ()
    assert plan_vfs(with_vfs, CX3, 1, at_least=True).writes == ()
    with pytest.raises(HostError, match="option of the module"):
        plan_vfs(with_vfs, CX3, 0)


def test_a_function_by_any_of_its_names() -> None:
    for name in ("0000:41:00.0", "41:00.0", "mlx5_0", "ib0"):
        assert find_function(hosts(), name).address == CX5
    assert find_function(hosts(), "ens7").address == CX3
    with pytest.raises(UsageError) as refused:
        find_function(hosts(), "mlx5_9")
    assert refused.value.message == (
        "lab has no PCI function 'mlx5_9' (with SR-IOV: 0000:05:00.0 (mlx4_0, ib1, ens7), 0000:21:00.0 (ens10), "
        "0000:41:00.0 (mlx5_0, ib0))"
    )
