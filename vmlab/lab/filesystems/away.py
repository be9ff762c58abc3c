"""Nodes on hosts that are away: which those are, and whether such a host is proven to be off."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmlab.errors import HostError
from vmlab.lab.ground.bed_folder import nodes_on
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import ObservedBed
from vmlab.topology import Topology
from vmlab.virt.host_power import HostPower


@dataclass(frozen=True, slots=True)
class AwayNodes:
    """`places` has the host of each node that no host which answers has: "" where several are away and nobody noted it.

    `powers` are of the hosts that are away.
    """

    places: Mapping[str, str] = field(default_factory=dict)
    powers: Mapping[str, HostPower] = field(default_factory=dict)

    @property
    def proven_off(self) -> bool:
        """All hosts that are away are off, as they say now. What was noted of nodes may be old, so all count."""
        return all(power.says_off for power in self.powers.values())

    def refuse_unfenced(self, node: str) -> None:
        """Raise HostError, before anything is done, where the host of a node cannot be switched off and proven off."""
        place = self.places[node]
        if not place:
            raise HostError(
                f"{node} is on one of {', '.join(self.powers)}, which are away, and nobody knows on which",
                hint=f"`host:` at {node}, if it is known",
            )
        power = self.powers[place]
        if not power.agent:
            raise HostError(
                f"{node} is on {place}, which does not answer: that is no proof that it is off, and its partner does "
                "not mount what it may still write to",
                hint=f"again when {place} answers; or give {place} a fence agent in the file: fence: fence_ipmilan ...",
            )
        for other in (one for name, one in self.powers.items() if name != place):
            if not other.says_off:
                raise HostError(
                    f"{other.host} is away, too, and not known to be off: {node} could be there",
                    hint=f"when {other.host} answers, again",
                )

    def switch_off(self, node: str) -> None:
        """Switch the host of a node off. Raises HostError if it does not say that it is."""
        self.powers[self.places[node]].switch_off()


def away_nodes(hosts: Hosts, topology: Topology, found: ObservedBed) -> AwayNodes:
    """What of a bed is on hosts that are away. This machine is not asked to switch itself off."""
    if hosts.whole:
        return AwayNodes()
    noted = {node: name for name in hosts.away for node in nodes_on(hosts.keeper, topology.name, name)}
    only = next(iter(hosts.away)) if len(hosts.away) == 1 else ""

    def place(node: str) -> str:
        asked = topology.nodes[node].host if node in topology.nodes else None
        return only or (asked if asked is not None and asked in hosts.away else noted.get(node, ""))

    missing = [node for node in (*topology.nodes, *noted) if node not in found.nodes]
    return AwayNodes(
        {node: place(node) for node in dict.fromkeys(missing)},
        {name: HostPower(name, () if away.local else topology.hosts[name].fence) for name, away in hosts.away.items()},
    )
