"""sysfs on made trees, the same for this machine and over ssh; and this machine's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.values.ssh_uri import SshUri
from vmlab.virt.connection import Host
from vmlab.virt.machine import machine_of
from vmlab.virt.sysfs import Sysfs, WriteRefused

from .conftest import make_tree, put_double

PF = "bus/pci/devices/0000:21:00.0"
TREE = {
    "devices/pci0000:20/0000:21:00.0/sriov_numvfs": "4\n",
    "devices/pci0000:20/0000:21:00.0/uevent": "DRIVER=igb\nPCI_CLASS=20000\n",
    "devices/pci0000:20/0000:21:00.0/empty": "",
    "devices/pci0000:20/0000:21:00.0/net/two words/address": "52:54:00:10:00:00\n",
    "devices/pci0000:20/0000:21:10.0/uevent": "DRIVER=igbvf\n",
    "devices/pci0000:20/0000:21:00.0/virtfn0": "-> ../0000:21:10.0",
    "devices/pci0000:20/0000:21:00.0/driver": "-> ../../../bus/pci/drivers/igb",
    "bus/pci/drivers/igb/bind": "",
    PF: "-> ../../../devices/pci0000:20/0000:21:00.0",
}


@pytest.fixture(params=["local", "over ssh"])
def sysfs(request: pytest.FixtureRequest, tmp_path: Path, doubles: Path) -> Sysfs:
    root = make_tree(tmp_path / "a b'$(exit 9)", TREE)
    if request.param == "local":
        return Sysfs.local(root)
    # ssh's double: like sshd, it hands the last argument to a shell. Nothing asks it for root's rights here.
    put_double(doubles, "ssh", 'for last; do :; done; exec sh -c "$last"')
    put_double(doubles, "sudo", 'shift 2; exec "$@"')
    return Sysfs.over_ssh("qa@oss9", root)


def test_read(sysfs: Sysfs) -> None:
    assert sysfs.read(f"{PF}/sriov_numvfs") == "4"
    assert sysfs.read(f"{PF}/uevent") == "DRIVER=igb\nPCI_CLASS=20000"
    assert sysfs.read(f"{PF}/sriov_totalvfs") is None
    assert sysfs.read(PF) is None  # a folder


def test_read_many(sysfs: Sysfs) -> None:
    assert sysfs.read_many([f"{PF}/[es]*", f"{PF}/virtfn*/uevent", f"{PF}/net/*/address", "nothing/*"]) == {
        f"{PF}/sriov_numvfs": "4",
        f"{PF}/virtfn0/uevent": "DRIVER=igbvf",
        f"{PF}/net/two words/address": "52:54:00:10:00:00",
    }
    assert sysfs.read_many([f"{PF}/uevent"]) == {f"{PF}/uevent": "DRIVER=igb\nPCI_CLASS=20000"}


def test_links(sysfs: Sysfs) -> None:
    assert sysfs.link(f"{PF}/driver") == "igb"
    assert sysfs.link(f"{PF}/uevent") is None
    assert sysfs.link(f"{PF}/physfn") is None
    assert sysfs.links(["bus/pci/devices/*/virtfn*"]) == {f"{PF}/virtfn0": "0000:21:10.0"}
    assert sysfs.exists("bus/pci/drivers/igb")
    assert not sysfs.exists("bus/pci/drivers/mlx5_core")


def test_write(sysfs: Sysfs) -> None:
    sysfs.write(f"{PF}/sriov_numvfs", "0")
    assert (sysfs.read(f"{PF}/sriov_numvfs") or "").startswith("0")  # a plain file keeps what it had behind it
    with pytest.raises(WriteRefused, match="No such file or directory") as refused:
        sysfs.write(f"{PF}/sriov_totalvfs", "1")
    assert refused.value.reason == "No such file or directory"
    assert not sysfs.exists(f"{PF}/sriov_totalvfs")


def test_the_kernels_reason_is_the_messages_end(sysfs: Sysfs, tmp_path: Path) -> None:
    full = next(tmp_path.glob("a b*")) / "full"
    full.symlink_to("/dev/full")  # a file of the real kernel that refuses every write
    with pytest.raises(WriteRefused, match=r"refused to write '4' to .*: No space left on device$") as refused:
        sysfs.write("full", "4")
    assert refused.value.reason == "No space left on device"


@pytest.mark.parametrize("path", ["/etc/passwd", "class/net/../../../etc/passwd", ".."])
def test_no_path_leads_out(sysfs: Sysfs, path: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: sysfs.read(path),
        lambda: sysfs.read_many([path]),
        lambda: sysfs.link(path),
        lambda: sysfs.links([path]),
        lambda: sysfs.exists(path),
        lambda: sysfs.write(path, ""),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="no path inside sysfs"):
            call()


def test_a_machine_that_is_not_reached_is_told(doubles: Path) -> None:
    put_double(doubles, "ssh", 'echo "ssh: connect to host oss9 port 22: No route to host" >&2; exit 255')
    with pytest.raises(HostError, match=r"oss9 is not reached over ssh: ssh: connect to host .* No route to host"):
        Sysfs.over_ssh("oss9").read("class/net")


@pytest.mark.parametrize("allowed", [True, False])
def test_sudo_is_used_where_it_is_allowed(tmp_path: Path, doubles: Path, allowed: bool) -> None:
    put_double(doubles, "ssh", 'for last; do :; done; exec sh -c "$last"')
    put_double(doubles, "id", "echo 1000")
    put_double(
        doubles,
        "sudo",
        f'echo "$*" >> "{tmp_path}/log"; {"shift; [ $1 != -- ] || shift; exec" if allowed else "exit 1;"} "$@"',
    )
    make_tree(tmp_path / "sys", TREE)
    assert Sysfs.over_ssh("qa@oss9", tmp_path / "sys").read(f"{PF}/sriov_numvfs") == "4"
    first, *others = (tmp_path / "log").read_text().splitlines()
    assert first == "-n true"
    assert [line[:5] for line in others] == (["-n --"] if allowed else [])


def host_at(uri: str, ssh: str = "") -> Host:
    host = Host.__new__(Host)  # without a connection: only the way matters here
    host.uri, host.ssh = uri, SshUri.of_one(ssh) if ssh else None
    return host


def test_which_machine_a_uri_means() -> None:
    assert machine_of(host_at("qemu:///system")).local
    assert machine_of(host_at("qemu+ssh://qa@oss9/system")).ssh[-2:] == ("--", "qa@oss9")
    argv = machine_of(host_at("qemu+ssh://oss9:2222/system?keyfile=/k")).ssh
    assert argv[-7:] == ("-p", "2222", "-i", "/k", "-T", "--", "oss9")
    for uri in ("qemu+tls://oss9/system", "test:///default", "qemu://oss9/system"):
        with pytest.raises(HostError, match="to no shell there"):
            machine_of(host_at(uri))
    assert machine_of(host_at("qemu+tls://oss9:16515/system", "qa@oss9")).ssh[-3:] == ("-T", "--", "qa@oss9")
    # Where it is said how to log in, nothing of libvirt's own way counts.
    argv = machine_of(host_at("qemu+ssh://root@kvm9:2222/system?keyfile=/k", "ssh://oss9:22")).ssh
    assert argv[-5:] == ("-p", "22", "-T", "--", "oss9")
    assert not {"-i", "2222"} & set(argv)


def test_this_machines_own() -> None:
    real = Sysfs.local()
    assert real.read("class/net/lo/ifindex") == "1"
    assert "class/net/lo/mtu" in real.read_many(["class/net/*/mtu"])
    with pytest.raises(WriteRefused, match=r"Invalid argument|Permission denied|Read-only"):
        real.write("class/net/lo/ifindex", "x")
