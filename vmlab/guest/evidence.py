"""What is asked of a guest when something went wrong in it."""

from collections.abc import Iterator

from vmlab.guest.ssh import Door
from vmlab.runtime.process import Result
from vmlab.shell import script

QUESTIONS = {
    "dmesg": "kernel messages of this boot",
    "crash": "what a crash kernel saved of the kernel's log (/var/crash)",
    "journal": "systemd's journal",
    "lustre-debug": "Lustre's debug log, which this emptied (lctl dk)",
    "lustre": "devices, health, recovery, imports, usage (lctl, lfs)",
    "lnet": "networks, routes, peers, counters (lnetctl)",
    "network": "addresses, routes, neighbours, sockets",
    "disks": "block devices, mounts, space",
    "system": "kernel, command line, memory, modules, threads",
    "packages": "versions of all packages",
}
"""What there is to ask, in the order in which it is worth most: the first are there when time runs out."""

LAST = {"tasks": "stacks of all threads, those that wait for a disk or a lock first (sysrq w, /proc, sysrq t)"}
"""What is asked when all else is answered: it may push everything else out of the kernel's log."""

_ANSWER = script(__file__, "evidence.sh")


_SAVED = "/var/crash"
"""Where kdump saves, of Debian (TIME/dump.TIME), RHEL (HOST-TIME/vmcore) and our images (TIME/vmcore)."""
_VMCORE = script(__file__, "vmcore.sh")
_ASK_S = 30.0


def vmcore(guest: Door) -> str:
    """The file with the latest memory that a crash kernel saved there; "" for none."""
    return guest.run(("sh", "-c", _VMCORE, "vmlab", _SAVED), deadline_s=_ASK_S, as_root=True).stdout.strip()


def ask(guest: Door, what: str, *, since_s: int, deadline_s: float) -> Result:
    """One of QUESTIONS, as root. Raises GuestError when the guest cannot be reached."""
    argv = ("sh", "-c", _ANSWER, "vmlab", what, str(since_s))
    return guest.run(argv, deadline_s=deadline_s, as_root=True)


def why_not(result: Result) -> Iterator[str]:
    """Why an answer is none, or not whole."""
    if result.timed_out:
        yield "no end within its time"
    elif not result.ok:
        yield result.last_line or f"status {result.status}"
