"""A guest's clock, right again after the guest stood still, without Lustre's servers taking it for silence."""

import re
import secrets
from datetime import UTC, datetime

from vmlab.errors import GuestError
from vmlab.guest.ssh import RunsCommands
from vmlab.runtime.process import Result
from vmlab.shell import script

_ASK_S = 60.0
BE_PATIENT = script(__file__, "be_patient.sh")
AWAIT_COPY = script(__file__, "await_copy.sh")
# Who goes on itself is no copy. What is random comes from us as well: not every kernel knows the device by which the
# others hear of it.
_SET = """
if [ -s /run/vmlab-waits ]; then
  read -r waiting </run/vmlab-waits
  rm -f /run/vmlab-waits /run/vmlab-waits.heard
  kill -- "-$waiting" 2>/dev/null
fi
date -u -s "@$1" >/dev/null && cat >/dev/urandom
"""
SET_OR_BE_PATIENT = f'said=$(\n{BE_PATIENT})\nif [ -n "$said" ]; then echo "$said"; exit; fi\n{_SET}'
_BE_HEARD = "lctl get_param -n '*.*.ping' >/dev/null 2>&1; true"
AS_BEFORE = """
[ ! -f /run/vmlab-patience ] || lctl set_param -n "$(cat /run/vmlab-patience)"
rm -f /run/vmlab-patience
"""
_SAID = re.compile(r"^vmlab: clock: (?P<what>set|it jumps)\s*$", re.MULTILINE)


def await_copy(guest: RunsCommands) -> bool:
    """Whether copies that go on from the memory that it has now set their clocks by themselves. Raises GuestError."""
    return _run(guest, AWAIT_COPY).stdout.strip() == "waits"


def clock_seen(console: str) -> bool | None:
    """Whether a copy says that its clock is set; None if it has not said anything of it."""
    said = _SAID.search(console)
    return None if said is None else said["what"] == "set"


def set_or_be_patient(guest: RunsCommands, node: str) -> bool:
    """Set its clock, as `set_clock`, unless there is a Lustre that has to be heard before. Whether there is.

    Raises GuestError.
    """
    return _set(guest, SET_OR_BE_PATIENT, node).stdout.strip() == "jumps"


def be_heard(guest: RunsCommands) -> None:
    """All servers that it is connected to hear of it. Raises GuestError."""
    _run(guest, _BE_HEARD)


def set_clock(guest: RunsCommands, node: str) -> None:
    """Set it by the host's, to within what the guest takes to begin a command. Raises GuestError."""
    _set(guest, _SET, node)


def as_before(guest: RunsCommands) -> None:
    """Its servers are as patient as they were. Raises GuestError."""
    _run(guest, AS_BEFORE)


def _set(guest: RunsCommands, script: str, node: str) -> Result:
    done = _run(guest, script, f"{datetime.now(UTC).timestamp():.0f}", stdin=secrets.token_hex(64))
    if not done.ok:
        raise GuestError(done.last_line, node=node, stage="clock")
    return done


def _run(guest: RunsCommands, script: str, *arguments: str, stdin: str = "") -> Result:
    return guest.run(("sh", "-c", script, "vmlab", *arguments), deadline_s=_ASK_S, as_root=True, stdin=stdin)
