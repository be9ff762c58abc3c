"""A network that delays, loses and throttles: the kernel's netem on a guest's interface, by tc(8) of iproute2."""

import json
import re
from dataclasses import dataclass
from typing import Any

from vmlab.errors import UsageError
from vmlab.steps import Command
from vmlab.values.rate import Rate

_TIME = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,6})?(?:us|ms|s)")
_PERCENT = re.compile(r"(?:100|[0-9]{1,2})(?:\.[0-9]{1,6})?%")

SHOW: Command = ("tc", "-json", "qdisc", "show")
"""What it prints is read by `read_netem`."""


@dataclass(frozen=True, slots=True)
class Netem:
    """`delay` and `jitter` as in 20ms, `loss` as in 0.1%, of what the interface sends; "" and None: none."""

    delay: str = ""
    jitter: str = ""
    loss: str = ""
    rate: Rate | None = None

    def __post_init__(self) -> None:
        for name, pattern, form in (("delay", _TIME, "20ms"), ("jitter", _TIME, "5ms"), ("loss", _PERCENT, "0.1%")):
            text = getattr(self, name)
            if text and not pattern.fullmatch(text):
                raise UsageError(f"{text!r:.40} is no {name} (expected a form such as {form})", hint=f"--{name} {form}")
        if not (self.delay or self.loss or self.rate):
            raise UsageError("what shall the network do?", hint="--delay 20ms, --loss 0.1%, --rate 1Gbit/s")
        if self.jitter and not self.delay:
            raise UsageError("a jitter is one of a delay", hint=f"--delay 20ms --jitter {self.jitter}")

    def argv(self, interface: str) -> Command:
        """Instead of what the interface had before."""
        delay = ("delay", self.delay, *((self.jitter,) if self.jitter else ())) if self.delay else ()
        loss = ("loss", self.loss) if self.loss else ()
        rate = ("rate", f"{int(self.rate * 8)}bit") if self.rate else ()
        return ("tc", "qdisc", "replace", "dev", interface, "root", "netem", *delay, *loss, *rate)


def cleared(interface: str) -> Command:
    """The interface's queue becomes the kernel's own again."""
    return ("tc", "qdisc", "del", "dev", interface, "root")


def read_netem(text: str) -> dict[str, str]:
    """What is done to each interface that something is done to. Never fails: what has another form is left out."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {
        str(one["dev"]): _told(one.get("options", {}))
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, dict) and one.get("kind") == "netem" and "dev" in one
    }


def _told(options: Any) -> str:
    parts = []
    delay, loss, rate = (_number(options, *path) for path in _OPTIONS)
    if delay:
        jitter = _number(options, "delay", "jitter")
        parts.append(f"delay {delay * 1000:g} ms" + (f" \N{PLUS-MINUS SIGN} {jitter * 1000:g} ms" if jitter else ""))
    parts += [f"loss {loss * 100:g} %"] if loss else []
    parts += [f"rate {Rate(rate)}"] if rate else []
    return ", ".join(parts) or "netem"


_OPTIONS = (("delay", "delay"), ("loss-random", "loss"), ("rate", "rate"))


def _number(options: Any, *path: str) -> float:
    for key in path:
        options = options.get(key) if isinstance(options, dict) else None
    return float(options) if isinstance(options, int | float) else 0.0
