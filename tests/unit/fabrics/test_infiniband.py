"""InfiniBand hardware in a guest: the real scripts on made trees, with a double of `ip` that writes down its calls.

The trees are in the form of Documentation/ABI/stable/sysfs-class-infiniband; no recording of hardware.
"""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from vmlab.domainxml.metadata import Address
from vmlab.fabrics import RdmaDevice, kind_of, read_survey
from vmlab.steps import Command

GUID = "0210:198e:c381:000b"
OCTETS = "02:10:19:8e:c3:81:00:0b"
VF = Address("ib0", "infiniband", "vf", "ib0", GUID, IPv4Interface("10.77.1.11/24"))
IPOIB = "80:00:02:08:fe:80:00:00:00:00:00:00:"
PORT = "class/infiniband/mlx5_7/ports/1"
ACTIVE = {
    f"{PORT}/gids/0": f"fe80:0000:0000:0000:{GUID}\n",
    f"{PORT}/state": "4: ACTIVE\n",
    f"{PORT}/lid": "0x7\n",
    f"{PORT}/sm_lid": "0x1\n",
    "class/infiniband/mlx5_1/ports/1/gids/0": "fe80:0000:0000:0000:0210:198e:c381:000d\n",
}
DEAD = {**ACTIVE, f"{PORT}/state": "1: DOWN\n", f"{PORT}/lid": "0xffff\n", f"{PORT}/sm_lid": "0x0\n"}
INTERFACES = {
    "module/ib_ipoib/refcnt": "0\n",
    "class/net/ib3/address": f"{IPOIB}{OCTETS}\n",
    "class/net/ib3/type": "32\n",
    "class/net/ib3/mtu": "2044\n",
    "class/net/ib3.8001/address": f"{IPOIB}{OCTETS}\n",
    "class/net/ib3.8001/parent": "ib3\n",
    "class/net/mgmt/address": "52:54:00:00:00:01\n",
    "class/net/mgmt/type": "1\n",
}


@pytest.fixture
def sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree, and a double of `ip` that renames in it."""
    doubles = tmp_path / "doubles"
    doubles.mkdir()
    net = tmp_path / "sys/class/net"
    script = f"""#!/bin/sh
echo "$*" >> "{tmp_path}/ip.log"
case $* in
    *" name "*) mv "{net}/$4" "{net}/$6" ;;
    "-o -4 address show"*) cat "{tmp_path}/addresses" 2>/dev/null ;;
esac
"""
    (doubles / "ip").write_text(script)
    (doubles / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", f"{doubles}:{os.environ['PATH']}")
    return tmp_path / "sys"


def make(root: Path, *trees: Mapping[str, str]) -> None:
    for name, text in [item for tree in trees for item in tree.items()]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def run(command: Command, root: Path) -> subprocess.CompletedProcess[str]:
    """The script as it is, but for where sysfs lies and how long it waits."""
    shell, flag, script, *values = command
    words = [shell, flag, script.replace("/sys/", f"{root}/"), *("1" if value == "60" else value for value in values)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_an_active_port_is_all_right(sys: Path) -> None:
    make(sys, ACTIVE)
    port, _ = kind_of(VF).steps(VF)
    assert run(port.check, sys).returncode == 0
    assert run(port.apply[0], sys).returncode == 0


def test_a_dead_port_is_explained_by_the_subnet_manager(sys: Path) -> None:
    make(sys, DEAD)
    port, _ = kind_of(VF).steps(VF)
    assert run(port.check, sys).returncode == 1
    done = run(port.apply[0], sys)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("mlx5_7 port 1 is DOWN, lid 65535, sm_lid 0. SM without virtualization support? ")
    assert "`virt_enabled 2` in its opensm.conf" in line
    whole = replace(VF, attach="passthrough")
    line = run(kind_of(whole).steps(whole)[0].apply[0], sys).stderr
    assert line.startswith("mlx5_7 port 1 is DOWN, lid 65535, sm_lid 0. Is its cable in")


def test_a_port_that_is_not_there(sys: Path) -> None:
    make(sys, ACTIVE)
    other = replace(VF, mac="0210:198e:c381:00ff")
    port, _ = kind_of(other).steps(other)
    assert run(port.check, sys).returncode == 1
    assert run(port.apply[0], sys).stderr == (
        "no InfiniBand port has the GUID 0210:198e:c381:00ff (there are: 0210:198e:c381:000d 0210:198e:c381:000b )\n"
    )
    assert "(there are: none)" in run(port.apply[0], sys / "nothing").stderr


def test_the_interface_is_found_by_its_guid(sys: Path) -> None:
    make(sys, INTERFACES)
    _, interface = kind_of(VF).steps(VF, mtu=4092)
    assert run(interface.check, sys).returncode == 1
    done = run(interface.apply[0], sys)
    assert (done.returncode, done.stderr) == (0, "")
    log = sys.parent / "ip.log"
    assert log.read_text().splitlines() == [
        "link set dev ib3 down",
        "link set dev ib3 name ib0",
        "link set dev ib0 mtu 4092",
        "address replace 10.77.1.11/24 dev ib0",
        "link set dev ib0 up",
    ]
    (sys / "class/net/ib0/mtu").write_text("4092\n")
    assert run(interface.check, sys).returncode == 1  # no address yet
    (sys.parent / "addresses").write_text("3: ib0    inet 10.77.1.11/24 brd 10.77.1.255 scope global ib0\n")
    assert run(interface.check, sys).returncode == 0
    (sys.parent / "addresses").write_text("3: ib0    inet 10.77.1.110/24 brd 10.77.1.255 scope global ib0\n")
    assert run(interface.check, sys).returncode == 1


def test_two_ports_change_their_names(sys: Path) -> None:
    other = f"{IPOIB}02:10:19:8e:c3:81:00:0d\n"
    make(
        sys,
        {name.replace("ib3", "ib1"): text for name, text in INTERFACES.items()},
        {"class/net/ib0/address": other, "class/net/ib0/type": "32\n", "class/net/ib0/ifindex": "9\n"},
    )
    second = replace(VF, interface="ib1", mac="0210:198e:c381:000d")
    for address in (VF, second):
        done = run(kind_of(address).steps(address)[1].apply[0], sys)
        assert (done.returncode, done.stderr) == (0, "")
    assert (sys / "class/net/ib0/address").read_text().endswith(f"{OCTETS}\n")
    assert (sys / "class/net/ib1/address").read_text() == other


def test_no_other_interface_loses_its_name(sys: Path) -> None:
    make(sys, INTERFACES)
    taken = replace(VF, interface="mgmt")
    done = run(kind_of(taken).steps(taken)[1].apply[0], sys)
    assert (done.returncode, done.stderr) == (1, "mgmt is another interface, not InfiniBand\n")
    assert not (sys.parent / "ip.log").exists()


def test_the_device_of_a_guid() -> None:
    survey = read_survey(
        "infiniband/mlx5_1/ports/1/gids/0:fe80:0000:0000:0000:0210:198e:c381:000d\n"
        "infiniband/mlx5_1/ports/1/link_layer:InfiniBand\n"
        f"infiniband/mlx5_7/ports/1/gids/0:fe80:0000:0000:0000:{GUID}\n"
        "infiniband/mlx5_7/ports/1/link_layer:InfiniBand\n"
        "infiniband/mlx5_7/ports/1/state:4: ACTIVE\n"
    )
    assert kind_of(VF).device(VF, survey) == RdmaDevice("mlx5_7", 1, active=True)
    assert kind_of(VF).device(replace(VF, mac="0210:198e:c381:00ff"), survey) is None
