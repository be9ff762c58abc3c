"""What `vmlab host check` finds: one line each."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "no"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `verdict`: "ok", "warning" (beds run, something does not), "no" (no bed comes up)."""

    what: str
    verdict: Verdict
    found: str
    hint: str = ""
