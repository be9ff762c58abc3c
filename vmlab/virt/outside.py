"""Whether the host has a way out, which its guests share: they reach by it, and resolve names, what the host does."""

import json
import re
from pathlib import Path

from vmlab.runtime.process import run

_RESOLV_CONF = Path("/etc/resolv.conf")


def no_way_out() -> str:
    """Why guests of this machine reach no more than its own networks; "" if nothing is known against it."""
    listed = run(("ip", "-json", "-4", "route", "show", "default"), deadline_s=10)
    try:
        resolv_conf = _RESOLV_CONF.read_text(errors="replace")
    except OSError:
        resolv_conf = ""
    return lacking(listed.stdout if listed.ok else None, resolv_conf)


def lacking(default_routes: str | None, resolv_conf: str) -> str:
    """As `no_way_out`, from what `ip -json route show default` prints (None: not known) and /etc/resolv.conf."""
    if default_routes is not None and not json.loads(default_routes or "[]"):
        return "the host has no default route"
    if not re.search(r"^nameserver[ \t]+\S", resolv_conf, re.MULTILINE):
        return "the host has no name server (/etc/resolv.conf)"
    return ""
