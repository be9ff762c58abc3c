"""Images: list, build, import, remove."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from vmlab.errors import UsageError
from vmlab.runtime import lock
from vmlab.store import images as store
from vmlab.store.build import build_demo
from vmlab.store.images import Files, Manifest
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe
from vmlab.virt.pool import IMAGES, ensure_pool, pool_path


def folder(host: Host) -> Path:
    """Where the images lie; the pool is made if it is absent."""
    ensure_pool(host, IMAGES)
    return Path(host.call(lambda connection: pool_path(connection, IMAGES)))


def used(host: Host) -> dict[str, list[str]]:
    """Which nodes' clones are linked to which file."""
    users: dict[str, list[str]] = {}
    for volume in observe(host).volumes.values():
        if volume.backing is not None:
            users.setdefault(volume.backing, []).append(volume.name.removesuffix(".root.qcow2"))
    return users


@contextlib.contextmanager
def changing(wait_s: float = 0.0) -> Iterator[None]:
    """Hold the image store: what lies half-written in it while nobody does is a leftover.

    Raises BusyError if another vmlab holds it for longer than `wait_s`.
    """
    with lock.held("images", what="the image store", wait_s=wait_s):
        yield


def build(host: Host, name: str, *, mirror: str | None, suite: str, progress: Callable[[str], None]) -> Manifest:
    """Build an image that vmlab has a recipe for (`demo`) and put it into the store."""
    if name != "demo":
        raise UsageError(f"vmlab has no recipe for an image {name} (recipes: demo)", hint="vmlab image import")
    where = folder(host)
    with changing():
        built = build_demo(where / ".build", mirror=mirror, suite=suite, progress=progress)
        manifest = store.add(where, store.read(built), built.parent, move=True)
        shutil.rmtree(built.parent)
    return manifest


def bring(host: Host, name: str, source: Path, *, user: str | None) -> Manifest:
    """Import a disk: a qcow2 without backing chain. A `NAME.json` manifest beside it is taken over, if there is one.

    `user` None: whom that manifest names, else root.
    """
    store.check_name(name)
    if user:
        store.check_user(user)
    store.check_disk(source)
    where = folder(host)
    files = Files(disk=source.name)
    if beside := store.manifest_of(source):
        files = beside.files.model_copy(update={"disk": source.name})
        manifest = beside.model_copy(update={"name": name, "files": files} | ({"user": user} if user else {}))
    else:
        manifest = Manifest(name=name, user=user or "root", files=files)
    with changing():
        return store.add(where, manifest, source.parent)


def removable(host: Host, name: str) -> list[str]:
    """What `remove` would remove, a line each; HostError names the nodes that are clones of it."""
    manifest = store.removable(folder(host), name, used(host))
    return [f"{name}: this goes:", *(f"  {file}" for file in manifest.files.model_dump().values() if file)]


def remove(host: Host, name: str) -> None:
    """Remove an image; HostError names the nodes that are clones of it."""
    where = folder(host)
    with changing():
        store.remove(where, name, used(host))


def listed(host: Host) -> list[tuple[Manifest, list[str]]]:
    """All images with the nodes that are clones of each."""
    where = folder(host)
    users = used(host)
    return [(manifest, users.get(str(where / manifest.files.disk), [])) for manifest in store.images(where)]
