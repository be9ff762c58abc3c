"""The command, telling what each call took."""

# ruff: noqa: T201 (what each step took is printed)

import json
import time
from typing import Any

from .conftest import MINUTES, Vmlab

LONG_S = 30 * MINUTES


class Timed:
    """The command, telling what each call took."""

    def __init__(self, vmlab: Vmlab) -> None:
        self.vmlab = vmlab

    def __call__(self, *arguments: str, status: int = 0) -> str:
        begin = time.monotonic()
        said = self.vmlab.run(*arguments, status=status, deadline_s=LONG_S)
        words = " ".join(a for a in arguments if "\n" not in a)
        print(f"{time.monotonic() - begin:7.1f} s  vmlab {words}")
        return said

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))
