"""Figures of each host and of all of them, out of figures of nodes that were measured at once."""

from collections.abc import Iterator, Mapping, Sequence

from vmlab.metrics import Metric, Sample
from vmlab.workloads import ALL, ON_HOST, PerHost


def of_hosts(
    adds_up: Mapping[Metric, PerHost], samples: Sequence[Sample], hosts: Mapping[str, str]
) -> Iterator[Sample]:
    """What figures that add up come to by host, and together; nothing where the nodes are all on one.

    `samples` were measured at once, in any number of trials; `hosts` are of the nodes by name. A machine that is no
    guest is its own host.
    """
    found: dict[tuple[Metric, tuple[tuple[str, str], ...], int], dict[str, float]] = {}
    for sample in samples:
        per_host = adds_up.get(sample.metric)
        node = sample.labels.get(per_host.node) if per_host is not None else None
        if per_host is None or node is None:
            continue
        dropped = (per_host.node, *per_host.without)
        rest = tuple((key, value) for key, value in sample.labels.items() if key not in dropped)
        sums = found.setdefault((per_host.metric, rest, sample.trial), {})
        host = hosts.get(node) or node
        sums[host] = sums.get(host, 0.0) + sample.value
    for (metric, rest, trial), sums in found.items():
        if len(sums) > 1:
            for host, value in (*sums.items(), (ALL, sum(sums.values()))):
                yield Sample(metric, value, {ON_HOST: host, **dict(rest)}, trial)
