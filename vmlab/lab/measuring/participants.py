"""Who takes part in a run, and what each machine says of itself before anything is measured on it.

A guest knows its places on fabrics by what its domain's metadata says; of a machine that is no guest only its
addresses are known, and the interface and the RDMA device are those that have them.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any

from typing_extensions import override

from vmlab.domainxml.metadata import NodeMetadata
from vmlab.errors import WorkloadError
from vmlab.fabrics import SURVEY, RdmaPorts, kind_of, read_survey
from vmlab.fabrics.addresses import ADDRESSES, OwnAddress, read_addresses
from vmlab.guest.ssh import RunsCommands
from vmlab.lab.ground.leftovers import end_leftovers, end_run
from vmlab.records.run import RunNode
from vmlab.shell import script
from vmlab.steps import Command
from vmlab.workloads import Endpoint, Node, Workload

_ASK_S = 60.0
_LONGEST = 200
_VERSION = 'command -v "$1" >/dev/null && "$@" 2>&1; exit 0'

_SYSTEM = script(__file__, "system.sh")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a machine that takes part said of itself."""

    node: Node
    kernel: str
    machine: str
    lustre: str
    packages: Mapping[str, str]
    tools: Mapping[str, str]


Said = Callable[[Command], str]
"""What a command printed on the machine that is asked."""


class Participant(abc.ABC):
    """A machine that may take part. `node` is what is known of it before it is asked."""

    node: Node

    @abc.abstractmethod
    def endpoints(self, said: Said) -> tuple[Endpoint, ...]:
        """Its places on fabrics, with the devices that it has there. Raises WorkloadError."""

    def end_leftovers(self, door: RunsCommands, killed: Sequence[str]) -> None:
        """End what killed runs, by their IDs, left on it. Others may use the machine: theirs goes on."""
        for run in killed:
            end_run({self.node.name: door}, run)

    def ask(self, door: RunsCommands, workload: Workload[Any], killed: Sequence[str] = ()) -> Asked:
        """What it says of itself; what `killed` runs left in it is ended. Raises GuestError, WorkloadError."""

        def said(argv: Command) -> str:
            return door.run(argv, deadline_s=_ASK_S, as_root=True).stdout

        self.end_leftovers(door, killed)
        endpoints = self.endpoints(said)
        lines = said(("sh", "-c", _SYSTEM, "vmlab", *workload.packages)).splitlines()
        kernel, machine, lustre, *packages = [*lines, "", "", ""]
        tools = {
            name: _first_line(said(("sh", "-c", _VERSION, "vmlab", *argv))) for name, argv in workload.versions.items()
        }
        facts = {name: said(command) for name, command in workload.facts.items()}
        return Asked(
            replace(self.node, endpoints=endpoints, facts=facts),
            kernel,
            machine,
            lustre,
            {name: version for name, _, version in (line.partition(" ") for line in packages) if version},
            {name: version for name, version in tools.items() if version},
        )

    def recorded(self, asked: Asked) -> RunNode:
        """What the record of a run says of it."""
        return RunNode(
            name=self.node.name,
            roles=self.node.roles,
            image="",
            kernel=asked.kernel,
            packages=asked.packages,
            addresses={e.netdev: str(e.ip) for e in asked.node.endpoints},
            devices={e.netdev: f"{e.device}/{e.port}" for e in asked.node.endpoints if e.device},
            vcpus={},
            tools=asked.tools,
            lustre=asked.lustre,
            machine=asked.machine,
            where=self.node.where,
        )


class InGuest(Participant):
    """A guest, on that host. `vcpus`: the host CPUs that each virtual CPU may use."""

    def __init__(
        self, metadata: NodeMetadata, vcpus: Mapping[int, Sequence[int]] | None = None, *, host: str = ""
    ) -> None:
        self.metadata = metadata
        self._vcpus = vcpus or {}
        known = tuple(Endpoint(a.fabric, a.kind, a.ip.ip, a.interface, a.soft) for a in metadata.addresses)
        self.node = Node(metadata.node, metadata.roles, known, host=host)

    @override
    def endpoints(self, said: Said) -> tuple[Endpoint, ...]:
        survey = read_survey(said(SURVEY))
        found = []
        for endpoint, address in zip(self.node.endpoints, self.metadata.addresses, strict=True):
            device = kind_of(address).device(address, survey)
            if device is None:
                found.append(endpoint)
            else:
                found.append(replace(endpoint, device=device.name, port=device.port, gid_index=device.gid_index))
        return tuple(found)

    @override
    def end_leftovers(self, door: RunsCommands, killed: Sequence[str]) -> None:
        end_leftovers({self.node.name: door})

    @override
    def recorded(self, asked: Asked) -> RunNode:
        return replace(
            super().recorded(asked),
            image=self.metadata.image,
            addresses={a.interface: str(a.ip) for a in self.metadata.addresses},
            vcpus={str(vcpu): tuple(cpus) for vcpu, cpus in self._vcpus.items()},
            digest=self.metadata.digest,
        )


class Bare(Participant):
    """A machine that is no guest, with its addresses on fabrics and the fabrics' kinds."""

    def __init__(self, name: str, roles: Sequence[str], addresses: Mapping[str, tuple[str, IPv4Address]]) -> None:
        known = tuple(Endpoint(fabric, kind, ip, "") for fabric, (kind, ip) in addresses.items())
        self.node = Node(name, tuple(roles), known, where="bare")

    @override
    def endpoints(self, said: Said) -> tuple[Endpoint, ...]:
        own = {address.ip.ip: address for address in read_addresses(said(ADDRESSES))}
        survey = read_survey(said(SURVEY))
        if missing := [e for e in self.node.endpoints if e.ip not in own]:
            raise WorkloadError(
                f"{self.node.name} has not the address {missing[0].ip}, which the topology says it has on"
                f" {missing[0].fabric}",
                hint="on that machine: ip -br address",
            )
        return tuple(placed(e, own[e.ip], survey) for e in self.node.endpoints)


def placed(endpoint: Endpoint, own: OwnAddress, survey: RdmaPorts) -> Endpoint:
    """The same place, at an address that the machine has, with the interface and the RDMA device of that."""
    device = own.device(survey)
    found = replace(endpoint, ip=own.ip.ip, netdev=own.netdev)
    if device is None:
        return found
    # Hardware is behind some interface of a PCI function; soft-RoCE is on one.
    soft = all(device.name not in behind for behind in survey.behind.values())
    return replace(found, device=device.name, port=device.port, gid_index=device.gid_index, soft=soft)


def _first_line(text: str) -> str:
    return next(filter(None, map(str.strip, text.splitlines())), "")[:_LONGEST]
