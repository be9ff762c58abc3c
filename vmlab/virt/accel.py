"""Does a guest really run under KVM here? A /dev/kvm that opens, and even creates a VM, does not prove it."""

import contextlib
import json
import os
import tempfile
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.files import state_dir, write_atomically
from vmlab.runtime.process import run

QEMU = "qemu-system-x86_64"
_FIRMWARE_S = 4.0
_KERNEL_S = 12.0
_EXIT_CODE = 0x10  # the debug exit device turns a write of N into exit status 2 N + 1

# A whole guest: at the reset vector, 16 bytes below 4 GiB, `mov al, 0x10; out 0xf4, al; hlt`.
_FIRMWARE = bytes(0xFFF0) + bytes((0xB0, _EXIT_CODE, 0xE6, 0xF4, 0xF4)) + bytes(11)


def runs_guests(accel: str, kernel: Path | None = None) -> str | None:
    """Run a guest under "kvm" or "tcg" to its end: None if it came there, else why not.

    With a kernel the guest is Linux, which boots until it finds no root file system; without one it is the firmware
    above. Either has the CPU model that the beds' guests get: some hosts fail only there.
    """
    cpu = "host" if accel == "kvm" else "max"
    machine = ("-machine", f"q35,accel={accel}", "-cpu", cpu, "-nodefaults", "-no-user-config", "-display", "none")
    if kernel is not None:
        arguments: tuple[str, ...] = ("-append", "console=ttyS0 panic=-1", "-serial", "stdio", "-no-reboot")
        result = run((QEMU, *machine, "-m", "256", "-kernel", str(kernel), *arguments), deadline_s=_KERNEL_S)
        ran = "Kernel panic" in result.stdout
    else:
        with tempfile.TemporaryDirectory(prefix="vmlab-probe-") as folder:
            firmware = Path(folder) / "firmware.bin"
            firmware.write_bytes(_FIRMWARE)
            arguments = ("-bios", str(firmware), "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4")
            result = run((QEMU, *machine, "-m", "16", *arguments), deadline_s=_FIRMWARE_S)
        ran = result.status == 2 * _EXIT_CODE + 1
    if ran:
        return None
    return "a guest hangs in it" if result.timed_out else f"a guest dies in it ({result.last_line})"


def why_no_kvm(kernel: Path | None = None, *, fresh: bool = False) -> str | None:
    """None if KVM runs guests on this machine, else why not.

    The answer is kept until the machine boots again or QEMU is replaced, because a hanging guest takes the whole
    deadline to find out; `fresh` asks anew.
    """
    if not Path("/dev/kvm").exists():
        return "there is no /dev/kvm"
    kept = state_dir() / "kvm.json"
    key = [*_key(), str(kernel)]
    if not fresh:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(kept.read_bytes())
            if told["key"] == key:
                return str(told["why_not"]) if told["why_not"] else None
    why_not = runs_guests("kvm") or (runs_guests("kvm", kernel) if kernel is not None else None)
    with contextlib.suppress(OSError):  # where it cannot be kept it is asked again
        write_atomically(kept, json.dumps({"key": key, "why_not": why_not}))
    return why_not


def _key() -> list[str | int]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for folder in os.get_exec_path():
        binary = Path(folder) / QEMU
        if binary.exists():
            return [boot, str(binary), binary.stat().st_mtime_ns]
    raise HostError(f"`{QEMU}` is not installed", hint="apt-get install qemu-system-x86")
