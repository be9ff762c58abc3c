"""Stages against a real sshd; console and domain state are what a test says they are."""

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from sshd import Sshd

from vmlab.errors import GuestError
from vmlab.guest import boot
from vmlab.guest.boot import DeadGuest, Deadlines, FailedStart, wait_until_ready
from vmlab.guest.patience import Advances, never
from vmlab.guest.ssh import Guest
from vmlab.runtime.wait import Deadline

KERNEL = "[    0.000000] Linux version 6.12\n"
SHORT = Deadlines(domain_s=0.8, kernel_s=0.5, ssh_s=1, cloud_init_s=1, roles_s=1)
LONG = Deadlines(domain_s=20, kernel_s=20, ssh_s=20, cloud_init_s=20, roles_s=20)


@dataclass
class Machine:
    """What libvirt would say about a domain."""

    state: str = "running"
    console: str = KERNEL
    stages: list[str] = field(default_factory=list)

    def wait(
        self,
        guest: Guest,
        deadlines: Deadlines = LONG,
        overall_s: float = 60,
        advances: Advances = never,
        *,
        lean: bool = False,
    ) -> tuple[str, ...]:
        return wait_until_ready(
            guest,
            console=lambda: self.console,
            domain_state=lambda: self.state,
            on_stage=self.stages.append,
            deadlines=deadlines,
            overall=Deadline.after(overall_s),
            advances=advances,
            lean=lean,
        )

    def later(self, change: Callable[[], object], seconds: float = 1.0) -> None:
        threading.Timer(seconds, change).start()

    def dies(self) -> None:
        self.state = "shutoff"

    def panics(self) -> None:
        self.console += "\x1b[31m[    1.0] Kernel panic - not syncing: no init\x1b[0m\r\n[    1.1] Rebooting\r\n"


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def cloud_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /run/cloud-init: the one that the script looks into is this machine's own."""
    folder = tmp_path / "cloud-init"
    folder.mkdir()
    monkeypatch.setattr(boot, "_CLOUD_INIT", boot._CLOUD_INIT.replace("/run/cloud-init", str(folder)))
    return folder


def test_all_stages(machine: Machine, guest: Guest, sshd: Sshd, cloud_init: Path) -> None:
    (cloud_init / "result.json").write_text('{"v1": {"datasource": "DataSourceNoCloud", "errors": []}}')
    assert machine.wait(guest) == ()
    assert machine.stages == ["domain", "kernel", "ssh", "cloud-init"]
    assert guest.connected
    assert (sshd.folder / "log").read_text().count("Accepted publickey") == 1


def test_a_lean_guest_is_ready_for_its_steps_when_it_answers(machine: Machine, guest: Guest, sshd: Sshd) -> None:
    del sshd
    assert machine.wait(guest, lean=True) == ()
    assert machine.stages == ["domain", "kernel", "ssh"]
    assert guest.connected


def test_each_stage_is_waited_for(machine: Machine, guest: Guest, sshd: Sshd, cloud_init: Path) -> None:
    machine.state, machine.console = "paused (starting up)", ""
    sshd.stop()
    machine.later(lambda: setattr(machine, "state", "running"), 0.3)
    machine.later(lambda: setattr(machine, "console", KERNEL), 1.0)
    machine.later(sshd.start, 1.6)
    machine.later(lambda: (cloud_init / "result.json").write_text('{"v1": {"errors": ["x failed", "y failed"]}}'), 2.5)
    assert machine.wait(guest) == ("x failed", "y failed")
    assert machine.stages == ["domain", "kernel", "ssh", "cloud-init"]


def test_a_guest_without_a_serial_console(machine: Machine, guest: Guest, cloud_init: Path) -> None:
    machine.console = ""
    (cloud_init / "disabled").touch()
    assert machine.wait(guest) == ()


def test_a_guest_without_cloud_init(machine: Machine, guest: Guest, cloud_init: Path) -> None:
    cloud_init.rmdir()
    assert machine.wait(guest) == ()


def test_a_result_that_is_not_understood(machine: Machine, guest: Guest, cloud_init: Path) -> None:
    (cloud_init / "result.json").write_text("[]")
    assert machine.wait(guest) == ("cloud-init's result.json is not understood",)


def failed(machine: Machine, guest: Guest, deadlines: Deadlines = LONG, overall_s: float = 60) -> GuestError:
    with pytest.raises(GuestError) as caught:
        machine.wait(guest, deadlines, overall_s)
    assert caught.value.node == "oss1"
    assert not guest.connected or caught.value.stage == "cloud-init"
    return caught.value


def test_a_domain_that_does_not_run_in_time(machine: Machine, guest: Guest) -> None:
    machine.state = "suspended"
    error = failed(machine, guest, SHORT)
    assert error.message == "oss1, stage domain: waited 1 s for its domain to run; it is suspended"
    assert error.hint == "vmlab console ha oss1 --log"


