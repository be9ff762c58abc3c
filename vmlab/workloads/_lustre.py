"""Where a workload's files go: a Lustre file system that all its nodes have mounted; over what, and what they cache."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from typing import TypeVar

from pydantic import BaseModel

from vmlab.errors import WorkloadError
from vmlab.lustre import lnetctl
from vmlab.shell import script
from vmlab.steps import Command
from vmlab.values.nid import Nid
from vmlab.workloads import Native, Node

O = TypeVar("O", bound=BaseModel)  # noqa: E741 (as in the package)

MOUNTS: Command = ("sh", "-c", "df -P -k -t lustre 2>/dev/null | awk 'NR > 1 { print $4, $6 }'")
"""The fact command whose output `mounts` reads."""


NETS: Command = ("sh", "-c", "{ lctl list_nids; lnetctl route show; } 2>/dev/null; exit 0")
"""The fact command whose output `over_soft_roce` reads."""


def over_soft_roce(nodes: Sequence[Node], fact: str = "nets") -> bool:
    """Lustre's traffic may go over soft-RoCE: those who have the fact have NIDs on it, or routes to an o2ib network.

    LNet over tcp on the same interface does not. `nodes` are all of the bed: what is behind a router is another's.
    """
    said = [node.facts[fact] for node in nodes if fact in node.facts]
    routed = any(_is_verbs(route.net) for text in said for route in lnetctl.routes(text))
    return (routed and bool(_soft(nodes))) or on_soft_roce((nid for text in said for nid in lnetctl.nids(text)), nodes)


def on_soft_roce(nids: Iterable[Nid], nodes: Sequence[Node]) -> bool:
    """One of these NIDs is LNet over verbs that soft-RoCE emulates."""
    soft = _soft(nodes)
    return any(_is_verbs(nid.net) and nid.address in soft for nid in nids)


def _soft(nodes: Sequence[Node]) -> set[IPv4Address]:
    return {endpoint.ip for node in nodes for endpoint in node.endpoints if endpoint.soft}


def _is_verbs(net: str) -> bool:
    return net.startswith("o2ib")


def _mounts(node: Node) -> dict[str, int]:
    """Bytes that are free, by mount point, as the fact `mounts` tells."""
    found = {}
    for line in node.facts.get("mounts", "").splitlines():
        free, _, point = line.partition(" ")
        if free.isdecimal() and point:
            found[point] = int(free) << 10
    return found


def directory(workload: str, asked: str | None, nodes: Sequence[Node]) -> tuple[str, int]:
    """The directory `asked` for, or the mount point that all nodes have; and the bytes free there, 0 if unknown.

    Of each node MOUNTS was asked, as the fact `mounts`. Raises WorkloadError if no file system is mounted on all.
    """
    first, *others = map(_mounts, nodes)
    if asked is not None:
        above = [point for point in first if asked == point or asked.startswith(f"{point.rstrip('/')}/")]
        return asked.rstrip("/"), max((first[point] for point in above), default=0)
    for point, free in first.items():
        if all(point in theirs for theirs in others):
            return point, free
    raise WorkloadError(
        f"{workload}: no Lustre file system is mounted on all of its nodes",
        hint="vmlab fs mount BED, or --set directory=PATH",
    )


def in_mount(workload: str, options: O, native: Native) -> O:
    """The options with the files below the directory of the host that `native` names.

    Raises WorkloadError if it names none: paths of guests mean other things there.
    """
    if not native.mount:
        raise WorkloadError(
            f"{workload} needs a directory of the host where its files may go", hint="native: {mount: /mnt/lustre}"
        )
    return options.model_copy(update={"directory": native.mount.rstrip("/") or "/"})


DROP_CACHES = script(__file__, "drop_caches.sh")
"""A shell function that makes a node read the files of a folder from where they are."""


def kept_caches(said: str) -> str:
    """Why a node may still read from its own cache, by what the function printed; "" if it cannot."""
    kept = re.search(r"^kept (\S+) (.+)$", said, re.MULTILINE)
    if kept is not None:
        return f"{kept[1]}: {kept[2]}"
    return "" if re.search(r"^dropped \S", said, re.MULTILINE) else "its caches were not dropped"
