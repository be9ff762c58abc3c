"""Code that runs as another user of this machine, in a process of its own. Only root may do that."""

import os
import traceback
from collections.abc import Callable

import pytest

ALICE, MALLORY = 64_001, 64_002

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


def as_user(uid: int, work: Callable[[], object]) -> str:
    """What `work` returns, as text; AssertionError with its traceback if it raises."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            told = str(work())
            status = 0
        except BaseException:  # noqa: BLE001 (this process must not go on as a second pytest)
            told = traceback.format_exc()
        os.write(writing, told.encode(errors="backslashreplace"))
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, told
    return told
