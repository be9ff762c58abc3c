"""What a serial console says about a guest: whether a kernel runs, how far it came, and its last lines."""

import re
from itertools import pairwise

from vmlab.suites.consoles import Kind, read_console
from vmlab.values.printable import plain

_BOOT = re.compile(r"Linux version \d")

# With `quiet` the first thing a kernel's console shows may come from the initramfs, systemd or getty.
_KERNEL = re.compile(
    r"Linux version \d|^\[ *\d+\.\d{6}\]|^Welcome to |systemd\[1\]:|^Loading, please wait|^Begin: "
    r"|cloud-init\[| login: |^vmlab: ",
    re.MULTILINE,
)

_LOGIN = re.compile(r"^\S+ login: ", re.MULTILINE)
_IDENTITY = re.compile(r"\b[Cc]loud-init v\. ?\d|\bvmlab: (?:first boot|clone): ")

# Whoever speaks so is no kernel.
_USER_SPACE = re.compile(r"^Welcome to (?!GRUB)|systemd\[1\]: |cloud-init\[|^\S+ login: ", re.MULTILINE)
_PANIC = re.compile(r"(?:^\[ *(?P<at>\d+)\.\d+\] )?Kernel panic - not syncing", re.MULTILINE)
_EARLY_S = 900  # of the kernel's clock: where nobody else speaks on the console, an old guest is told by it

# systemd draws one of these over the other while it waits for something.
_WAITING = re.compile(r"\[[ *]{6}\] ")

_DEATH = re.compile(
    r"Kernel panic - not syncing"
    r"|You are in emergency mode|Entering emergency mode"
    r"|Give root password for maintenance|Cannot open access to console"
    r"|Generating \"/run/initramfs/rdsosreport\.txt\"|^dracut:/#"
    r"|^\(initramfs\)|Gave up waiting for (?:root|suspend)|ALERT! .* does not exist"
    r"|Failed to mount /sysroot|Failed to mount .*root file ?system"
    r"|grub rescue>|^grub>|error: no such (?:device|partition)"
    r"|No bootable device|not a bootable disk|FATAL: Could not read the boot disk|No operating system"
    r"|Reboot and Select proper Boot device",
    re.MULTILINE,
)

# A hung task, a soft lockup and a stall are none: an emulated guest on a busy host has them, and goes on.
_COMPLAINTS = frozenset({Kind.PANIC, Kind.LBUG, Kind.ZFS, Kind.OOPS, Kind.KASAN})


def kernel_seen(text: str) -> bool:
    """A kernel has printed something."""
    return _KERNEL.search(plain(text)) is not None


def death(text: str) -> str | None:
    """The line that tells that the guest's last boot has failed for good."""
    shown = plain(text)
    boots = list(_BOOT.finditer(shown))
    found = _DEATH.search(shown, boots[-1].start() if boots else 0)
    if found is None:
        return None
    start = shown.rfind("\n", 0, found.start()) + 1
    return shown[start:].split("\n", 1)[0].strip()


def panicked_early(text: str) -> bool:
    """The last boot ended in a panic before it came to user space; `text` is all since the guest's last start."""
    shown = plain(text)
    boots = list(_BOOT.finditer(shown))
    last = shown[boots[-1].start() :] if boots else shown
    panic = _PANIC.search(last)
    return panic is not None and not _USER_SPACE.search(last) and int(panic["at"] or 0) < _EARLY_S


def complaints(text: str) -> tuple[str, ...]:
    """The lines by which a kernel says that something is wrong with itself, or Lustre in it: Oops, LBUG, panic.

    Of one thing the first line, and the panic that came of it.
    """
    found = [event for event in read_console(text).events if event.kind in _COMPLAINTS or event.dead]
    return tuple(dict.fromkeys(line for event in found for line in event.printed))


def fatal(complaint: str) -> bool:
    """Nobody waits for such a kernel with success: it has panicked, or a thread of Lustre has stopped for good."""
    return any(event.dead or event.stuck for event in read_console(complaint).events)


def booted(text: str) -> bool:
    """It has come so far that it asks for a login."""
    return _LOGIN.search(plain(text)) is not None


def identity_seen(text: str) -> bool:
    """Somebody was there to make it the node that it is: cloud-init has said its version, or vmlab's unit the name."""
    return _IDENTITY.search(plain(text)) is not None


def lines_around(text: str, line: str, *, before: int = 5, after: int = 14) -> tuple[str, ...]:
    """What was printed around a line, as it last came; the last lines of all, if it is not among them."""
    shown = [each for each in map(str.rstrip, plain(text).split("\n")) if each]
    at = next((i for i in range(len(shown) - 1, -1, -1) if shown[i].strip() == line), None)
    return last_lines(text) if at is None else tuple(shown[max(0, at - before) : at + after + 1])


def settled(text: str, count: int = 5) -> str:
    """The last lines without what systemd draws again and again while it waits: more of that is no progress."""
    lines = [line for line in map(str.rstrip, plain(text).split("\n")) if line and not _WAITING.match(line)]
    return "\n".join(lines[-count:])


def last_lines(text: str, count: int = 20) -> tuple[str, ...]:
    """The last lines that show something; of systemd's animation while it waits only the last picture."""
    lines = [line for line in map(str.rstrip, plain(text).split("\n")) if line]
    shown = [a for a, b in pairwise([*lines, ""]) if not (_WAITING.match(a) and _WAITING.match(b))]
    return tuple(shown[-count:])
