"""Facts about the machine that hold until it boots again, and are slow to find out."""

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from vmlab.runtime.files import state_dir, write_atomically

T = TypeVar("T")


def known(name: str, about: Sequence[str | int], find_out: Callable[[], T], *, fresh: bool = False) -> T:
    """The kept answer to the question `name` about just these things, else the one that is found out now and kept.

    An answer is what JSON gives back as it was: text, numbers, None.
    """
    path = state_dir() / f"host-{name}.json"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    question = [boot, *about]
    if not fresh:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(path.read_bytes())
            if told["question"] == question:
                kept: T = told["answer"]
                return kept
    answer = find_out()
    with contextlib.suppress(OSError):  # where it cannot be kept it is asked again
        write_atomically(path, json.dumps({"question": question, "answer": answer}))
    return answer
