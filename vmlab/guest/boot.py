"""Wait for a guest in stages, each with its deadline, and stop at once when it is dead."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

from vmlab.errors import GuestError
from vmlab.guest.console import booted, death, identity_seen, kernel_seen, last_lines
from vmlab.guest.patience import Advances, Patience, never
from vmlab.guest.ssh import Guest
from vmlab.guest.trouble import SshTrouble, Unreachable
from vmlab.runtime.wait import Deadline, now, until
from vmlab.shell import script
from vmlab.steps import Step
from vmlab.values.identity import domain_name

Stage = Literal["domain", "kernel", "ssh", "cloud-init", "roles", "install"]

WAITS: Mapping[str, str] = {
    "domain": "waits for its domain",
    "kernel": "waits for its kernel",
    "ssh": "waits for ssh",
    "cloud-init": "waits for cloud-init",
}
"""What is told of a guest before it has come to a stage."""

_LOOK_EVERY_S = 0.5  # at the domain and its console: a death is noticed within a second
_POLL_EVERY_S = 0.1
_PROBE_S = 0.3
# A guest that keeps to answer with a foreign key, or refuses ours, for so long will not change its mind: cloud-init
# puts the keys in place before sshd starts on most distributions, and soon after it on the others.
_CHANGE_OF_MIND_S = 45.0
_REBOOTS = 3
_SLOW_S = 5.0  # libvirt answers in milliseconds
_START: tuple[Stage, ...] = ("kernel", "ssh")
_STARTS = "paused (starting up)"

_CLOUD_INIT = script(__file__, "cloud_init.sh")
_NO_ONE_ELSE = """
[ -e /run/vmlab/first-boot ] || [ -s /run/cloud-init/result.json ] || ! command -v cloud-init >/dev/null
"""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The usual time of each stage in seconds, from the end of the one before; see `guest.patience`.

    `silence_s`: a guest that has not booted and says nothing on its console for so long hangs at its start.
    """

    domain_s: float
    kernel_s: float
    ssh_s: float
    cloud_init_s: float
    roles_s: float
    silence_s: float = math.inf

    @classmethod
    def of(cls, accel: Literal["kvm", "tcg"]) -> Self:
        """Ample ones: they are for guests that hang; a dead one is noticed long before."""
        if accel == "kvm":
            # A start that somebody else began, or that has much memory to lock for VFIO, leaves it paused for a while.
            return cls(domain_s=90, kernel_s=90, ssh_s=180, cloud_init_s=300, roles_s=300)
        return cls(domain_s=180, kernel_s=300, ssh_s=900, cloud_init_s=900, roles_s=900, silence_s=180)


class DeadGuest(GuestError):
    """The guest will not come up any more, however long one waits."""


class FailedStart(DeadGuest):
    """Its kernel panicked, or fell silent, before anybody could log in."""


def dead(line: str | None) -> str:
    """What is told of a dead guest; `line` is what its console says of that. None: only its kernel told the host."""
    return f"it is dead: {line or 'its kernel crashed, and its console does not say why'}"


