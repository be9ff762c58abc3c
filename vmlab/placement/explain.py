"""Why a bed does not fit."""

from vmlab.errors import HostError
from vmlab.placement.problem import Problem


def refusal(problem: Problem) -> HostError:
    """The error."""
    return HostError(f"does not fit: {len(problem.requests)}")
