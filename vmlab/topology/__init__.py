"""The topology file: what a user writes, and what it means. `model` has the keys, `bed` what they become.

Reading one takes pydantic and YAML, which are imported when somebody asks for what reads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vmlab.topology.bed import (
    MANAGEMENT,
    DeviceSelector,
    Disk,
    External,
    Fabric,
    FileSystem,
    HostSpec,
    Kernel,
    Node,
    Numa,
    Reserve,
    Shape,
    Share,
    SiteManagement,
    TargetSpec,
    Topology,
    Workload,
)

if TYPE_CHECKING:
    from vmlab.topology.json_schema import schema
    from vmlab.topology.loader import load, load_from, loads

__all__ = [
    "MANAGEMENT",
    "DeviceSelector",
    "Disk",
    "External",
    "Fabric",
    "FileSystem",
    "HostSpec",
    "Kernel",
    "Node",
    "Numa",
    "Reserve",
    "Shape",
    "Share",
    "SiteManagement",
    "TargetSpec",
    "Topology",
    "Workload",
    "load",
    "load_from",
    "loads",
    "schema",
]

_READERS = {"load": "loader", "load_from": "loader", "loads": "loader", "schema": "json_schema"}


def __getattr__(name: str) -> Any:
    if name not in _READERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_READERS[name]}"), name)
