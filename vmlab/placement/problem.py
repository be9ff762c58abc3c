"""Everything that decides a placement, together: asked once by `place`, and again with less by `explain`."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple, Self

from vmlab.placement.attach import attach
from vmlab.placement.devices import Devices, Pool, devices
from vmlab.placement.groups import natural
from vmlab.placement.optimum import optimum
from vmlab.placement.refusal import Functions, Want
from vmlab.placement.request import HostSpace, NodePlacement, NodeRequest, Placement
from vmlab.placement.reserve import Kept
from vmlab.placement.settle import settle
from vmlab.placement.space import Space, space
from vmlab.placement.spots import Optimum

NOTHING_KEPT: Mapping[str, Kept] = MappingProxyType({})


class Problem(NamedTuple):
    """What is asked, and what the hosts have left for it."""

    requests: tuple[NodeRequest, ...]
    hosts: Mapping[str, HostSpace]
    bed: str | None
    in_force: Mapping[str, NodePlacement]
    spaces: Mapping[str, Space]
    devices: Mapping[str, Devices]
    lenient: bool = False
    keeps: Mapping[str, Kept] = NOTHING_KEPT

    @classmethod
    def of(
        cls,
        requests: Sequence[NodeRequest],
        hosts: Mapping[str, HostSpace],
        *,
        bed: str | None,
        in_force: Mapping[str, NodePlacement],
        later: Collection[str] = (),
        lenient: bool = False,
        keeps: Mapping[str, Kept] = NOTHING_KEPT,
    ) -> Self:
        """Look at the hosts. Requests for nodes in force only say how those are pinned.

        `later`: further nodes of the bed that are placed anew another time: what they claim is free, too. `lenient`:
        a reserve that nobody wrote gives way to what the bed has already. `keeps`: what hosts keep, if that is settled.
        """
        anew = tuple(request for request in requests if request.name not in in_force)
        names = {*later, *(request.name for request in anew)}
        pins = {request.name: (request.pin, request.threads) for request in requests}
        spaces = {
            name: space(
                name,
                host,
                bed=bed,
                anew=names,
                kept=in_force,
                pins=pins,
                lenient=lenient,
                keeps=keeps.get(name),
            )
            for name, host in hosts.items()
        }
        wants = {Want.of(wish): None for request in anew for wish in request.devices}
        found = {
            name: devices(Functions(host.inventory, spaces[name].holders), name, wants) for name, host in hosts.items()
        }
        return cls(anew, hosts, bed, in_force, spaces, found, lenient, keeps)

    def again(
        self, requests: Sequence[NodeRequest] | None = None, hosts: Mapping[str, HostSpace] | None = None
    ) -> "Problem":
        """The same with other requests or hosts."""
        return Problem.of(
            self.requests if requests is None else requests,
            self.hosts if hosts is None else hosts,
            bed=self.bed,
            in_force=self.in_force,
            later=[request.name for request in self.requests],
            lenient=self.lenient,
            keeps=self.keeps,
        )

    def settled(self) -> "Problem":
        """The same, and with other requests too the hosts keep what they keep here."""
        return self._replace(keeps={name: space.kept for name, space in self.spaces.items()})

    def attempts(self) -> Iterator["Problem"]:
        """Itself, and where that has no solution the lenient one: a bed that is there is not refused by a default."""
        yield self
        lenient = Problem.of(self.requests, self.hosts, bed=self.bed, in_force=self.in_force, lenient=True)
        if lenient.spaces != self.spaces:
            yield lenient

    @property
    def fits(self) -> bool:
        """All nodes can be placed."""
        return any(attempt.solve(prove=False) is not None for attempt in self.attempts())

    def pools(self) -> tuple[Pool, ...]:
        """Those of all hosts."""
        return tuple(chain.from_iterable(found.pools for found in self.devices.values()))

    def solve(self, *, prove: bool = True) -> Optimum | None:
        """The best assignment, or without `prove` any; None if there is none."""
        exclusive, before = [], 0
        for found in self.devices.values():
            exclusive += [(one + before, other + before) for one, other in found.exclusive]
            before += len(found.pools)
        return optimum(self.requests, list(self.spaces.values()), self.pools(), exclusive, self.in_force, prove=prove)

    def placement(self, found: Optimum) -> Placement:
        """An assignment with its CPUs and addresses."""
        bare, notes = settle(self.requests, found, self.spaces)
        functions = {name: found.functions for name, found in self.devices.items()}
        nodes, vfs = attach(self.requests, bare, found.spots, self.pools(), functions)
        nodes |= self.in_force
        kept = {name: space.kept for name, space in self.spaces.items()}
        return Placement(nodes, vfs, (*notes, *self._notes(nodes)), kept)

    def _notes(self, nodes: Mapping[str, NodePlacement]) -> Iterator[str]:
        for request in sorted(self.requests, key=lambda r: natural(r.name)):
            node = nodes[request.name]
            for device in node.devices:
                if device.remote:
                    cells = ", ".join(str(cell.host_cell) for cell in node.cells)
                    what = f"{device.address} of {device.fabric}"
                    yield f"{node.node}: {what} is in cell {device.host_cell}, not in {cells}"
            addresses = [device.address for device in node.devices]
            for address in sorted({a for a in addresses if addresses.count(a) > 1}):
                yield f"{node.node}: {addresses.count(address)} ports are of one function, {address}"
            for partner in sorted(request.pairs, key=natural):
                if partner not in nodes or (natural(partner) < natural(node.node) and partner not in self.in_force):
                    continue
                if (shared := _shared(node, nodes[partner])) is None:
                    continue
                if shared or len(self.hosts) > 1:
                    where = f"cell {', '.join(map(str, shared))} of {node.host}" if shared else f"the host {node.host}"
                    yield f"{node.node} and {partner} are partners and share {where}"


def _shared(one: NodePlacement, other: NodePlacement) -> list[int] | None:
    """The cells that both have, in case that they are on one host."""
    if one.host != other.host:
        return None
    cells = {cell.host_cell for cell in one.cells} & {cell.host_cell for cell in other.cells}
    return sorted(cell for cell in cells if cell is not None)
