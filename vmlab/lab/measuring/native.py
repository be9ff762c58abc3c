"""The host itself in the place of nodes: what they measure is measured there too, without a guest between.

Each node has a stand-in, a place on the host with as many CPUs as the node has, those that its virtual CPUs are pinned
to. On a fabric it has the host's own interface: that of the physical function which serves the guests, or else one with
an address in the fabric's network, as a bridge has. The bed stays up meanwhile, and does nothing.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO

from typing_extensions import override

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.errors import HostError
from vmlab.fabrics import SURVEY, read_survey
from vmlab.fabrics.addresses import ADDRESSES, OwnAddress, read_addresses
from vmlab.guest.child import stream
from vmlab.guest.ssh import OnLine, RunsCommands, no_line
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.measuring.participants import Asked, Participant, Said, placed
from vmlab.plan.observed import ObservedDomain
from vmlab.records.run import RunNode
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline
from vmlab.values.cpuset import cpu_list
from vmlab.virt.sysfs import Sysfs, sysfs_of
from vmlab.workloads import Endpoint, Node

Pins = Mapping[int, Sequence[int]]
"""Of each virtual CPU, the host CPUs that it may use."""

_KILLED_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class OnHost:
    """The door to a stand-in: commands run here, on these CPUs."""

    cpus: tuple[int, ...]

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline_s: float,
        as_root: bool = False,
        stdin: "str | IO[bytes]" = "",
        on_line: OnLine = no_line,
    ) -> Result:
        """As `Guest.run`."""
        root = ("sudo", "-n", "--") if as_root and os.geteuid() != 0 else ()
        bounded = ("timeout", "-k", str(_KILLED_AFTER_S), str(math.ceil(deadline_s) + 1))
        command = (*root, *bounded, "taskset", "-c", cpu_list(self.cpus), *argv)
        done = stream(command, deadline=Deadline.after(deadline_s), stdin=stdin, on_line=on_line)
        # As the shell in a guest tells what a signal ended.
        return replace(done, status=128 - done.status) if done.status < 0 and not done.timed_out else done


class StandIn(Participant):
    """The host in the place of one node. `interfaces`: by the guest's, those of the physical functions behind them."""

    def __init__(self, metadata: NodeMetadata, cpus: tuple[int, ...], interfaces: Mapping[str, Sequence[str]]) -> None:
        self._addresses = metadata.addresses
        self._interfaces = interfaces
        self.node = Node(metadata.node, metadata.roles, where="host", cpus=cpus)

    @override
    def endpoints(self, said: Said) -> tuple[Endpoint, ...]:
        own, survey = read_addresses(said(ADDRESSES)), read_survey(said(SURVEY))
        found = []
        for address in self._addresses:
            place = own_place(address, own, self._interfaces.get(address.interface, ()))
            if place is not None:
                found.append(placed(Endpoint(address.fabric, address.kind, place.ip.ip, ""), place, survey))
        return tuple(found)

    @override
    def recorded(self, asked: Asked) -> RunNode:
        return replace(super().recorded(asked), vcpus={str(n): (cpu,) for n, cpu in enumerate(self.node.cpus)})


def own_place(address: Address, own: Sequence[OwnAddress], interfaces: Sequence[str]) -> OwnAddress | None:
    """Where the host is on the fabric on which a guest has this address; None if it is not.

    `interfaces` are those of the physical function that serves the guest.
    """
    behind = [place for place in own if place.netdev in interfaces]
    network = [place for place in own if place.ip.ip in address.ip.network]
    return next(iter((*behind, *network)), None)


def confined(pins: Mapping[str, Pins]) -> dict[str, tuple[int, ...]]:
    """The host CPUs for each node's stand-in: one for each virtual CPU, of those that it may use the least taken."""
    taken: dict[int, int] = {}
    found: dict[str, tuple[int, ...]] = {}
    for node, vcpus in pins.items():
        chosen: list[int] = []
        for may in vcpus.values():
            free = [cpu for cpu in may if cpu not in chosen] or list(may)
            if free:
                cpu = min(free, key=lambda cpu: (taken.get(cpu, 0), cpu))
                taken[cpu] = taken.get(cpu, 0) + 1
                chosen.append(cpu)
        found[node] = tuple(sorted(dict.fromkeys(chosen)))
    return found


def stand_ins(
    hosts: Hosts, nodes: Mapping[str, ObservedDomain], metadata: Mapping[str, NodeMetadata], pins: Mapping[str, Pins]
) -> dict[str, tuple[StandIn, RunsCommands]]:
    """One for each of the nodes, with the door to it. Raises HostError where commands cannot run on their host."""
    if far := [host.uri for host in map(hosts.of, nodes.values()) if not host.local or host.simulated]:
        raise HostError(
            f"native: commands run on this machine only, and nodes are on {far[0]}", hint="start vmlab on that host"
        )
    chosen = confined(pins)
    if without := [node for node in nodes if not chosen.get(node)]:
        raise HostError(f"native: libvirt does not tell on which CPUs {without[0]} runs")
    return {
        name: (StandIn(metadata[name], chosen[name], _behind(sysfs_of(hosts.of(domain)), domain)), OnHost(chosen[name]))
        for name, domain in nodes.items()
    }


def _behind(sysfs: Sysfs, domain: ObservedDomain) -> dict[str, tuple[str, ...]]:
    """The host's interfaces of the physical functions whose virtual functions the guest has, by the guest's."""
    found = {}
    for interface, address in domain.facts.ports.items():
        listed = sysfs.read_many([f"bus/pci/devices/{address}/physfn/net/*/ifindex"])
        found[interface] = tuple(path.split("/")[-2] for path in listed)
    return found