def test_a_domain_that_libvirt_still_starts_is_waited_for_to_the_end(machine: Machine, guest: Guest) -> None:
    machine.state = "paused (starting up)"
    error = failed(machine, guest, SHORT, overall_s=3)
    assert error.message == "oss1, stage domain: waited 3 s for its domain to run; it is paused (starting up)"


def test_no_kernel_in_time(machine: Machine, guest: Guest, sshd: Sshd) -> None:
    sshd.stop()
    machine.console = "SeaBIOS (version 1.16.2)\r\n\r\nBooting from Hard Disk...\r\n"
    error = failed(machine, guest, SHORT)
    assert error.stage == "kernel"
    assert "for a kernel: none on the console, nothing at 127.0.0.1" in error.message
    assert error.console == ("SeaBIOS (version 1.16.2)", "Booting from Hard Disk...")


def test_no_ssh_in_time(machine: Machine, guest: Guest, sshd: Sshd) -> None:
    sshd.stop()
    error = failed(machine, guest, SHORT)
    waited = r"oss1, stage ssh: waited \d+ s for ssh: nothing listens at 127\.0\.0\.1 port "
    assert re.fullmatch(f"{waited}{guest.port}", error.message)
    assert error.console == ("[    0.000000] Linux version 6.12",)


LOGIN = "\r\n\r\nDebian GNU/Linux 12 localhost ttyS0\r\n\r\nlocalhost login: "
CLOUD_INIT = "[   67.7] cloud-init[325]: Cloud-init v. 22.4.2 running 'init-local' at Sat, 21 Nov 2026.\r\n"


@pytest.mark.parametrize(
    "case",
    [
        (LOGIN, "127.0.0.1", "; it has booted without cloud-init: is that in its image?"),
        (CLOUD_INIT + LOGIN, "127.0.0.1", "; it has booted and has its address, but no sshd: is that in its image?"),
        (CLOUD_INIT + LOGIN, "255.255.255.255", "; it has booted, but its first boot has not given it its address"),
        (CLOUD_INIT, "127.0.0.1", ""),
    ],
)
def test_what_an_image_lacks(machine: Machine, guest: Guest, sshd: Sshd, case: tuple[str, str, str]) -> None:
    console, address, cause = case
    sshd.stop()
    machine.console += console
    guest.address = IPv4Address(address)
    error = failed(machine, guest, SHORT)
    assert re.sub(r"waited \d+ s", "waited 1 s", error.message) == (
        f"oss1, stage ssh: waited 1 s for ssh: nothing listens at {address} port {guest.port}{cause}"
    )


@pytest.mark.usefixtures("cloud_init")
def test_no_end_of_cloud_init_in_time(machine: Machine, guest: Guest) -> None:
    error = failed(machine, guest, replace(SHORT, ssh_s=20))
    assert re.fullmatch(r"oss1, stage cloud-init: waited \d+ s for cloud-init to finish", error.message)
    assert error.hint == "vmlab ssh ha oss1   # cloud-init status --long"


def test_the_overall_deadline_counts_too(machine: Machine, guest: Guest, sshd: Sshd) -> None:
    sshd.stop()
    began = time.monotonic()
    assert failed(machine, guest, LONG, overall_s=1).stage == "ssh"
    assert time.monotonic() - began < 3


@pytest.mark.usefixtures("cloud_init")
@pytest.mark.parametrize("stage", ["domain", "kernel", "ssh", "handshake", "cloud-init"])
@pytest.mark.parametrize("how", ["dies", "panics"])
def test_a_death_is_noticed_at_once(machine: Machine, guest: Guest, sshd: Sshd, stage: str, how: str) -> None:
    if stage == "domain":
        machine.state = "paused (starting up)"
    if stage in ("domain", "kernel", "ssh"):
        sshd.stop()
    if stage == "kernel":
        machine.console = ""
    if stage == "handshake":
        for pid in sshd.connections():
            os.kill(pid, 19)
        assert sshd._process is not None
        sshd._process.send_signal(19)
    died: list[float] = []

    def die() -> None:
        getattr(machine, how)()
        died.append(time.monotonic())

    machine.later(die, 1.5)
    error = failed(machine, guest)
    assert isinstance(error, DeadGuest)
    assert isinstance(error, FailedStart) == (how == "panics" and error.stage in {"kernel", "ssh"})
    assert time.monotonic() - died[0] < 5  # and not at the stage's deadline
    assert error.stage == {"handshake": "ssh"}.get(stage, stage)
    if how == "dies":
        assert error.message == f"oss1, stage {error.stage}: its domain is shutoff"
    else:
        assert error.message.endswith("it is dead: [    1.0] Kernel panic - not syncing: no init")
        assert error.console[-1] == "[    1.1] Rebooting"


