"""Runs a daemon, and reaps what becomes an orphan below it, for where process 1 does that late or never.

QEMU's processes are orphans. libvirt asks whether one is gone, and a zombie is not: it goes on asking, 2 s where
process 1 looks each other second, and 40 s where it never does.
"""

import contextlib
import ctypes
import os
import subprocess
import sys

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
    sys.exit(f"reaper: {os.strerror(ctypes.get_errno())}")
subprocess.Popen(sys.argv[1:])  # whose end is seen below
with contextlib.suppress(ChildProcessError):
    while True:
        os.wait()
