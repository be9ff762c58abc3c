"""What a guest may do to other nodes of its bed, and how that is done.

Who asks is known by the channel that the question came by. What it may is asked of libvirt each time: the bed's domains
are those that metadata, name and UUID prove to be, and the rights stand in the metadata of the one that asks. A node of
another bed has no name here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vmlab.errors import HostError, UsageError
from vmlab.lab.beds.switching import switch
from vmlab.lab.ground.bed_folder import roles_on
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Silent
from vmlab.plan.observed import RUNNING, over_all
from vmlab.runtime.log import log
from vmlab.service.request import Request
from vmlab.topology.select import powered, select
from vmlab.values.nodeset import fold


@dataclass(frozen=True, slots=True)
class Rights:
    """Those of one node of a bed."""

    hosts: Hosts
    bed: str
    node: str

    def act(self, request: Request) -> str:
        """Do it; how the nodes are afterwards: `on=mds1 off=oss[1-2]`. Raises VmlabError for what may not be."""
        bed = over_all(self.bed, self.hosts.look(whole=False))
        there = {name: metadata.roles for name, metadata in bed.metadata.items()}
        if self.node not in there:
            raise HostError(f"{self.bed} has no node {self.node} any more")
        roles = self._away() | there
        allowed = powered(self.node, bed.metadata[self.node].powers, roles)
        if not allowed:
            raise UsageError(f"{self.node} powers no other node")
        try:
            names = select(request.nodes, {name: roles[name] for name in allowed})
        except UsageError as error:
            raise UsageError(f"{self.node} powers {fold(allowed)}: {error.message}") from None
        silent = [name for name in names if name not in there]
        if request.verb != "status":
            log.info("%s %s", request.verb, fold(names))
            if silent:
                raise HostError(f"{fold(silent)} is on a host that is away")
        found = {name: bed.nodes[name] for name in names if name in there}
        states = switch(self.hosts, self.bed, found, request.verb, Silent()) | dict.fromkeys(silent, "away")
        return _told({name: states[name] for name in names})

    def _away(self) -> dict[str, tuple[str, ...]]:
        """The roles of nodes on hosts that do not answer, as the last `up` noted them."""
        noted = [roles_on(self.hosts.keeper, self.bed, host) for host in self.hosts.away]
        return {name: roles for found in noted for name, roles in (found or {}).items()}


def _told(states: Mapping[str, str]) -> str:
    """As a management board knows it: there is current, or there is none."""
    words: dict[str, list[str]] = {"on": [], "off": [], "unknown": []}
    for name, state in states.items():
        on = state.partition(" (")[0] in RUNNING
        words["on" if on else "off" if state in ("shut off", "undefined") else "unknown"].append(name)
    return " ".join(f"{word}={fold(names)}" for word, names in words.items() if names)
