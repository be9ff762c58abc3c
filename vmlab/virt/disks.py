"""Which files the domains of a host need: by path, by pool and volume, through links and down their backing chains.

libvirt tells a chain only of a domain that runs. Of the others a disk itself is asked, and where we may not read it
libvirt is, which knows the files of its pools.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import libvirt
from lxml import etree

from vmlab.domainxml.read import Uses, VolumeFacts
from vmlab.runtime.parallel import each
from vmlab.runtime.process import run
from vmlab.virt.connection import Host

_JOBS = 8
_ASK_S = 10.0
_NO_FILES = frozenset[str]()
_DEEPEST = 64  # a chain that is longer goes in a circle

Below = Callable[[str], Sequence[str]]
"""What lies directly below a file: its backing file, and the one that has its data."""


def needed(
    host: Host,
    connection: "libvirt.virConnect",
    uses: Mapping[str, Uses],
    *,
    files: Mapping[str, VolumeFacts],
    pool_path: str,
) -> dict[str, frozenset[str]]:
    """The files that each domain needs, as paths; those in the pool also by its path, whatever link leads there.

    `files` has those that are known already, by their paths: the pool's.
    """

    def tops(use: Uses) -> frozenset[str]:
        return frozenset(path for pool, volume in use.volumes if (path := _path(connection, pool, volume)))

    asked = {name: use for name, use in uses.items() if use.volumes}
    told = dict(zip(asked, each(tops, asked.values(), jobs=_JOBS, failed="not all pools could be read"), strict=True))
    given = [told.get(name, _NO_FILES) for name in uses]
    layered = [use.layered | paths for use, paths in zip(uses.values(), given, strict=True)]
    under = _under(frozenset().union(*layered), files, lambda path: _below(host, connection, path))
    found = [
        use.files | use.boot | paths | _chains(starts, under)
        for use, paths, starts in zip(uses.values(), given, layered, strict=True)
    ]
    if host.local:
        found = [frozenset(alias for path in files for alias in _aliases(path, pool_path)) for files in found]
    return dict(zip(uses, found, strict=True))


def _under(files: frozenset[str], known: Mapping[str, VolumeFacts], below: Below) -> dict[str, Sequence[str]]:
    """What lies directly below each of the files and of those below them: each is asked once, a layer all at once.

    Of those that are `known` nobody is asked.
    """
    under: dict[str, Sequence[str]] = {}
    for _ in range(_DEEPEST):
        layer = files - under.keys()
        if not layer:
            break
        told = {path: [backing] if (backing := known[path].backing) else [] for path in layer & known.keys()}
        asked = sorted(layer - known.keys())
        under |= told | dict(
            zip(asked, each(below, asked, jobs=_JOBS, failed="not all disks could be read"), strict=True)
        )
        files = frozenset(file for path in layer for file in under[path])
    return under


def _chains(files: frozenset[str], under: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """All that the files are built on, down to the last."""
    found: set[str] = set()
    layer = set(files)
    while layer:
        layer = {file for path in layer for file in under.get(path, ())} - found
        found |= layer
    return frozenset(found)


def _below(host: Host, connection: "libvirt.virConnect", path: str) -> Sequence[str]:
    told = _by_qemu(path) if host.local else None
    return _by_libvirt(connection, path) if told is None else told


def _by_qemu(path: str) -> Sequence[str] | None:
    """None if the file cannot be read."""
    asked = run(("qemu-img", "info", "--force-share", "--output", "json", path), deadline_s=_ASK_S)
    if not asked.ok:
        return None
    info = json.loads(asked.stdout)
    data = info.get("format-specific", {}).get("data", {})
    told = (info.get("full-backing-filename") or info.get("backing-filename"), data.get("data-file"))
    names = [file for name in told if name for file in _files_in(name)]
    return [os.path.join(os.path.dirname(path), name) for name in names]  # noqa: PTH118, PTH120 (it may be a URL)


def _files_in(name: str) -> Iterator[str]:
    """The files that QEMU's name of an image means: a path, or a description of block devices in JSON."""
    if not name.startswith("json:"):
        yield name.removeprefix("file:")
        return
    todo = [json.loads(name.removeprefix("json:"))]
    while todo:
        for key, value in todo.pop().items():
            if isinstance(value, dict):
                todo.append(value)
            elif key.rpartition(".")[2] == "filename":
                yield str(value).removeprefix("file:")


def _by_libvirt(connection: "libvirt.virConnect", path: str) -> Sequence[str]:
    try:
        volume = etree.fromstring(connection.storageVolLookupByPath(path).XMLDesc())
    except libvirt.libvirtError:  # in no pool, or in one that is off
        return []
    below = volume.findtext("backingStore/path")
    return [below] if below else []


def _path(connection: "libvirt.virConnect", pool: str, volume: str) -> str | None:
    """Where a volume lies; None if there is no such pool, or no such volume in it."""
    try:
        found = connection.storagePoolLookupByName(pool)
        if found.isActive():
            return str(found.storageVolLookupByName(volume).path())
        folder = etree.fromstring(found.XMLDesc()).findtext("target/path")
    except libvirt.libvirtError:
        return None
    return f"{folder}/{volume}" if folder else None


def _aliases(path: str, pool_path: str) -> Iterator[str]:
    yield path
    real = Path(os.path.realpath(path))
    yield str(real)
    pool = Path(os.path.realpath(pool_path))
    if real.is_relative_to(pool):
        yield str(Path(pool_path) / real.relative_to(pool))
