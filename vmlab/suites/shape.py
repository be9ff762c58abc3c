"""What the suites see of a bed: how many of what, on how many servers, and who can take over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from vmlab.suites.cfg import tested
from vmlab.topology import TargetSpec, Topology

FLAKEY = "dm-flakey"
"""The device mapper's target by which the framework stops writes to a disk."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`mdt_hosts` are the MDTs' primary servers, in their order. `pairs`: of which kinds each target has a partner.

    `has` tells of programs, modules and the like, which are on the nodes that need them or not; who is absent is not
    known. `shared`: all nodes have a directory of their own in common.
    """

    mdt_hosts: tuple[str, ...]
    ost_hosts: tuple[str, ...]
    clients: int
    backend: str
    pairs: frozenset[str] = frozenset()
    separate_mgs: bool = False
    failure_mode: Literal["SOFT", "HARD"] = "SOFT"
    shared: bool = False
    has: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def mdts(self) -> int:
        """How many."""
        return len(self.mdt_hosts)

    @property
    def osts(self) -> int:
        """How many."""
        return len(self.ost_hosts)


def shape_of(
    topology: Topology,
    *,
    failure_mode: Literal["SOFT", "HARD"] = "SOFT",
    shared: bool = False,
    has: Mapping[str, bool] = MappingProxyType({}),
) -> Shape:
    """Of the file system that is tested. Raises UsageError if there is none."""
    fs = tested(topology)
    specs = [target for target in topology.targets if target.fsname == fs.name]

    def of(kind: str) -> list[TargetSpec]:
        return sorted((one for one in specs if one.kind == kind), key=lambda one: one.index)

    def paired(kind: str) -> bool:
        return bool(of(kind)) and all(len(set(one.servers)) > 1 for one in of(kind))

    return Shape(
        mdt_hosts=tuple(one.servers[0] for one in of("MDT")),
        ost_hosts=tuple(one.servers[0] for one in of("OST")),
        clients=len(fs.clients),
        backend=fs.backend,
        pairs=frozenset(kind for kind in ("MGT", "MDT", "OST") if paired(kind)),
        separate_mgs=any(one.size is not None or one.device is not None for one in of("MGT")),
        failure_mode=failure_mode,
        shared=shared,
        has=has,
    )
