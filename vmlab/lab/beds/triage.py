"""The first look into a guest's memory: the kernel's log without debug symbols, and with them all threads' stacks."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path

from vmlab.dumps.core import Core, read_core
from vmlab.dumps.kernel_log import kernel_log
from vmlab.dumps.memory import Memory
from vmlab.dumps.stacks import COMMANDS, summary
from vmlab.errors import HostError
from vmlab.lab.beds.debug import candidates
from vmlab.runtime.distribution import install_hint
from vmlab.runtime.process import run

_CRASH_S = 900.0  # 20 s for 100 threads of a quiet guest


def log_of(dump: Path) -> str:
    """As dmesg would have it. Raises HostError for what keeps it from being read."""
    with _core(dump) as core:
        return "\n".join(kernel_log(Memory(core)))


def stacks_of(dump: Path, kernel: Path | None) -> str:
    """Who panicked, and where all threads stand, by crash; `kernel` is the file that the guest booted.

    Raises HostError, which says what is missing for that.
    """
    with _core(dump) as core:
        release = core.told.get("OSRELEASE", "")
    symbols = next((path for path in candidates(kernel, release) if path.is_file()), None)
    if symbols is None:
        raise HostError(
            f"no vmlinux with debug symbols of kernel {release or 'unknown'} is on this host "
            f"(/usr/lib/debug/boot/vmlinux-{release}, of the package linux-image-{release}-dbg or kernel-debuginfo; "
            "`vmlab image build --keep-vmlinux` keeps it with an image)"
        )
    if shutil.which("crash") is None:
        raise HostError(f"crash is not installed here{f': {hint}' if (hint := install_hint('crash')) else ''}")
    with tempfile.NamedTemporaryFile("w", prefix="vmlab-", suffix=".crash") as commands:
        commands.write(COMMANDS)
        commands.flush()
        argv = ("crash", "--no_scroll", "-s", "-i", commands.name, str(symbols), str(dump))
        said = run(argv, deadline_s=_CRASH_S)
    try:
        return summary(said.stdout)
    except ValueError as error:
        raise HostError(f"crash: {said.last_line or error}") from error


@contextmanager
def _core(dump: Path) -> Iterator[Core]:
    try:
        with dump.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data, memoryview(data) as view:
            yield read_core(view)
    except ValueError as error:
        raise HostError(str(error)) from error
    except OSError as error:
        raise HostError(f"{dump}: {error.strerror}") from error
