"""Work on threads, and Ctrl-C."""

import subprocess
import sys

STORM = """
import subprocess
import sys
import random, signal, sys
from vmlab.runtime.interrupt import be_interrupted
from vmlab.runtime.parallel import each
signal.signal(signal.SIGINT, signal.default_int_handler)
be_interrupted()
signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGINT))
came = 0
for _ in range(2000):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1e-3))
        each(str, range(8), jobs=4, failed="none")
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        came += 1
print(came)
"""


def test_an_interrupt_is_one_wherever_it_comes() -> None:
    """Into the locks of the thread pool, too, and none is lost in them."""
    ran = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert int(ran.stdout) > 100


def test_after_an_interrupt_what_must_end_is_ended_and_waited_for() -> None:
    code = """
import signal, threading, time
from vmlab.runtime.interrupt import be_interrupted
from vmlab.runtime.parallel import each
be_interrupted()
stop, ended = threading.Event(), []
def work(item):
    if item == 1: signal.raise_signal(signal.SIGINT)
    stop.wait(30); time.sleep(0.2); ended.append(item)
try:
    each(work, range(9), jobs=3, failed="none", cut_short=stop.set)
except KeyboardInterrupt:
    print(sorted(ended))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("[0, 1, 2]\n", "")
