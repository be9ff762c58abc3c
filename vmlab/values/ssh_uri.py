"""Where somebody logs in: `ssh://root@cn1:2222`, and for several machines `ssh://root@cn[1-4]`."""

import re
from dataclasses import dataclass
from typing import Self

from vmlab.values import nodeset

# Neither begins with a dash: it is an argument of ssh.
_URI = re.compile(r"ssh://(?:([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})@)?([A-Za-z0-9][^\s@:/]*)(?::([0-9]{1,5}))?/?")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}")
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class SshUri:
    """`user` "" and `port` None are whatever ssh's own configuration says."""

    user: str
    hosts: tuple[str, ...]
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError that names the expected form."""
        wanted = "expected ssh://USER@HOST or ssh://USER@HOST:PORT"
        match = _URI.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r:.80} is no way to log in ({wanted})")
        port = int(match[3]) if match[3] else None
        if port is not None and not 1 <= port <= _HIGHEST_PORT:
            raise ValueError(f"{text!r:.80} has no possible port (expected 1 to {_HIGHEST_PORT})")
        hosts = nodeset.expand(match[2])
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(f"{host!r:.80} is no host's name or IPv4 address ({wanted})")
        return cls(match[1] or "", hosts, port)

    @classmethod
    def of_one(cls, text: str) -> Self:
        """Where one machine is logged in to: `root@cn1:2222` will do. Raises ValueError as `parse`, and for several."""
        found = cls.parse(text if "://" in text else f"ssh://{text}")
        if len(found.hosts) > 1:
            raise ValueError(f"{text!r:.80} is more than one machine (expected the form root@HOST or root@HOST:PORT)")
        return found

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"ssh://{user}{','.join(self.hosts)}{f':{self.port}' if self.port else ''}"
