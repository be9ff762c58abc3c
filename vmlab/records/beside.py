"""Guests' figures beside those of the host itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from vmlab.metrics import HOST, ON, VM, Metric, Sample, summaries


class Labelled(Protocol):
    """A figure, whatever is known of it besides."""

    @property
    def metric(self) -> Metric:
        """What it is of."""

    @property
    def labels(self) -> Mapping[str, str]:
        """What tells it from others."""


F = TypeVar("F", bound=Labelled)


def together(found: Iterable[F], label: str) -> list[list[F]]:
    """Figures that differ in this label alone, in the order in which they come first."""
    places: dict[object, list[F]] = {}
    for one in found:
        rest = frozenset((key, value) for key, value in one.labels.items() if key != label)
        places.setdefault((one.metric, rest), []).append(one)
    return list(places.values())


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
    found = []
    for some in together((one for one in summaries(samples) if ON in one.labels), ON):
        places = {one.labels[ON]: one for one in some}
        if VM in places and HOST in places:
            vm, host = places[VM], places[HOST]
            labels = {key: value for key, value in vm.labels.items() if key != ON}
            found.append(BesideHost(vm.metric, labels, vm.median, host.median, vm.apart(host)))
    return tuple(found)
