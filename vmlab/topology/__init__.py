"""The topology file: what a user writes, and what it means. `model` has the keys, `bed` what they become."""

from vmlab.topology.bed import (
    MANAGEMENT,
    DeviceSelector,
    Disk,
    Fabric,
    FileSystem,
    HostSpec,
    Kernel,
    Node,
    Numa,
    Reserve,
    Share,
    TargetSpec,
    Topology,
    Workload,
)
from vmlab.topology.loader import load, load_from, loads
from vmlab.topology.schema import schema

__all__ = [
    "MANAGEMENT",
    "DeviceSelector",
    "Disk",
    "Fabric",
    "FileSystem",
    "HostSpec",
    "Kernel",
    "Node",
    "Numa",
    "Reserve",
    "Share",
    "TargetSpec",
    "Topology",
    "Workload",
    "load",
    "load_from",
    "loads",
    "schema",
]
