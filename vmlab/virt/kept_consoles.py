"""The consoles of a node's earlier starts: put aside before libvirt begins the log anew, the latest are kept."""

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vmlab.domainxml.metadata import NodeMetadata
from vmlab.values import identity
from vmlab.virt.connection import Host, gone_is_fine
from vmlab.virt.console import file_whole
from vmlab.virt.pool import BEDS, find_pool, pool_path, refresh, write_volume

if TYPE_CHECKING:
    import libvirt

KEPT = 8
_MOST = 4 << 20  # virtlogd turns logs over at 2 MiB


def put_aside(host: Host, connection: "libvirt.virConnect", node: NodeMetadata) -> None:
    """Keep what the console of a node that is about to start printed until now; the oldest of many goes.

    Who may write in the pool's folder renames the log; for others, and elsewhere, libvirt copies it.
    """
    log = identity.console_volume(node.bed, node.node)
    kept = identity.kept_console(node.bed, node.node, datetime.now(UTC))
    folder = Path(pool_path(connection, BEDS))
    if host.local and os.access(folder, os.W_OK | os.X_OK):
        with contextlib.suppress(FileNotFoundError):
            if (folder / log).stat().st_size:
                (folder / log).rename(folder / kept)
        for old in _kept(node, [path.name for path in folder.glob(f"{log}.*")])[:-KEPT]:
            (folder / old).unlink(missing_ok=True)
        return
    pool = find_pool(connection, BEDS)
    if pool is None:
        return
    refresh(pool)
    with gone_is_fine():
        if content := file_whole(host, str(folder), log)[-_MOST:]:
            write_volume(pool, kept, content)
    for old in _kept(node, pool.listVolumes())[:-KEPT]:
        with gone_is_fine():
            pool.storageVolLookupByName(old).delete()


def consoles(host: Host, node: NodeMetadata, earlier: int) -> list[tuple[datetime | None, str]]:
    """What the console printed since the last start, as the last, and in so many starts before it: until when, what."""
    log = identity.console_volume(node.bed, node.node)

    def names(connection: "libvirt.virConnect") -> tuple[str, list[str]]:
        folder, pool = pool_path(connection, BEDS), find_pool(connection, BEDS)
        if pool is not None and earlier:
            refresh(pool)
        return folder, _kept(node, pool.listVolumes()) if pool is not None and earlier else []

    folder, kept = host.call(names)
    found: list[tuple[datetime | None, str]] = [
        (identity.kept_until(name), file_whole(host, folder, name).decode(errors="replace")) for name in kept[-earlier:]
    ]
    return [*found, (None, file_whole(host, folder, log).decode(errors="replace"))]


def _kept(node: NodeMetadata, names: list[str]) -> list[str]:
    """The oldest first."""
    log = identity.console_volume(node.bed, node.node)
    return sorted(name for name in names if name.startswith(f"{log}.") and identity.kept_until(name) is not None)
