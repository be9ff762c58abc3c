"""Why ssh did not come through, told from what it says on standard error."""

from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from vmlab.errors import GuestError


class SshTrouble(Enum):
    """Parts of ssh's messages, what they mean, and what may help. The first member that fits counts."""

    HOST_KEY = (
        ("Host key verification failed", "HOST IDENTIFICATION HAS CHANGED", "host key is known"),
        "what answers at {address} does not have the host key that vmlab gave to {node}",
        "vmlab console {bed} {node}",
    )
    KEY_FILE = (
        ("UNPROTECTED PRIVATE KEY FILE", "Load key", "not accessible"),
        "ssh cannot use the bed's private key in {folder}",
        "ls -l {folder}",
    )
    LOGIN = (
        ("Permission denied (", "Too many authentication failures"),
        "{node} does not let {user} in with the bed's key",
        "vmlab console {bed} {node}",
    )
    REFUSED = (
        ("Connection refused",),
        "nothing listens at {address} port {port}",
        "vmlab console {bed} {node}",
    )
    NO_ROUTE = (
        ("No route to host", "Network is unreachable", "Host is down"),
        "no way to {address}",
        "vmlab status {bed}",
    )
    NO_NAME = (
        ("Could not resolve hostname",),
        "no machine is called {address} here",
        "getent hosts {address}",
    )
    SILENT = (
        ("timed out", "Timeout, server"),
        "{address} does not answer",
        "vmlab status {bed}",
    )
    CLOSED = (
        (
            "Connection closed",
            "Connection reset",
            "closed by remote host",
            "Broken pipe",
            "kex_exchange_identification",
            "banner exchange",
            "Not allowed at this time",
            "mux_client_",
        ),
        "{node} closed the ssh connection",
        "vmlab console {bed} {node}",
    )
    LOST = (
        (),
        "the ssh connection to {node} ended",
        "vmlab status {bed}",
    )

    @classmethod
    def of(cls, complaint: str) -> "SshTrouble | None":
        """What ssh complains about; None if that is nothing we know of."""
        return next((trouble for trouble in cls if any(sign in complaint for sign in trouble.value[0])), None)

    def detail(self, said: str) -> str:
        """ssh's own last line, where that says more than we do."""
        tells = self in (SshTrouble.LOST, SshTrouble.CLOSED, SshTrouble.KEY_FILE)
        return "".join(said.strip().splitlines()[-1:]) if tells else ""


class Unreachable(GuestError):
    """ssh did not come through to the guest: it, or the way there, is at fault, and not a command in it."""

    def __init__(self, trouble: SshTrouble, message: str, *, node: str, hint: str) -> None:
        super().__init__(message, node=node, stage="ssh", hint=hint)
        self.trouble = trouble

    @classmethod
    def guest(
        cls,
        trouble: SshTrouble,
        *,
        bed: str,
        node: str,
        address: IPv4Address,
        port: int,
        user: str,
        folder: Path,
        detail: str = "",
    ) -> Self:
        """A guest, to which the way and all keys are vmlab's."""
        words = {"bed": bed, "node": node, "address": address, "port": port, "user": user, "folder": folder}
        _, cause, hint = trouble.value
        message = cause.format(**words) + (f": {detail}" if detail else "")
        return cls(trouble, message, node=node, hint=hint.format(**words))
