"""What the shell offers at a TAB. Quick, silent, never an error: what cannot be had in a second is not offered."""

import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import libvirt

_PATIENCE_S = 1.0
_PLAIN = re.compile(r"[\w@/.~][\w@/.~,:+=-]*")
_ROLES = ("mgs", "mds", "oss", "client", "router", "fta", "build")


def topologies(incomplete: str) -> list[str]:
    """Topology files: what lies here, and by name what ships with vmlab."""
    from vmlab.runtime.shipped import shipped

    folder, _, _ = incomplete.rpartition("/")
    here = _glob(Path(folder or "."), f"{folder}/" if folder else "")
    return _fitting(incomplete, [*here, *(_glob(shipped("topologies"), "") if not folder else ())])


def beds(incomplete: str) -> list[str]:
    """The beds on the host; topology files only where no bed begins so: shells sort what they are offered."""
    names = sorted({name.partition(".")[0] for name in _quickly(_domains)})
    return _fitting(incomplete, names) or _fitting(incomplete, _glob(Path(), ""))


def nodes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Nodes of the bed that was already typed, and roles; the last part of a list is completed."""
    bed = str(ctx.params.get("bed") or "")
    prefix, comma, last = incomplete.rpartition(",")
    names = [name.partition(".")[2] for name in _quickly(_domains) if name.startswith(f"{bed}.")]
    roles = [f"@{role}" for role in _ROLES] if last.startswith("@") else []
    return [f"{prefix}{comma}{name}" for name in _fitting(last, [*sorted(names), *roles])]


def snapshots(ctx: typer.Context, incomplete: str) -> list[str]:
    """Snapshots of the bed that was already typed."""
    bed = str(ctx.params.get("bed") or "")
    names = (re.fullmatch(rf"{re.escape(bed)}\._snap\.([\w-]+)\.json", name) for name in _quickly(_files))
    return _fitting(incomplete, sorted(name[1] for name in names if name is not None))


def images(incomplete: str) -> list[str]:
    """Images of the store, where its folder can be read."""
    folder = Path(os.environ.get("VMLAB_POOL_DIR", "/var/lib/libvirt/vmlab")) / "images"
    return _fitting(incomplete, [path.stem for path in sorted(folder.glob("*.json"))])


def workloads(incomplete: str) -> list[str]:
    """Workloads that ship with vmlab, by their files."""
    folder = Path(__file__).resolve().parent.parent / "workloads"
    return _fitting(incomplete, [path.stem for path in sorted(folder.glob("[a-z]*.py"))])


def runs(incomplete: str) -> list[str]:
    """Runs, the newest first."""
    from vmlab.runtime.files import state_dir

    found = (path.parent.name for path in (state_dir() / "runs").glob("*/run.json"))
    return _fitting(incomplete, sorted(found, reverse=True))


def _fitting(incomplete: str, names: Iterable[str]) -> list[str]:
    """Without those that mean something to a shell, which puts them into the line as they are."""
    plain = (name for name in names if _PLAIN.fullmatch(name))
    return list(dict.fromkeys(name for name in plain if name.startswith(incomplete)))


def _glob(folder: Path, prefix: str) -> list[str]:
    return [prefix + path.name for path in sorted(folder.glob("*.y*ml"))]


def _domains() -> list[str]:
    return _asked(lambda c: [domain.name() for domain in c.listAllDomains() if "." in domain.name()])


def _files() -> list[str]:
    return _asked(lambda c: list(c.storagePoolLookupByName("vmlab").listVolumes()))


def _asked(ask: "Callable[[libvirt.virConnect], list[str]]") -> list[str]:
    import libvirt

    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        return ask(libvirt.openReadOnly(os.environ.get("LIBVIRT_DEFAULT_URI") or "qemu:///system"))
    except libvirt.libvirtError:
        return []


def _quickly(ask: Callable[[], list[str]]) -> list[str]:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(ask()), daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return list(found)
