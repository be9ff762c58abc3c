"""Which kind serves which address, and how the RDMA device of an address is found in what a guest's sysfs shows."""

import subprocess
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.domainxml.metadata import Address
from vmlab.fabrics import SURVEY, RdmaDevice, fabrics, kind_of, read_survey

CASES = Path(__file__).parents[2] / "cases" / "rxe"
IB0 = Address("ib0", "infiniband", "virtio", "ib0", "52:54:00:00:01:01", IPv4Interface("10.77.1.11/24"))
MGMT = Address("mgmt", "management", "virtio", "mgmt", "52:54:00:00:00:01", IPv4Interface("10.77.0.11/24"))


def test_each_address_has_one_kind() -> None:
    assert list(fabrics()) == ["ethernet", "infiniband", "rxe"]
    kinds = {
        "rxe": IB0,
        "infiniband": replace(IB0, attach="vf"),
        "ethernet": replace(IB0, kind="ethernet"),
    }
    for name, address in (*kinds.items(), ("ethernet", MGMT)):
        assert kind_of(address).name == name
        assert [kind.name for kind in fabrics().values() if kind.serves(address)] == [name]
    with pytest.raises(ValueError, match="ib0 is of the unknown kind token-ring"):
        kind_of(replace(IB0, kind="token-ring"))


def read(name: str) -> RdmaDevice | None:
    [path] = (CASES / name).glob("*.txt")
    return kind_of(IB0).device(IB0, read_survey(path.read_text()))


def test_the_device_is_the_one_with_the_address() -> None:
    assert read("good") == RdmaDevice("rxe_ib0", 1, active=True, gid_index=1)
    assert read("truncated") is None
    assert read("failed") is None


TWO = """\
net/ib1/dev_port:1
infiniband/mlx5_0/ports/1/state:4: ACTIVE
infiniband/mlx5_0/ports/1/link_layer:InfiniBand
infiniband/mlx5_0/ports/1/gids/0:fe80:0000:0000:0000:0002:c903:0028:f3a1
infiniband/mlx5_0/ports/2/state:1: DOWN
infiniband/mlx5_0/ports/2/link_layer:InfiniBand
infiniband/mlx5_1/ports/1/state:4: ACTIVE
infiniband/mlx5_1/ports/1/link_layer:Ethernet
infiniband/mlx5_1/ports/1/gids/2:0000:0000:0000:0000:0000:ffff:0a4d:010b
infiniband/mlx5_1/ports/1/gids/3:0000:0000:0000:0000:0000:ffff:0a4d:010b
infiniband/mlx5_1/ports/1/gid_attrs/types/2:IB/RoCE v1
infiniband/mlx5_1/ports/1/gid_attrs/types/3:RoCE v2
net/ib0/device/infiniband/mlx5_0
net/ib1/device/infiniband/mlx5_0
net/xge/device/infiniband/mlx5_1
"""
"""As Documentation/ABI/stable/sysfs-class-infiniband has it; no recording of hardware."""


def test_hardware() -> None:
    survey = read_survey(TWO)
    hca = replace(IB0, attach="passthrough")
    assert kind_of(hca).device(hca, survey) == RdmaDevice("mlx5_0", 1, active=True)
    second = replace(hca, interface="ib1")
    assert kind_of(second).device(second, survey) == RdmaDevice("mlx5_0", 2, active=False)
    roce = replace(hca, interface="xge")
    assert kind_of(roce).device(roce, survey) == RdmaDevice("mlx5_1", 1, active=True, gid_index=3)
    other = replace(roce, ip=IPv4Interface("10.77.1.12/24"))
    assert kind_of(other).device(other, survey) is None


@given(st.text() | st.builds(lambda a, c: TWO[:a] + c + TWO[a:], st.integers(0, len(TWO)), st.text()))
def test_any_text_is_a_survey(text: str) -> None:
    survey = read_survey(text)
    for kind in fabrics().values():
        kind.device(IB0, survey)


def test_the_survey_runs_on_any_linux() -> None:
    done = subprocess.run(SURVEY, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    read_survey(done.stdout)


def test_steps() -> None:
    [mtu, link, *_] = kind_of(IB0).steps(IB0, mtu=4092)
    assert mtu.check[3:] == ("vmlab", IB0.mac, "4092")
    assert link.check[4:] == (IB0.mac, "0000:0000:0000:0000:0000:ffff:0a4d:010b", "10.77.1.11")
    assert kind_of(MGMT).steps(MGMT) == ()
    roce = replace(IB0, attach="vf")
    assert kind_of(roce).steps(roce) == ()


def test_a_step_says_that_there_is_no_such_interface() -> None:
    [link, *_] = kind_of(IB0).steps(IB0)
    for command in (link.check, *link.apply):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr == "no network interface has the address 52:54:00:00:01:01\n"


def test_soft_roce_waits_for_the_gid_as_the_kernel_writes_it() -> None:
    """Python 3.13 writes IPv4-mapped addresses in another form than 3.11."""
    [link, *_] = kind_of(IB0).steps(IB0)
    assert "0000:0000:0000:0000:0000:ffff:0a4d:010b" in link.check


def test_soft_roce_is_there_at_boot_before_lnet_starts() -> None:
    [link, script, unit, enabled] = kind_of(IB0).steps(IB0)
    assert enabled.apply == (("systemctl", "enable", "--quiet", "vmlab-rxe-ib0.service"),)
    assert unit.name == "/etc/systemd/system/vmlab-rxe-ib0.service"
    [read] = [command[-1] for command in unit.apply]
    lines = read.splitlines()
    assert {"Type=oneshot", "Before=lnet.service", "WantedBy=multi-user.target"} < set(lines)
    # What runs at boot is what `up` runs, with the same words.
    assert f"ExecStart=/bin/sh {script.name} {' '.join(link.apply[0][4:])}" in lines
    assert script.apply[0][-1] == link.apply[0][2]
