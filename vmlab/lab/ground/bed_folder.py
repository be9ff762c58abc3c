"""Where a bed's ssh secret lies: `hosts/HOST/beds/BED` of the state folder. Beds of one name may be on several hosts.

Until now it was `beds/BED`, whatever the host. What lies there still serves, and moves when its bed is taken down: only
then is it sure that nobody uses the old place, and on which host the bed is.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from vmlab.errors import HostError
from vmlab.runtime.files import state_dir, write_atomically
from vmlab.values.libvirt_uri import Way, leads_elsewhere, of_system
from vmlab.values.ssh_uri import SshUri

_SECRET = "secret"  # noqa: S105 - the file's name, as guest.keys has it
_URI = "uri"
_SWEEP = "sweep"
_KEEP = "keep"
_HOSTS = "hosts"
_SOCKETS = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")  # the system's own
_READABLE = 40  # characters of a folder's name that are there for people


class Named(Protocol):
    """What tells a host from others, whether or not it answers."""

    @property
    def uri(self) -> str:
        """libvirt's."""

    @property
    def local(self) -> bool:
        """It is this machine."""


def slug(host: Named) -> str:
    """The host in the name of a file."""
    return _readable(place(host.uri))


def slug_there(host: Named) -> str:
    """As `slug`, in the names that a vmlab on that machine itself gives to files."""
    scheme, _, rest = host.uri.partition("://")
    path = "/" + rest.partition("?")[0].partition("/")[2]
    return _readable(f"{scheme.partition('+')[0]}://{path}")


def _readable(uri: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "-", uri).strip("-")


def place(uri: str) -> str:
    """One text for all ways to a libvirtd of this machine: `qemu+unix:///system` is `qemu:///system`."""
    parts = urlsplit(uri)
    socket = dict(parse_qsl(parts.query)).get("socket", "").removeprefix("/var")
    if leads_elsewhere(uri) or (socket and not (of_system(uri) and socket in _SOCKETS)):
        return uri
    return f"{parts.scheme.partition('+')[0]}://{parts.path}"


def new_folder(host: Named, bed: str) -> Path:
    """Where the secret of a bed goes that has none yet."""
    return _of(host) / "beds" / bed


def folder(host: Named, bed: str) -> Path:
    """Where the secret of a bed is that is there, on this host."""
    new, old = new_folder(host, bed), _old(bed)
    return old if not new.exists() and (old / _SECRET).exists() else new


def named(host: Named) -> list[str]:
    """The beds that we have secrets of on this host."""
    return sorted(path.name for path in (_of(host) / "beds").glob("*"))


def register(host: Named) -> None:
    """Write down which host the secrets are for, so that `elsewhere` can tell."""
    path = _of(host) / _URI
    try:
        if not path.exists():
            write_atomically(path, f"{host.uri}\n")
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", hint=f"ls -ld {state_dir()}") from error


def move(host: Named, bed: str) -> None:
    """Bring a secret from the old place to the new one. The bed must be on this host."""
    old, new = folder(host, bed), new_folder(host, bed)
    if old != new:
        register(host)
        new.parent.mkdir(parents=True, exist_ok=True)
        old.rename(new)


def made_for(host: Named, bed: str) -> str:
    """The sweep that the bed was brought up for, which may take it down; "" for a bed that somebody wants."""
    return _noted(host, bed, _SWEEP)


def make_for(host: Named, bed: str, sweep: str) -> None:
    """Say for which sweep the bed is brought up; "" for none. Raises HostError."""
    _note(host, bed, _SWEEP, sweep)


def to_keep(host: Named, bed: str) -> str:
    """What `down` keeps of the bed as its file said when it was brought up; "" for nothing."""
    return _noted(host, bed, _KEEP)


def keep(host: Named, bed: str, what: str) -> None:
    """Say what `down` keeps of the bed when it is told no more than its name. Raises HostError."""
    _note(host, bed, _KEEP, what)


def _noted(host: Named, bed: str, name: str) -> str:
    try:
        return (new_folder(host, bed) / name).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def _note(host: Named, bed: str, name: str, text: str) -> None:
    path = new_folder(host, bed) / name
    try:
        if text:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, f"{text}\n")
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", hint=f"ls -ld {path.parent}") from error


