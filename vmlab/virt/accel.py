"""Does a guest really run under KVM here? A /dev/kvm that opens, and even creates a VM, does not prove it."""

import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

from vmlab.inventory.architecture import GUESTS, runs
from vmlab.runtime.process import run
from vmlab.virt.this_boot import known

DEVICE = Path("/dev/kvm")
_FIRMWARE_S = 20.0  # takes a tenth of a second, and on a host that is emulated itself, and busy, more than 6
_KERNEL_S = 90.0  # on a host that is emulated itself it takes 16 to 37, and more where that is busy
_EXIT_CODE = 0x10  # the debug exit device turns a write of N into exit status 2 N + 1

# A whole guest: at the reset vector, 16 bytes below 4 GiB, `mov al, 0x10; out 0xf4, al; hlt`.
_FIRMWARE = bytes(0xFFF0) + bytes((0xB0, _EXIT_CODE, 0xE6, 0xF4, 0xF4)) + bytes(11)


def runs_guests(qemu: str, accel: str, kernel: Path | None = None) -> str | None:
    """Run a guest in this QEMU, under "kvm" or "tcg", to its end: None if it came there, else why not.

    With a kernel the guest is Linux, which boots until it finds no root file system; without one it is the firmware
    above. Either has the CPU model that the beds' guests get: some hosts fail only there.
    """
    cpu = "host" if accel == "kvm" else "max"
    machine = ("-machine", f"q35,accel={accel}", "-cpu", cpu, "-nodefaults", "-no-user-config", "-display", "none")
    if kernel is not None:
        arguments: tuple[str, ...] = ("-append", "console=ttyS0 panic=-1", "-serial", "stdio", "-no-reboot")
        result = run((qemu, *machine, "-m", "256", "-kernel", str(kernel), *arguments), deadline_s=_KERNEL_S)
        ran = "Kernel panic" in result.stdout
    else:
        with tempfile.TemporaryDirectory(prefix="vmlab-probe-") as folder:
            firmware = Path(folder) / "firmware.bin"
            firmware.write_bytes(_FIRMWARE)
            arguments = ("-bios", str(firmware), "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4")
            result = run((qemu, *machine, "-m", "16", *arguments), deadline_s=_FIRMWARE_S)
        ran = result.status == 2 * _EXIT_CODE + 1
    if ran:
        return None
    return "a guest hangs in it" if result.timed_out else f"QEMU dies in it: {result.last_line.rpartition(': ')[2]}"


def locked_away() -> bool:
    """/dev/kvm is root's alone, as it is where udev does not run.

    libvirt's daemon may open it then and the guests' user may not; libvirt takes its kept QEMU capabilities for stale
    because of that and asks QEMU again at each call: defining one domain takes a minute and a half.
    """
    return DEVICE.exists() and not DEVICE.stat().st_mode & 0o066


def why_no_kvm(qemu: str, kernel: Path | None, *, say: Callable[[str], None], fresh: bool = False) -> str | None:
    """None if KVM runs guests on this machine in libvirt's `qemu`, with this kernel if there is one, else why not.

    The answer is kept until the machine boots again or QEMU is replaced, because a hanging guest takes the whole
    deadline to find out; `fresh` asks anew. What takes that long is announced to `say` before it begins.
    """
    machine = platform.machine()
    if not runs(machine, GUESTS):
        return f"this machine is {machine}, and its guests are {GUESTS}"
    if not DEVICE.exists():
        return "there is no /dev/kvm"

    def find_out() -> str | None:
        longest = _FIRMWARE_S + (0 if kernel is None else _KERNEL_S)
        say(f"trying whether KVM runs a guest, for {longest:g} s at most")
        return runs_guests(qemu, "kvm") or (runs_guests(qemu, "kvm", kernel) if kernel is not None else None)

    return known("kvm", [qemu, _changed(qemu), str(kernel)], find_out, fresh=fresh)


def _changed(program: str) -> int:
    try:
        return Path(program).stat().st_mtime_ns
    except OSError:  # running it says so
        return 0
