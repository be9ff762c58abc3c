"""Ctrl-C, SIGTERM and SIGHUP: a KeyboardInterrupt in the main thread, where it can be borne.

Python raises it between any two instructions, among them those with which its own thread pools take and give back
locks: a lock is then given back that was never taken, or the interrupt is swallowed in the call-back of a weak
reference. So it is put off there, and whoever waits for threads does so in one call of C, which it only ends.
"""

import signal
import threading
from types import FrameType, TracebackType


class _PutOff:
    """Whether interrupts wait, and whether one does. Only the main thread has any."""

    depth = 0
    came = False


def be_interrupted() -> None:
    """Take the three signals, but those that whoever started us had us ignore, as `nohup` does with SIGHUP."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _come)


def _come(number: int, frame: FrameType | None) -> None:
    del number, frame
    if _PutOff.depth:
        _PutOff.came = True
    else:
        raise KeyboardInterrupt


class PutOff:
    """An interrupt that comes while the body runs is raised behind it. No body waits for anything."""

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            _PutOff.depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        _PutOff.depth -= 1
        if _PutOff.came and not _PutOff.depth:
            _PutOff.came = False
            raise KeyboardInterrupt
