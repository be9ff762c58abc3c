"""Images: list, build, import, remove."""

import contextlib
import os
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

_PATIENCE_S = 10.0


def folder(host: Host) -> Path:
    """Where the images lie; the pool is made if it is absent."""
    ensure_pool(host, IMAGES)
    return Path(host.call(lambda connection: pool_path(connection, IMAGES)))


def used(host: Host) -> dict[str, list[str]]:
    """Who needs which file of the store: domains, whosever they are, and nodes of which only a clone is left."""
    observed, store_ = observe(host), os.path.realpath(folder(host))
    needs = [(name, path) for name, domain in observed.domains.items() for path in domain.disks_in_use]
    needs += [(v.name.removesuffix(".root.qcow2"), v.backing) for v in observed.volumes.values() if v.backing]
    users: dict[str, set[str]] = {}
    for name, path in needs:
        where, file = os.path.split(os.path.realpath(path))
        if where == store_:
            users.setdefault(file, set()).add(name)
    return {file: sorted(names) for file, names in users.items()}


@contextlib.contextmanager
def changing(wait_s: float = 0.0) -> Iterator[None]:
    """Hold the image store: what lies half-written in it while nobody does is a leftover.

    Raises BusyError if another vmlab holds it for longer than `wait_s`.
    """
    with lock.held("images", what="the image store", wait_s=wait_s):
        yield


@contextlib.contextmanager
def cloning() -> Iterator[None]:
    """Keep all images from being removed, from the choice of one until its clones exist; many vmlabs may at once.

    Raises BusyError if another one removes images for a minute.
    """
    with lock.held("images.cloned", what="the image store", wait_s=60.0, shared=True):
        yield


@contextlib.contextmanager
def removing(wait_s: float = 0.0) -> Iterator[None]:
    """Hold the image store while nobody is about to clone an image; raises BusyError as `changing` does."""
    with changing(wait_s), lock.held("images.cloned", what="the image store", wait_s=wait_s):
        yield


def build(host: Host, name: str, *, mirror: str | None, suite: str, progress: Callable[[str], None]) -> Manifest:
    """Build an image that vmlab has a recipe for (`demo`) and put it into the store."""
    if name != "demo":
        raise UsageError(f"vmlab has no recipe for an image {name} (recipes: demo)", hint="vmlab image import")
    where = folder(host)
    with changing():
        built = build_demo(where / store.RECIPE_WORK, mirror=mirror, suite=suite, progress=progress)
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
    """What `remove` would remove, a line each; HostError names who needs it."""
    return [f"{name}: this goes:", *(f"  {path.name}" for path in store.removable(folder(host), name, used(host)))]


def remove(host: Host, name: str) -> None:
    """Remove an image; HostError names who needs it, BusyError who is about to clone one."""
    where = folder(host)
    with removing(wait_s=_PATIENCE_S):
        store.remove(where, name, used(host))


def listed(host: Host) -> list[tuple[Manifest, list[str]]]:
    """All images with the domains that need each. What is broken is warned of."""
    where = folder(host)
    users = used(host)
    return [(manifest, users.get(manifest.files.disk, [])) for manifest in store.images(where)]
