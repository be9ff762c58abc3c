"""What a guest's kernel killed for want of memory, as its log says."""

import re

# "Out of memory: Killed process 812 (ior) total-vm:...", or of a cgroup; "Kill process" before Linux 4.19. A kernel
# that prints no times is believed.
OUT_OF_MEMORY = r"""
dmesg 2>/dev/null | awk -v since="$1" -v now="$(cut -d' ' -f1 /proc/uptime)" '
    /[Oo]ut of memory.*Kill(ed)? process/ {
        at = now
        if (match($0, /^\[ *[0-9]+\.[0-9]+\]/)) { at = substr($0, 2, RLENGTH - 2) + 0 }
        if (at >= now - since) { sub(/^\[ *[0-9.]+\] */, ""); said = $0 }
    }
    END { if (said != "") print said }'
"""
"""A shell script that prints the last such line of the last $1 seconds, without its time."""


def victim(line: str) -> str:
    """The program that was killed."""
    found = re.search(r"Kill(?:ed)? process \d+,? \(?([^),]*)", line)
    return found[1] if found else "a process"
