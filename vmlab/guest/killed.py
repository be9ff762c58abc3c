"""Why a command in a guest was killed before its time: status 137 is not always a time-out."""

import re

from vmlab.errors import GuestError
from vmlab.guest.ssh import Guest
from vmlab.runtime.process import Result

_KILLED = 137  # by SIGKILL, as shells and timeout(1) say it
_OUT_OF_MEMORY = re.compile(r".*ut of memory: Killed process.*")
_ASK_S = 30.0


def why_killed(guest: Guest, result: Result) -> str:
    """What killed it, in words; "" for a command that ended otherwise, or at its deadline."""
    if result.status != _KILLED or result.timed_out:
        return ""
    try:
        log = guest.run(("dmesg",), deadline_s=_ASK_S, as_root=True).stdout
    except GuestError:
        log = ""
    found = _OUT_OF_MEMORY.findall(log)
    return f"it was killed, because the guest ran out of memory ({found[-1].strip()})" if found else "it was killed"
