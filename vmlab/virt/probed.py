"""Whether libvirt is finding out what a QEMU can do, which everybody who defines a domain meanwhile waits for."""

import contextlib
from itertools import pairwise
from pathlib import Path

_PROC = Path("/proc")
# libvirt's src/qemu/qemu_process.c (qemuProcessQMPLaunch): a machine without anything, and a monitor to ask it by.
_NO_MACHINE = b"none"
_MONITOR = b"qmp.monitor"


def probed(proc: Path = _PROC) -> str:
    """The QEMU of this machine that is just being asked, "" if none is."""
    for file in proc.glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            argv = file.read_bytes().split(b"\0")
            machines = (after for option, after in pairwise(argv) if option == b"-machine")
            if any(machine.split(b",")[0] == _NO_MACHINE for machine in machines) and any(_MONITOR in a for a in argv):
                return argv[0].decode(errors="replace")
    return ""
