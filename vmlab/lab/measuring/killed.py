"""Who killed a command: the kernel, for want of memory, says so in its log."""

import contextlib
import re
from collections.abc import Mapping

from vmlab.errors import VmlabError
from vmlab.lab.ground.leftovers import RunsCommands
from vmlab.runtime.parallel import each
from vmlab.workloads import Output

_ASK_S = 20.0
_JOBS = 32
_EARLIER_S = 2.0
_KILLED = 137  # a shell's and `timeout`'s word for SIGKILL

# "Out of memory: Killed process 812 (ior) total-vm:...", or of a cgroup; "Kill process" before Linux 4.19. A kernel
# that prints no times is believed.
_OUT_OF_MEMORY = r"""
dmesg 2>/dev/null | awk -v since="$1" -v now="$(cut -d' ' -f1 /proc/uptime)" '
    /[Oo]ut of memory.*Kill(ed)? process/ {
        at = now
        if (match($0, /^\[ *[0-9]+\.[0-9]+\]/)) { at = substr($0, 2, RLENGTH - 2) + 0 }
        if (at >= now - since) { sub(/^\[ *[0-9.]+\] */, ""); said = $0 }
    }
    END { if (said != "") print said }'
"""


def was_killed(output: Output) -> bool:
    """It, or a process that it waited for, was ended by SIGKILL."""
    text = f"{output.stdout}\n{output.stderr}"
    return (
        output.status == _KILLED or re.search(r"\bsignal 9\b|\(signal 9\)|^Killed$|oom", text, re.MULTILINE) is not None
    )


def out_of_memory(guests: Mapping[str, RunsCommands], seconds: float) -> str:
    """What the kernels of these guests killed for want of memory in the last `seconds`; "" if they say nothing."""

    def ask(name: str) -> str:
        with contextlib.suppress(VmlabError):
            command = ("sh", "-c", _OUT_OF_MEMORY, "vmlab", str(seconds + _EARLIER_S))
            said = guests[name].run(command, deadline_s=_ASK_S, as_root=True).stdout.strip()
            if said:
                return f"{name} ran out of memory, and its kernel killed {_victim(said)}"
        return ""

    return "; ".join(filter(None, each(ask, guests, jobs=_JOBS, failed="the guests' logs could not be read")))


def _victim(line: str) -> str:
    """The program that was killed."""
    found = re.search(r"Kill(?:ed)? process \d+,? \(?([^),]*)", line)
    return found[1] if found else "a process"
