"""A guest's clock, right again after the guest stood still, without Lustre's servers taking it for silence."""

import secrets
from datetime import UTC, datetime

from vmlab.errors import GuestError
from vmlab.guest.ssh import RunsCommands
from vmlab.runtime.process import Result
from vmlab.shell import script

_ASK_S = 60.0
BE_PATIENT = script(__file__, "be_patient.sh")
# What is random comes from us as well: not every kernel knows the device by which the others hear of it.
_SET = 'date -u -s "@$1" >/dev/null && cat >/dev/urandom'
_BE_HEARD = "lctl get_param -n '*.*.ping' >/dev/null 2>&1; true"
AS_BEFORE = """
[ ! -f /run/vmlab-patience ] || lctl set_param -n "$(cat /run/vmlab-patience)"
rm -f /run/vmlab-patience
"""


def be_patient(guest: RunsCommands) -> bool:
    """Before its clock is set; whether there is a Lustre that has to be heard in between. Raises GuestError."""
    return _run(guest, BE_PATIENT, _now()).stdout.strip() == "jumps"


def be_heard(guest: RunsCommands) -> None:
    """All servers that it is connected to hear of it. Raises GuestError."""
    _run(guest, _BE_HEARD)


def set_clock(guest: RunsCommands, node: str) -> None:
    """Set it by the host's, to within what the guest takes to begin a command. Raises GuestError."""
    done = _run(guest, _SET, _now(), stdin=secrets.token_hex(64))
    if not done.ok:
        raise GuestError(done.last_line, node=node, stage="clock")


def as_before(guest: RunsCommands) -> None:
    """Its servers are as patient as they were. Raises GuestError."""
    _run(guest, AS_BEFORE)


def _now() -> str:
    return f"{datetime.now(UTC).timestamp():.0f}"


def _run(guest: RunsCommands, script: str, *arguments: str, stdin: str = "") -> Result:
    return guest.run(("sh", "-c", script, "vmlab", *arguments), deadline_s=_ASK_S, as_root=True, stdin=stdin)
