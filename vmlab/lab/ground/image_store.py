"""The image store at hand: where it lies, who needs which file of it, and who holds it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from vmlab.plan.observed import Observed
from vmlab.runtime import lock
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe
from vmlab.virt.pool import IMAGES, ensure_pool, pool_path


def folder(host: Host) -> Path:
    """Where the images lie; the pool is made if it is absent."""
    ensure_pool(host, IMAGES)
    return Path(host.call(lambda connection: pool_path(connection, IMAGES)))


def used(host: Host, seen: Observed | None = None) -> dict[str, list[str]]:
    """Who needs which file of the store: domains, whosever they are, and nodes of which only a clone is left.

    As it is now, or as the host was `seen`, volumes and all.
    """
    observed, store_ = seen or observe(host), os.path.realpath(folder(host))
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
