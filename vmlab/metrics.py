"""What workloads measure: units, metrics, samples, and what several samples of one figure say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean, median

ON, VM, BARE, HOST = "on", "vm", "bare", "host"
"""A label of samples and its values: measured in guests, on machines that are none, on the host itself."""


class Unit(StrEnum):
    """The units that several workloads measure in: parsers convert to them, reports never do."""

    MIB_PER_S = "MiB/s"
    MICROSECONDS = "us"
    MESSAGES_PER_S = "msg/s"
    RPCS_PER_S = "RPC/s"
    OPERATIONS_PER_S = "op/s"
    SECONDS = "s"
    FILES = "files"
    CLIENTS = "clients"


@dataclass(frozen=True, slots=True)
class Metric:
    """A kind of figure. `better` is "higher" or "lower".

    `unit` is one of `Unit`, or a workload's own: the text that is printed beside the figures.

    The metrics of one `group` stand in one table; the first of them is the one that is compared.
    """

    name: str
    unit: str
    better: str
    group: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure: of which metric, under which labels (`verb=write size=65536 from=oss1 to=client1`).

    `trial` counts from 1.
    """

    metric: Metric
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    trial: int = 1


@dataclass(frozen=True, slots=True)
class Summary:
    """What several trials say of one figure, in its metric's unit. `spread` is from the minimum to the maximum."""

    metric: Metric
    labels: Mapping[str, str]
    trials: int
    median: float
    mean: float
    minimum: float
    maximum: float
    spread: float

    def differs(self, other: "Summary") -> bool:
        """By more than what either varies by itself; of a single trial nobody knows that."""
        return abs(self.median - other.median) > max(self.spread, other.spread)

    def apart(self, other: "Summary") -> bool | None:
        """Whether they differ; None where one of them is of a single trial."""
        return self.differs(other) if min(self.trials, other.trials) > 1 else None


def label_text(value: object) -> str:
    """An option's value as a label has it: sizes in bytes, lists with commas."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return str(int(value))
    return ",".join(map(label_text, value)) if isinstance(value, list | tuple) else str(value)


def summaries(samples: Sequence[Sample]) -> tuple[Summary, ...]:
    """Of each metric under each labels, in the order in which they come first."""
    found: dict[tuple[Metric, tuple[tuple[str, str], ...]], list[float]] = {}
    for sample in samples:
        found.setdefault((sample.metric, tuple(sample.labels.items())), []).append(sample.value)
    return tuple(
        Summary(metric, dict(labels), len(v), median(v), fmean(v), min(v), max(v), max(v) - min(v))
        for (metric, labels), v in found.items()
    )