def elsewhere(host: Named, bed: str) -> dict[Path, str | None]:
    """Secrets of a bed of this name on other hosts: folders, with the URIs of those that are known."""
    found: dict[Path, str | None] = {
        path.parent: _uri(path.parents[2])
        for path in sorted((state_dir() / "hosts").glob(f"*/beds/{bed}/{_SECRET}"))
        if path.parents[2] != _of(host)
    }
    old = _old(bed)
    return found | ({old: None} if (old / _SECRET).exists() else {})


def spread(home: Named, bed: str, ways: Mapping[str, Way], nodes: Mapping[str, Mapping[str, Iterable[str]]]) -> None:
    """Write down, for who only has its name, which hosts the bed is about to be on, and the roles of the nodes on each.

    Raises HostError.
    """
    import json  # noqa: PLC0415  slow to import

    path = new_folder(home, bed) / _HOSTS
    told = {
        name: {
            "uri": way.uri,
            **({} if way.ssh is None else {"ssh": str(way.ssh)}),
            "nodes": {n: list(roles) for n, roles in nodes.get(name, {}).items()},
        }
        for name, way in ways.items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, json.dumps(told) + "\n")
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", hint=f"ls -ld {path.parent}") from error


def spread_beds(bed: str = "*") -> list[Path]:
    """The folders of all beds, or those of one name, that are on several hosts or on another machine."""
    return [path.parent for path in sorted((state_dir() / "hosts").glob(f"*/beds/{bed}/{_HOSTS}"))]


def ways_of(folder: Path) -> dict[str, Way]:
    """The hosts of such a bed, in its topology's order: ways by name. Raises HostError if that cannot be read."""
    return {name: host["way"] for name, host in _spread(folder / _HOSTS).items()}


def noted_on(host: Named, bed: str) -> bool:
    """A bed of this name was written down to be on several hosts or on another machine, of which this is one."""
    own = place(host.uri)
    return any(place(way.uri) == own for folder in spread_beds(bed) for way in ways_of(folder).values())


def spread_over(home: Named, bed: str) -> dict[str, str]:
    """The hosts that a bed is on, if they were written down: names by URI."""
    path = new_folder(home, bed) / _HOSTS
    return {host["way"].uri: name for name, host in _spread(path).items()} if path.exists() else {}


def nodes_on(home: Named, bed: str, host: str) -> list[str]:
    """The nodes that the last `up` had on one of the bed's hosts."""
    path = new_folder(home, bed) / _HOSTS
    return list(_spread(path).get(host, {}).get("nodes", ())) if path.exists() else []


def roles_on(home: Named, bed: str, host: str) -> dict[str, tuple[str, ...]] | None:
    """The same, with their roles; None where nobody noted them."""
    path = new_folder(home, bed) / _HOSTS
    found = _spread(path).get(host, {}).get("nodes") if path.exists() else None
    return {node: tuple(roles) for node, roles in found.items()} if isinstance(found, dict) else None


def _spread(path: Path) -> dict[str, Any]:
    import json  # noqa: PLC0415  slow to import

    try:
        told = json.loads(path.read_text())
        return {name: {"way": _way(host), "nodes": host["nodes"]} for name, host in told.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise HostError(
            f"{path}: {error}", hint=f"vmlab down FILE; if that bed is gone: rm -r {path.parent}"
        ) from error


def _way(told: Mapping[str, Any]) -> Way:
    return Way(str(told["uri"]), SshUri.parse(told["ssh"]) if "ssh" in told else None)


def _of(host: Named) -> Path:
    digest = hashlib.sha256(place(host.uri).encode()).hexdigest()[:8]
    return state_dir() / "hosts" / f"{slug(host)[:_READABLE]}-{digest}"


def _old(bed: str) -> Path:
    return state_dir() / "beds" / bed


def _uri(of_host: Path) -> str | None:
    try:
        return (of_host / _URI).read_text().strip() or None
    except OSError:
        return None