class Vigil:
    """Looks after a guest while something is waited for: a `Watch` that raises DeadGuest when the guest is dead."""

    def __init__(
        self,
        guest: Guest,
        console: Callable[[], str],
        domain_state: Callable[[], str],
        stage: Stage,
        silence_s: float = math.inf,
        *,
        advances: Advances = never,
    ) -> None:
        self.stage = stage
        self.text = ""
        self.state = ""
        self._guest = guest
        self._console = console
        self._domain_state = domain_state
        self._next = Deadline.after(0)
        self._silence_s = silence_s
        self._spoke = now()
        self._advances = advances
        self._looked_s = 0.0

    def enter(self, stage: Stage) -> None:
        """Another stage begins."""
        self.stage = stage
        self._looked_s = 0.0
        self.look()

    def patience(self, usual_s: float, overall: Deadline) -> Patience:
        """The end of a stage that begins now and usually takes no longer than `usual_s`."""
        return Patience.of(usual_s, overall, self._advances)

    def __call__(self) -> None:
        """Look if it is time to."""
        if self._next.passed:
            self.look()

    def look(self) -> None:
        """Look now."""
        begin = now()
        self.state = self._domain_state()
        before, self.text = self.text, self._console()
        self._looked_s += now() - begin
        if self.text != before:
            self._spoke = now()
        self._next = Deadline.after(_LOOK_EVERY_S)
        if re.match(r"shut ?off", self.state) or "I/O error" in self.state:
            raise self._error(DeadGuest, f"its domain is {self.state}")
        line, panicked = death(self.text), self.state == "crashed"
        if line is not None or panicked:
            early = (panicked or "Kernel panic" in (line or "")) and self.stage in _START
            raise self._error(FailedStart if early else DeadGuest, dead(line), self._cycle if panicked else "")
        silent_s = now() - self._spoke
        hangs = silent_s > self._silence_s and self.stage in _START and not booted(self.text)
        if hangs and not self._advances():
            raise self._error(FailedStart, f"it has not booted, and its console is silent since {silent_s:.0f} s")

    @property
    def _cycle(self) -> str:
        return f"vmlab power cycle {self._guest.bed} {self._guest.node}"

    def failure(self, message: str, hint: str = "") -> GuestError:
        """An error of the present stage, with the end of the console."""
        self.text = self._console()
        if self._looked_s > _SLOW_S:
            message += f" ({self._looked_s:.0f} s of that went by until libvirt had told the domain's state)"
        if self._advances.why:
            message += f"; {self._advances.why}"
        return self._error(GuestError, message, hint)

    def _error(self, kind: type[GuestError], message: str, hint: str = "") -> GuestError:
        guest = self._guest
        return kind(
            f"{guest.node}, stage {self.stage}: {message}",
            node=guest.node,
            stage=self.stage,
            console=last_lines(self.text),
            hint=hint or f"vmlab console {guest.bed} {guest.node} --log",
        )


def wait_until_ready(
    guest: Guest,
    *,
    console: Callable[[], str],
    domain_state: Callable[[], str],
    on_stage: Callable[[str], None],
    deadlines: Deadlines,
    overall: Deadline,
    advances: Advances = never,
    lean: bool = False,
    clone: bool = False,
) -> tuple[str, ...]:
    """Wait for the stages up to cloud-init; `guest` is connected afterwards. Returns cloud-init's errors.

    A `lean` guest was itself before its sshd began: that it answers is all there is to wait for. The `clone` of a
    template says on its console when it is itself, and has an sshd then: it is not probed, which costs it a process
    each time.

    They are no failure: the guest has its keys and its address, and whether it can do its work is the roles' steps to
    check. `console` gives the text so far (its end will do), `domain_state` libvirt's word for the state: "running",
    "shutoff", "crashed", "paused (I/O error)". `on_stage` hears each stage as it begins, to be told as in `WAITS`.
    `advances` tells whether to go on waiting when a stage's usual time is over (`guest.patience.Advance`). Raises
    GuestError.
    """
    vigil = Vigil(guest, console, domain_state, "domain", deadlines.silence_s, advances=advances)

    def enter(stage: Stage) -> None:
        on_stage(stage)
        vigil.enter(stage)

    enter("domain")
    _wait_for_domain(guest, vigil, vigil.patience(deadlines.domain_s, overall), overall)
    enter("kernel")
    says = console if clone else None
    _wait_for_kernel(guest, vigil, vigil.patience(deadlines.kernel_s, overall), says)
    for _ in range(_REBOOTS):
        enter("ssh")
        _wait_for_ssh(guest, vigil, vigil.patience(deadlines.ssh_s, overall), probed=not clone)
        if lean:
            return ()
        enter("cloud-init")
        try:
            return _wait_for_cloud_init(guest, vigil, vigil.patience(deadlines.cloud_init_s, overall))
        except Unreachable as error:
            # Some images reboot at their first boot, for instance to relabel files.
            lost = error
            guest.close()
    raise vigil.failure(f"lost the connection {_REBOOTS} times: {lost.message}")


def lean_step() -> Step:
    """Of a lean guest: its image kept its word. Where it did not, cloud-init is at work, and is waited for."""
    return Step(
        "first boot",
        ("sh", "-c", _NO_ONE_ELSE, "vmlab"),
        (("sh", "-c", _CLOUD_INIT),),
        deadline_s=Deadlines.of("kvm").cloud_init_s,
        at_once=True,
    )


