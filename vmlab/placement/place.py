"""Place nodes on hosts, optimally, or say for every cell what was wanted and what was free."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vmlab.placement.explain import refusal
from vmlab.placement.problem import Problem
from vmlab.placement.request import HostSpace, NodePlacement, NodeRequest, Placement
from vmlab.placement.spots import NOWHERE

NOTHING_IN_FORCE: Mapping[str, NodePlacement] = MappingProxyType({})


def place(
    requests: Sequence[NodeRequest],
    hosts: Mapping[str, HostSpace],
    *,
    bed: str | None = None,
    in_force: Mapping[str, NodePlacement] = NOTHING_IN_FORCE,
) -> Placement:
    """Where every node goes. What is best is told in `optimum`; the order of the requests does not matter.

    Nodes of `in_force` run already: they stay as they are. Claims of the bed's nodes that are asked for, or in force,
    do not count. Raises HostError that names for every cell what was wanted and what was free.
    """
    problem = Problem.of(requests, hosts, bed=bed, in_force=in_force)
    placement = placed(problem)
    if placement is None:
        raise refusal(problem)
    return placement


def placed(problem: Problem) -> Placement | None:
    """As `place` does it, but for the refusal: to say why a bed does not fit takes far longer than to know it."""
    if not problem.requests:
        return problem.placement(NOWHERE)
    for attempt in problem.attempts():
        found = attempt.solve()
        if found is not None:
            return attempt.placement(found)
    return None