@pytest.mark.parametrize("state", ["shutoff", "shut off", "crashed", "paused (I/O error)"])
def test_states_that_are_death(machine: Machine, guest: Guest, state: str) -> None:
    machine.state = state
    assert isinstance(failed(machine, guest), DeadGuest)


def test_a_login_that_stays_refused_is_not_waited_for(
    machine: Machine, guest: Guest, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "_CHANGE_OF_MIND_S", 1.0)
    (sshd.folder / "authorized").write_text("")
    error = failed(machine, guest)
    assert error.message == f"oss1, stage ssh: oss1 does not let {guest.user} in with the bed's key"


def test_a_login_that_comes_late(machine: Machine, guest: Guest, sshd: Sshd, cloud_init: Path) -> None:
    (cloud_init / "disabled").touch()
    (sshd.folder / "authorized").write_text("")
    machine.later(lambda: (sshd.folder / "authorized").write_text(sshd.keys.public_key + "\n"), 1.0)
    assert machine.wait(guest) == ()


def test_a_guest_that_reboots_meanwhile(machine: Machine, guest: Guest, sshd: Sshd, cloud_init: Path) -> None:
    def reboot() -> None:
        sshd.stop()
        (cloud_init / "result.json").write_text('{"v1": {"errors": []}}')
        sshd.start()

    machine.later(reboot, 1.5)
    assert machine.wait(guest) == ()
    assert machine.stages == ["domain", "kernel", "ssh", "cloud-init", "ssh", "cloud-init"]


class Slow:
    """A slow machine, whose guest gets on until something is still."""

    slow = True

    def __init__(self) -> None:
        self.still = False

    @property
    def why(self) -> str:
        return "nothing advances since 60 s" if self.still else ""

    def __call__(self) -> bool:
        return not self.still


def test_on_a_slow_machine_a_guest_that_gets_on_is_waited_for(
    machine: Machine, guest: Guest, sshd: Sshd, cloud_init: Path
) -> None:
    sshd.stop()
    machine.later(sshd.start, 3.0)  # far beyond the usual second
    machine.later(lambda: (cloud_init / "result.json").write_text('{"v1": {"errors": []}}'), 8.0)
    assert machine.wait(guest, replace(SHORT, silence_s=1.0), advances=Slow()) == ()  # type: ignore[arg-type]


@pytest.mark.usefixtures("cloud_init")
@pytest.mark.parametrize("stage", ["domain", "kernel", "ssh", "cloud-init"])
def test_on_a_slow_machine_a_guest_that_does_not_is_given_up(
    machine: Machine, guest: Guest, sshd: Sshd, stage: str
) -> None:
    slow = Slow()
    machine.state = "paused" if stage == "domain" else "running"
    if stage == "kernel":
        machine.console = ""
    if stage != "cloud-init":
        sshd.stop()
    machine.later(lambda: setattr(slow, "still", True), 4.0)
    with pytest.raises(GuestError) as caught:
        machine.wait(guest, replace(SHORT, ssh_s=20 if stage == "cloud-init" else 1), advances=slow)  # type: ignore[arg-type]
    assert caught.value.stage == stage
    assert caught.value.message.endswith("; nothing advances since 60 s")


def test_time_that_libvirt_took_is_told_as_that(
    machine: Machine, guest: Guest, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    sshd.stop()
    monkeypatch.setattr(boot, "_SLOW_S", 0.5)

    def slowly() -> str:
        time.sleep(0.8)
        return "running"

    with pytest.raises(GuestError, match=r"for ssh: .* \(\d+ s of that went by until libvirt had told the domain's"):
        wait_until_ready(
            guest,
            console=lambda: KERNEL,
            domain_state=slowly,
            on_stage=machine.stages.append,
            deadlines=SHORT,
            overall=Deadline.after(60),
        )


def test_tcg_gets_more_time() -> None:
    kvm, tcg = Deadlines.of("kvm"), Deadlines.of("tcg")
    assert all(getattr(tcg, name) > getattr(kvm, name) for name in Deadlines.__slots__ if name != "silence_s")
    assert tcg.silence_s < kvm.silence_s  # only QEMU's emulation lets a kernel hang at its start


@pytest.mark.parametrize(
    ("console", "hangs"), [(KERNEL, True), (f"{KERNEL}Debian GNU/Linux 13 oss1 ttyS0\n\noss1 login: ", False)]
)
def test_a_guest_that_falls_silent_before_it_has_booted(
    machine: Machine, guest: Guest, sshd: Sshd, console: str, *, hangs: bool
) -> None:
    sshd.stop()
    machine.console = console
    error = failed(machine, guest, replace(SHORT, ssh_s=4, silence_s=1.5))
    assert isinstance(error, FailedStart) == hangs
    assert ("silent" in error.message) == hangs
