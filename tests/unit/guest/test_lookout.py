"""A guest that is dead is told by whoever waits for it, within seconds; a real sshd stands for one that lives."""

import os
import signal
import subprocess
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from sshd import Sshd

from vmlab.errors import GuestError, LibvirtError
from vmlab.guest.boot import DeadGuest
from vmlab.guest.child import attached, no_watch
from vmlab.guest.lookout import Lookout
from vmlab.guest.ssh import Guest
from vmlab.runtime.wait import Deadline

KERNEL = "[    0.0] Linux version 6.12\n"
PANIC = "[  99.1] sysrq: Trigger a crash\n[  99.2] Kernel panic - not syncing: sysrq triggered crash\n[  99.3] CPU: 0\n"
NOWHERE = IPv4Address("255.255.255.255")


class Machine:
    """What libvirt would say."""

    def __init__(self, guest: Guest) -> None:
        self.state = "running"
        self.console = KERNEL
        self.looks = 0
        self.breaks = False
        lookout = Lookout(guest, console=lambda: self.console, domain_state=self.look)
        guest.watch, guest.look = lookout, lookout.look

    def look(self) -> str:
        self.looks += 1
        if self.breaks:
            raise LibvirtError("libvirt: gone")
        return self.state


@pytest.fixture
def machine(guest: Guest) -> Machine:
    return Machine(guest)


def dies(guest: Guest) -> DeadGuest:
    begin = time.monotonic()
    with pytest.raises(DeadGuest) as caught:
        guest.run(("sleep", "60"), deadline_s=60)
    assert time.monotonic() - begin < 15
    return caught.value


@pytest.mark.parametrize("shared", [False, True])
def test_a_panic_ends_every_wait(guest: Guest, sshd: Sshd, machine: Machine, *, shared: bool) -> None:
    if shared:
        guest.connect(Deadline.after(20))
    for pid in sshd.connections():
        os.kill(pid, signal.SIGSTOP)
    machine.console += PANIC + 40 * "[ 100.0] a register\n"
    guest.address = NOWHERE
    error = dies(guest)
    assert error.stage == "panic"
    assert error.message == "oss1, stage panic: it is dead: [  99.2] Kernel panic - not syncing: sysrq triggered crash"
    assert error.console[1:4] == tuple(PANIC.splitlines())
    assert error.hint == "vmlab power cycle ha oss1"


def test_connect_and_copy_end_too(guest: Guest, sshd: Sshd, machine: Machine, tmp_path: Path) -> None:
    assert sshd._process is not None
    sshd._process.send_signal(signal.SIGSTOP)
    machine.console += PANIC
    machine_address, guest.address = guest.address, NOWHERE
    guest.exported_options()  # the options do not depend on the address
    for wait in (
        lambda: guest.connect(Deadline.after(60)),
        lambda: guest.copy([str(tmp_path)], "/tmp/x", to_guest=True, recursive=True),
    ):
        begin = time.monotonic()
        with pytest.raises(DeadGuest):
            wait()
        assert time.monotonic() - begin < 15
    guest.address = machine_address


def test_a_guest_that_answers_is_not_dead_whatever_its_console_shows(guest: Guest, machine: Machine) -> None:
    machine.console += PANIC
    assert guest.run(("sleep", "2.5"), deadline_s=20).ok
    assert 2 <= machine.looks <= 4


@pytest.mark.parametrize(
    ("state", "stage", "hint"),
    [
        ("shut off", "off", "vmlab power on ha oss1"),
        ("undefined", "off", "vmlab power on ha oss1"),
        ("paused (I/O error)", "paused", "df -h; vmlab gc; vmlab up FILE exports again"),
    ],
)
def test_a_domain_that_does_not_run(guest: Guest, machine: Machine, state: str, stage: str, hint: str) -> None:
    machine.state = state
    error = dies(guest)
    assert (error.stage, error.hint) == (stage, hint)
    assert f"its domain is {state}" in error.message


@pytest.mark.parametrize(
    ("console", "why"),
    [
        (PANIC, "[  99.2] Kernel panic - not syncing: sysrq triggered crash"),
        ("oss1 login: \n", "its kernel crashed, and its console does not say why"),
    ],
)
def test_a_domain_that_crashed_is_a_panic_at_once(guest: Guest, machine: Machine, console: str, why: str) -> None:
    """Though somebody listens: the guest stands still, with its memory."""
    machine.state = "crashed"
    machine.console += console
    error = dies(guest)
    assert (error.stage, error.hint) == ("panic", "vmlab power cycle ha oss1")
    assert error.message == f"oss1, stage panic: it is dead: {why}"


def test_one_that_somebody_paused_is_waited_for(guest: Guest, machine: Machine) -> None:
    machine.state = "paused"
    assert guest.run(("sleep", "1"), deadline_s=20).ok


def test_a_libvirt_that_cannot_be_asked_ends_nothing(guest: Guest, machine: Machine) -> None:
    machine.breaks = True
    assert guest.run(("sleep", "1.5"), deadline_s=20).ok
    assert machine.looks


def test_a_terminals_command_has_our_input_and_ends_with_its_own_status() -> None:
    script = (
        "import sys; from vmlab.guest.child import attached, no_watch; "
        "sys.exit(attached(('sh', '-c', 'read line; echo got $line; exit 7'), no_watch))"
    )
    done = subprocess.run((sys.executable, "-c", script), input="one\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (7, "got one\n")


def test_a_watch_ends_a_terminals_command() -> None:
    def watch() -> None:
        raise GuestError("dead", node="oss1", stage="panic")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(GuestError, match="dead"):
        attached(("sleep", "60"), watch)
    assert signal.getsignal(signal.SIGINT) is before
    assert attached(("sh", "-c", "kill -TERM $$"), no_watch) == -signal.SIGTERM