def _wait_for_domain(guest: Guest, vigil: Vigil, deadline: Deadline, overall: Deadline) -> None:
    """One that libvirt says it is starting is waited for beyond the `deadline`: libvirt itself gives up."""
    started = now()

    def settled() -> bool:
        vigil()
        return vigil.state == "running" or (deadline.passed and vigil.state != _STARTS)

    until(settled, overall, every_s=_POLL_EVERY_S)
    if vigil.state != "running":
        hint = f"virsh resume {domain_name(guest.bed, guest.node)}" if vigil.state == "paused" else ""
        raise vigil.failure(f"waited {now() - started:.0f} s for its domain to run; it is {vigil.state}", hint)


def _wait_for_kernel(guest: Guest, vigil: Vigil, deadline: Deadline, says: Callable[[], str] | None) -> None:
    """`says` is the console of a clone: what it is waited for comes within a second or two."""
    started = now()

    def runs() -> bool:
        vigil()
        if says is not None:
            return identity_seen(says())
        # A kernel that was not told to use the serial console shows itself by ssh only.
        return kernel_seen(vigil.text) or guest.connected or guest.listens(_PROBE_S)

    if not until(runs, deadline, every_s=_POLL_EVERY_S):
        raise vigil.failure(
            f"waited {now() - started:.0f} s for a kernel: none on the console, nothing at {guest.address}"
        )


def _wait_for_ssh(guest: Guest, vigil: Vigil, deadline: Deadline, *, probed: bool) -> None:
    started = now()
    reason, hint = "", ""
    refused_since: float | None = None
    pause_s = _POLL_EVERY_S

    def listens() -> bool:
        vigil()
        return not probed or guest.connected or guest.listens(_PROBE_S)

    while until(listens, deadline, every_s=_POLL_EVERY_S) and not deadline.passed:
        try:
            guest.connect(deadline, watch=vigil)
        except Unreachable as error:
            reason, hint = error.message, error.hint
            if error.trouble in (SshTrouble.HOST_KEY, SshTrouble.LOGIN, SshTrouble.KEY_FILE):
                refused_since = refused_since or now()
                if error.trouble is SshTrouble.KEY_FILE or now() - refused_since > _CHANGE_OF_MIND_S:
                    raise vigil.failure(reason, hint) from error
                # sshd since OpenSSH 9.8 shuts out who fails too often: slow down.
                pause_s = min(8.0, pause_s * 2)
            until(_never(vigil), deadline.capped(pause_s), every_s=_POLL_EVERY_S)
        else:
            return
    reason = reason or f"nothing listens at {guest.address} port {guest.port}{_missing(guest, vigil.text)}"
    raise vigil.failure(f"waited {now() - started:.0f} s for ssh: {reason}", hint)


def _missing(guest: Guest, console: str) -> str:
    """What a guest probably lacks that has booted and does not listen."""
    if not booted(console):
        return ""
    if not identity_seen(console):
        return "; it has booted without cloud-init: is that in its image?"
    if guest.reached(_PROBE_S):
        return "; it has booted and has its address, but no sshd: is that in its image?"
    return "; it has booted, but its first boot has not given it its address"


def _never(vigil: Vigil) -> Callable[[], bool]:
    def never() -> bool:
        vigil()
        return False

    return never


def _wait_for_cloud_init(guest: Guest, vigil: Vigil, deadline: Deadline) -> tuple[str, ...]:
    """One round trip: the guest itself waits for cloud-init's last word, `result.json`."""
    started = now()
    result = guest.stream(("sh", "-c", _CLOUD_INIT), deadline=deadline, watch=vigil)
    if result.timed_out:
        raise vigil.failure(
            f"waited {now() - started:.0f} s for cloud-init to finish",
            f"vmlab ssh {guest.bed} {guest.node}   # cloud-init status --long",
        )
    word, _, text = result.stdout.partition("\n")
    if not result.ok or word not in ("absent", "disabled", "failed", "result"):
        raise vigil.failure(f"cannot ask for cloud-init: {result.last_line}")
    if word == "failed":
        return ("cloud-init ended without a result: see `systemctl status cloud-final` in the guest",)
    return _complaints(text) if word == "result" else ()


def _complaints(result: str) -> tuple[str, ...]:
    try:
        return tuple(map(str, json.loads(result)["v1"]["errors"]))
    except (ValueError, KeyError, TypeError):
        return ("cloud-init's result.json is not understood",)
