"""Where a bed's ssh secret lies: `hosts/HOST/beds/BED` of the state folder. Beds of one name may be on several hosts.

Until now it was `beds/BED`, whatever the host. What lies there still serves, and moves when its bed is taken down: only
then is it sure that nobody uses the old place, and on which host the bed is.
"""

import hashlib
import re
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.files import state_dir, write_atomically
from vmlab.virt.connection import Host

_SECRET = "secret"  # noqa: S105 - the file's name, as guest.keys has it
_URI = "uri"
_SWEEP = "sweep"
_READABLE = 40  # characters of a folder's name that are there for people


def slug(host: Host) -> str:
    """The host in the name of a file."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", _place(host)).strip("-")


def _place(host: Host) -> str:
    """One text for all ways to a libvirtd of this machine: `qemu+unix:///system` is `qemu:///system`."""
    scheme, _, rest = host.uri.partition("://")
    path, _, query = rest.partition("?")
    return f"{scheme.partition('+')[0]}://{path}" if host.local and "socket=" not in query else host.uri


def new_folder(host: Host, bed: str) -> Path:
    """Where the secret of a bed goes that has none yet."""
    return _of(host) / "beds" / bed


def folder(host: Host, bed: str) -> Path:
    """Where the secret of a bed is that is there, on this host."""
    new, old = new_folder(host, bed), _old(bed)
    return old if not new.exists() and (old / _SECRET).exists() else new


def named(host: Host) -> list[str]:
    """The beds that we have secrets of on this host."""
    return sorted(path.name for path in (_of(host) / "beds").glob("*"))


def register(host: Host) -> None:
    """Write down which host the secrets are for, so that `elsewhere` can tell."""
    path = _of(host) / _URI
    try:
        if not path.exists():
            write_atomically(path, f"{host.uri}\n")
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", hint=f"ls -ld {state_dir()}") from error


def move(host: Host, bed: str) -> None:
    """Bring a secret from the old place to the new one. The bed must be on this host."""
    old, new = folder(host, bed), new_folder(host, bed)
    if old != new:
        register(host)
        new.parent.mkdir(parents=True, exist_ok=True)
        old.rename(new)


def made_for(host: Host, bed: str) -> str:
    """The sweep that the bed was brought up for, which may take it down; "" for a bed that somebody wants."""
    try:
        return (new_folder(host, bed) / _SWEEP).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def make_for(host: Host, bed: str, sweep: str) -> None:
    """Say for which sweep the bed is brought up; "" for none. Raises HostError."""
    path = new_folder(host, bed) / _SWEEP
    try:
        if sweep:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, f"{sweep}\n")
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", hint=f"ls -ld {path.parent}") from error


def elsewhere(host: Host, bed: str) -> dict[Path, str | None]:
    """Secrets of a bed of this name on other hosts: folders, with the URIs of those that are known."""
    found: dict[Path, str | None] = {
        path.parent: _uri(path.parents[2])
        for path in sorted((state_dir() / "hosts").glob(f"*/beds/{bed}/{_SECRET}"))
        if path.parents[2] != _of(host)
    }
    old = _old(bed)
    return found | ({old: None} if (old / _SECRET).exists() else {})


def _of(host: Host) -> Path:
    digest = hashlib.sha256(_place(host).encode()).hexdigest()[:8]
    return state_dir() / "hosts" / f"{slug(host)[:_READABLE]}-{digest}"


def _old(bed: str) -> Path:
    return state_dir() / "beds" / bed


def _uri(of_host: Path) -> str | None:
    try:
        return (of_host / _URI).read_text().strip() or None
    except OSError:
        return None
