"""Why a command in a guest was killed before its time: the kernel, for want of memory, says so in its log."""

import contextlib
import re
from collections.abc import Mapping

from vmlab.errors import VmlabError
from vmlab.guest.ssh import RunsCommands
from vmlab.runtime.parallel import each
from vmlab.runtime.process import Result
from vmlab.shell import script

KILLED = 137
"""By SIGKILL, as shells and timeout(1) say it."""

OUT_OF_MEMORY = script(__file__, "out_of_memory.sh")
"""A shell function: the last such line of the kernel's log since an uptime in seconds, without its time."""

_ASK = (
    OUT_OF_MEMORY
    + """
read -r now rest </proc/uptime
out_of_memory "$(awk -v now="$now" -v ago="$1" 'BEGIN { print now - ago }')"
"""
)
_ASK_S = 30.0
_JOBS = 32
_EARLIER_S = 2.0  # a command's seconds are counted here, and begin when it has begun there


def was_killed(status: int, *said: str) -> bool:
    """A command, or a process that it waited for, was ended by SIGKILL: by its status, or by what was `said` of it."""
    signs = re.compile(r"\bsignal 9\b|\(signal 9\)|^Killed$|\boom", re.MULTILINE)
    return status == KILLED or any(map(signs.search, said))


def why_killed(guest: RunsCommands, result: Result) -> str:
    """What killed a command, in words; "" for one that ended otherwise, or at its deadline."""
    if result.status != KILLED or result.timed_out:
        return ""
    if program := _victim(guest, result.seconds):
        return f"it was killed, because the guest ran out of memory: its kernel killed {program}"
    return "it was killed"


def out_of_memory(guests: Mapping[str, RunsCommands], seconds: float) -> str:
    """What the kernels of these guests killed for want of memory in the last `seconds`; "" if they say nothing."""

    def ask(name: str) -> str:
        program = _victim(guests[name], seconds)
        return f"{name} ran out of memory, and its kernel killed {program}" if program else ""

    return "; ".join(filter(None, each(ask, guests, jobs=_JOBS, failed="the guests' logs could not be read")))


def victim(line: str) -> str:
    """The program of which a line of the kernel's log says that it was killed; "" if there is no line."""
    found = re.search(r"Kill(?:ed)? process \d+,? \(?([^),]*)", line)
    return found[1] if found else "a process" if line.strip() else ""


def _victim(guest: RunsCommands, seconds: float) -> str:
    with contextlib.suppress(VmlabError):
        command = ("sh", "-c", _ASK, "vmlab", str(seconds + _EARLIER_S))
        return victim(guest.run(command, deadline_s=_ASK_S, as_root=True).stdout)
    return ""
