"""Who takes part in a run, and what each guest says of itself before anything is measured on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vmlab.domainxml.metadata import NodeMetadata
from vmlab.fabrics import SURVEY, kind_of, read_survey
from vmlab.guest.ssh import RunsCommands
from vmlab.lab.ground.leftovers import end_leftovers
from vmlab.metrics import RunNode
from vmlab.steps import Command
from vmlab.workloads import Endpoint, Node, Workload

Placement = Mapping[str, Mapping[int, Sequence[int]]]
"""Node, virtual CPU, the host CPUs that it may use."""

_ASK_S = 60.0
_LONGEST = 200
_VERSION = 'command -v "$1" >/dev/null && "$@" 2>&1; exit 0'

_SYSTEM = r"""
uname -r
{ sed -n 's/^lustre: *//p; /^[0-9]/p' /sys/fs/lustre/version /proc/fs/lustre/version 2>/dev/null; echo; } | head -n 1
if command -v dpkg-query >/dev/null; then dpkg-query -W -f '${Package} ${Version}\n' "$@"
elif command -v rpm >/dev/null; then rpm -q --qf '%{NAME} %{VERSION}-%{RELEASE}\n' "$@" | grep -v ' is not installed'
fi 2>/dev/null
exit 0
"""


def participant(node: NodeMetadata) -> Node:
    """A node as workloads see it."""
    endpoints = tuple(Endpoint(a.fabric, a.kind, a.ip.ip, a.interface, a.soft) for a in node.addresses)
    return Node(node.node, node.roles, endpoints)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a guest that takes part said of itself."""

    node: Node
    kernel: str
    lustre: str
    packages: Mapping[str, str]
    tools: Mapping[str, str]


def ask(guest: RunsCommands, metadata: NodeMetadata, workload: Workload[Any]) -> Asked:
    """What a guest knows of itself; whatever an earlier run left in it is ended."""

    def said(argv: Command) -> str:
        return guest.run(argv, deadline_s=_ASK_S, as_root=True).stdout

    end_leftovers({metadata.node: guest})
    survey = read_survey(said(SURVEY))
    endpoints = []
    for endpoint, address in zip(participant(metadata).endpoints, metadata.addresses, strict=True):
        device = kind_of(address).device(address, survey)
        if device is None:
            endpoints.append(endpoint)
        else:
            endpoints.append(replace(endpoint, device=device.name, port=device.port, gid_index=device.gid_index))
    kernel, lustre, *packages = [*said(("sh", "-c", _SYSTEM, "vmlab", *workload.packages)).splitlines(), "", ""]
    tools = {
        name: _first_line(said(("sh", "-c", _VERSION, "vmlab", *argv))) for name, argv in workload.versions.items()
    }
    facts = {name: said(command) for name, command in workload.facts.items()}
    return Asked(
        Node(metadata.node, metadata.roles, tuple(endpoints), facts),
        kernel,
        lustre,
        {name: version for name, _, version in (line.partition(" ") for line in packages) if version},
        {name: version for name, version in tools.items() if version},
    )


def _first_line(text: str) -> str:
    return next(filter(None, map(str.strip, text.splitlines())), "")[:_LONGEST]


def run_node(metadata: NodeMetadata, asked: Asked, vcpus: Mapping[int, Sequence[int]]) -> RunNode:
    """What the record of a run says of it."""
    return RunNode(
        name=metadata.node,
        roles=metadata.roles,
        image=metadata.image,
        kernel=asked.kernel,
        packages=asked.packages,
        addresses={a.interface: str(a.ip) for a in metadata.addresses},
        devices={e.netdev: f"{e.device}/{e.port}" for e in asked.node.endpoints if e.device},
        vcpus={str(vcpu): tuple(cpus) for vcpu, cpus in vcpus.items()},
        tools=asked.tools,
        lustre=asked.lustre,
        digest=metadata.digest,
    )
