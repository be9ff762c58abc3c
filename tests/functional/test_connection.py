"""The connection to libvirt: another machine's is refused, and a libvirt that does not answer is given up."""

import json
import logging
import socket
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vmlab.cli.app import app
from vmlab.cli.target import ways_on
from vmlab.errors import HostError, LibvirtError, UsageError
from vmlab.runtime.wait import Deadline
from vmlab.values.libvirt_uri import Way, leads_elsewhere
from vmlab.values.ssh_uri import SshUri
from vmlab.virt import connection as connection_module
from vmlab.virt.connection import Host

# As libvirt 9.0 starts it.
PROBED = (
    *("-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg"),
    *("-qmp", "unix:/var/lib/libvirt/qemu/qmp-7SQGA2/qmp.monitor,server=on,wait=off", "-daemonize"),
)
BED = """
name: far
hosts: {kvm1: {uri: "qemu+ssh://kvm1.invalid/system"}}
nodes: {n1: {role: client, memory: 256MiB}}
"""


@pytest.mark.parametrize(
    ("uri", "elsewhere"),
    [
        ("qemu:///system", False),
        ("qemu:///session", False),
        ("qemu+unix:///system?socket=/run/libvirt/libvirt-sock", False),
        ("test:///default", False),
        ("test:///tmp/host.xml", False),
        ("qemu+ssh://kvm1/system", True),
        ("qemu+ssh://root@10.0.0.1:2222/system?keyfile=/k", True),
        ("qemu+ssh:///system", True),
        ("qemu+tcp://kvm1/system", True),
        ("qemu://kvm1/system", True),
        ("qemu+libssh2://kvm1/system", True),
        ("xen+tls://[::1]/", True),
    ],
)
def test_which_libvirt_is_another_machines(uri: str, *, elsewhere: bool) -> None:
    assert leads_elsewhere(uri) == elsewhere


@pytest.mark.parametrize(
    "argv", [("list",), ("image", "list"), ("cp", "n1:/etc/hostname", "."), ("sriov", "release", "mlx5_0", "-y")]
)
def test_another_machine_is_refused_in_one_sentence(
    argv: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu+ssh://kvm1.invalid/system")
    Path("far.yaml").write_text(BED)
    result = CliRunner().invoke(app, argv)
    assert result.exit_code == 4, result.output
    said, hint = result.stderr.splitlines()
    assert said.startswith("vmlab: qemu+ssh://kvm1.invalid/system is another machine's libvirt")
    assert "name that host in a topology's `hosts`" in hint


@pytest.mark.parametrize(
    "argv",
    [
        ("up", "far.yaml"),
        ("plan", "far.yaml"),
        ("down", "far.yaml", "-y"),
        ("rebuild", "far.yaml", "-y"),
        ("status", "far.yaml"),
        ("exec", "far.yaml", "-n", "n1", "--", "true"),
        ("ssh", "far.yaml", "n1"),
        ("power", "status", "far.yaml"),
        ("fs", "status", "far.yaml"),
        ("lnet", "show", "far.yaml"),
        ("run", "far.yaml", "rdma"),
    ],
)
def test_another_machine_without_a_shell_is_refused_in_one_sentence(
    argv: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path / "state"))
    Path("far.yaml").write_text(BED.replace("qemu+ssh", "qemu+tls"))
    result = CliRunner().invoke(app, argv)
    assert result.exit_code == 4, result.output
    said, hint = result.stderr.splitlines()
    assert said.startswith("vmlab: qemu+tls://kvm1.invalid/system leads to another machine's libvirt, and to no shell")
    assert "beside that host's `uri`: ssh: root@HOST" in hint


def test_a_call_that_does_not_come_back_is_given_up_and_the_next_one_works() -> None:
    host = Host("test:///default")
    begin = time.monotonic()
    with pytest.raises(LibvirtError, match="libvirt has not answered for 1 s") as caught:
        host.call(lambda _: time.sleep(20), deadline_s=1)
    assert "virsh -c test:///default list" in caught.value.hint
    assert time.monotonic() - begin < 5
    assert host.call(lambda connection: connection.isAlive()) == 1
    host.close()


def test_no_call_goes_far_beyond_the_end_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_GRACE_S", 0.5)
    host = Host("test:///default")
    with host.until(Deadline.after(0)), pytest.raises(LibvirtError, match="has not answered"):
        host.call(lambda _: time.sleep(20))
    assert host.call(lambda _: time.sleep(0.6) or "late") == "late"
    host.close()


def test_what_an_action_raises_is_raised_here() -> None:
    host = Host("test:///default")
    with pytest.raises(ZeroDivisionError):
        host.call(lambda _: 1 // 0)
    with pytest.raises(LibvirtError, match="Domain not found"):
        host.call(lambda connection: connection.lookupByName("none"))
    host.close()


def test_a_daemon_that_takes_connections_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_OPEN_S", 0.5)
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(HostError, match="does not answer"):
            Host(f"qemu+unix:///system?socket={path}")


def test_a_call_that_waits_for_libvirt_to_probe_qemu_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection_module, "_SLOW_S", 0.1)
    monkeypatch.setattr(Host, "local", True)
    monkeypatch.setattr(logging.getLogger("vmlab"), "propagate", True)
    host = Host("test:///default")
    host.call(lambda _: time.sleep(0.3))
    assert "anew" not in caplog.text
    argv = ("/usr/bin/qemu-system-x86_64", "-c", "sleep 60", *PROBED)
    with subprocess.Popen(argv, executable="/bin/sh") as qemu:
        try:
            host.call(lambda _: time.sleep(0.5))
        finally:
            qemu.kill()
    assert "libvirt asks /usr/bin/qemu-system-x86_64 anew what it can do" in caplog.text


def test_which_hosts_on_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu:///system")
    Path("two.yaml").write_text(
        "name: two\nhosts: {kvm1: {}, kvm2: {uri: qemu+tls://kvm2/system, ssh: root@kvm2}}\n"
        "nodes: {n1: {role: client}}\n"
    )
    both = {"kvm1": Way("qemu:///system"), "kvm2": Way("qemu+tls://kvm2/system", SshUri("root", ("kvm2",), None))}
    assert ways_on(None) == {"local": Way("qemu:///system")}
    assert ways_on("qemu+ssh://root@kvm7:22/system") == {"kvm7": Way("qemu+ssh://root@kvm7:22/system")}
    assert ways_on("two.yaml") == ways_on("two") == both
    for wrong in ("three", "three.yaml", "a b"):
        with pytest.raises(UsageError, match=r"three|neither a URI"):
            ways_on(wrong)


@pytest.mark.parametrize("argv", [("gc",), ("host", "show"), ("host", "capture", "to"), ("sriov", "show")])
def test_a_host_that_is_away_is_named_by_what_goes_there(
    argv: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path / "state"))
    result = CliRunner().invoke(app, (*argv, "--on", "qemu+ssh://kvm1.invalid/system"))
    assert result.exit_code == 4, result.output
    assert "no libvirt at qemu+ssh://kvm1.invalid/system" in result.stderr
    check = CliRunner().invoke(app, ("host", "check", "--on", "qemu+ssh://kvm1.invalid/system", "-o", "json"))
    assert check.exit_code == 4
    (finding,) = json.loads(check.stdout)
    assert (finding["host"], finding["what"], finding["verdict"]) == ("kvm1.invalid", "libvirt", "no")
