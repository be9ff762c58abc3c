"""What an emulated guest's kernel should not find out by timing, foremost the speed of the time stamp counter.

Such a guest reads the host's counter, and its kernel finds out the counter's speed against an emulated PIT. On a busy
host that goes wrong now and then, seen by a factor of 78, and the guest's clock with it. So we measure it and tell the
kernel (`tsc_early_khz`, `tsc=reliable`: Documentation/admin-guide/kernel-parameters.txt). It is told, too, not to try
whether timer interrupts come (`no_timer_check`): late ones were seen to end in a panic.
"""

import ctypes
import mmap
import platform
import time

from vmlab.inventory.qemu import read_tsc
from vmlab.runtime.wait import sleep
from vmlab.virt.connection import Host
from vmlab.virt.this_boot import known

_RDTSC = bytes.fromhex("0f3148c1e2204809d0c3")  # rdtsc; shl rdx, 32; or rax, rdx; ret
_MEASURE_S = 0.05
# The kernel refines what is within 1 %; and a coarse figure is the same the next time.
_STEP_KHZ = 10_000


def kernel_parameters(host: Host | None = None) -> str:
    """What to add to the command line of the kernel of an emulated guest on `host`, or here.

    Of another machine the counter's speed is what its libvirt says, if it does.
    """
    if host is None or host.local:
        khz = known("tsc", [], _measure) if platform.machine() == "x86_64" else None
    else:
        hz = read_tsc(host.call(lambda connection: connection.getCapabilities()))
        khz = round(hz / 1000 / _STEP_KHZ) * _STEP_KHZ if hz is not None else None
    return " no_timer_check" + (f" tsc=reliable tsc_early_khz={khz}" if khz is not None else "")


def _measure() -> int | None:
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:  # a hardened host forbids pages that are written and executed
        return None
    page.write(_RDTSC)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    ticks, began = int(read()), time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    sleep(_MEASURE_S)
    khz = (int(read()) - ticks) * 1_000_000 / (time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - began)
    return round(khz / _STEP_KHZ) * _STEP_KHZ
