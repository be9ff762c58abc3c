"""Guests' figures beside those of the host itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmlab.metrics import HOST, ON, VM, Metric, Sample, Summary, summaries


@dataclass(frozen=True, slots=True)
class BesideHost:
    """One figure in guests and on the host itself, of several trials their medians, under the labels of both.

    `differs`: by more than either varies by itself; None for a single trial, of which nobody knows that.
    """

    metric: Metric
    labels: Mapping[str, str]
    vm: float
    host: float
    differs: bool | None

    @property
    def percent(self) -> float | None:
        """The guests' in parts of the host's."""
        return 100 * self.vm / self.host if self.host else None


def beside_host(samples: Sequence[Sample]) -> tuple[BesideHost, ...]:
    """All figures that there are of both."""
    by_place: dict[tuple[Metric, frozenset[tuple[str, str]]], dict[str, Summary]] = {}
    for one in summaries(samples):
        if ON in one.labels:
            rest = frozenset((key, value) for key, value in one.labels.items() if key != ON)
            by_place.setdefault((one.metric, rest), {})[one.labels[ON]] = one
    found = []
    for (metric, _), places in by_place.items():
        if VM in places and HOST in places:
            vm, host = places[VM], places[HOST]
            labels = {key: value for key, value in vm.labels.items() if key != ON}
            differs = vm.differs(host) if min(vm.trials, host.trials) > 1 else None
            found.append(BesideHost(metric, labels, vm.median, host.median, differs))
    return tuple(found)
