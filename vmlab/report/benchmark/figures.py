"""The figures of several runs under labels that tell them apart, and what their labels are: numbers, sizes, words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vmlab.metrics import BARE, HOST, ON, VM, Metric, Sample, Summary, summaries
from vmlab.records.run import RunNode, RunRecord
from vmlab.report.benchmark.reasons import named, reasons
from vmlab.report.plots.numbers import size as written_size
from vmlab.values.nodeset import expand
from vmlab.values.size import Bytes

BED, PINNING, RUN, SIZE = "bed", "pinning", "run", "size"
PINNED, FLOATING = "pinned", "floating"
PLACES = {VM: "in guests", HOST: "on the host", BARE: "on bare machines"}


@dataclass(frozen=True, slots=True)
class Figure:
    """What the trials of a run say of one figure. `reasons`: why it is worth less than it looks."""

    record: RunRecord
    summary: Summary
    reasons: tuple[str, ...]

    @property
    def labels(self) -> Mapping[str, str]:
        """Those that tell it from the others of the report."""
        return self.summary.labels

    @property
    def metric(self) -> Metric:
        """What was measured."""
        return self.summary.metric


def relabelled(records: Sequence[RunRecord]) -> tuple[tuple[RunRecord, tuple[Sample, ...]], ...]:
    """The samples of runs of one workload, with further labels where these tell runs apart.

    The bed, whether the nodes' virtual CPUs are pinned, and where two figures would still be the same one: the run.
    """
    further: list[list[dict[str, str]]] = []
    for record in records:
        states = _states(record)
        further.append([{BED: record.bed, PINNING: _pinning(states, record, sample)} for sample in record.samples])
    told = {
        key
        for key in (BED, PINNING)
        if len({labels[key] for of_run in further for labels in of_run if labels[key]}) > 1
    }
    found = []
    for record, more in zip(records, further, strict=True):
        pairs = zip(record.samples, more, strict=True)
        samples = [replace(s, labels={**{k: v for k, v in m.items() if k in told and v}, **s.labels}) for s, m in pairs]
        found.append((record, samples))
    seen: dict[object, set[str]] = {}
    for record, samples in found:
        for one in samples:
            seen.setdefault((one.metric.name, frozenset(one.labels.items())), set()).add(record.id)
    twice = any(len(runs) > 1 for runs in seen.values())
    return tuple(
        (record, tuple(replace(s, labels={RUN: record.id, **s.labels}) for s in samples) if twice else tuple(samples))
        for record, samples in found
    )


def figures(records: Sequence[RunRecord]) -> tuple[Figure, ...]:
    """Of runs of one workload, in their order."""
    return tuple(
        Figure(record, one, reasons(record, one))
        for record, samples in relabelled(records)
        for one in summaries(samples)
    )


def place(where: str) -> str:
    """Where something was measured, in words; `bare+vm` is a group of both."""
    return " and ".join(PLACES.get(one, one) for one in where.split("+"))


def pinned(node: RunNode) -> bool | None:
    """Each virtual CPU has one host CPU of its own; None where that is not known."""
    if not node.vcpus:
        return None
    cpus = [cpu for may in node.vcpus.values() for cpu in may]
    return all(len(may) == 1 for may in node.vcpus.values()) and len(set(cpus)) == len(cpus)


def _states(record: RunRecord) -> dict[str, bool | None]:
    return {node.name: pinned(node) for node in record.nodes if node.where == VM}


def _pinning(states: Mapping[str, bool | None], record: RunRecord, sample: Sample) -> str:
    found = {state for name in named(record, sample.labels) if (state := states.get(name)) is not None}
    if len(found) != 1:
        return "mixed" if found else ""
    return PINNED if found.pop() else FLOATING


@dataclass(frozen=True, slots=True)
class Labels:
    """What the labels of a set of figures are. `numbers`: of each that is a number, or a node set, its values as such.

    `sizes` are those in bytes, `sets` those that name nodes or a bed, `counts` those whose number of nodes counts.
    """

    values: Mapping[str, tuple[str, ...]]
    numbers: Mapping[str, Mapping[str, float]]
    sizes: frozenset[str]
    sets: frozenset[str]
    counts: frozenset[str]

    @property
    def varying(self) -> tuple[str, ...]:
        """Those that tell figures apart."""
        return tuple(key for key, values in self.values.items() if len(values) > 1)

    def text(self, key: str, value: str) -> str:
        """As people write it."""
        if key == ON:
            return place(value)
        if key in self.sizes and value in self.numbers.get(key, {}):
            return written_size(self.numbers[key][value])
        return value

    def phrase(self, labels: Mapping[str, str], keys: Iterable[str]) -> str:
        """Labels in a line: words alone, numbers with what they are of."""
        parts = []
        for key in keys:
            if key in labels:
                text = self.text(key, labels[key])
                named = key in self.sets or (key not in self.sizes and text[:1].isdigit() and key != RUN)
                parts.append(f"{key} {text}" if named else text)
        return ", ".join(parts)


def labels_of(found: Sequence[Figure]) -> Labels:
    """What is known of their labels."""
    values: dict[str, dict[str, None]] = {}
    for figure in found:
        for key, value in figure.labels.items():
            values.setdefault(key, {})[value] = None
    nodes = {node.name for record in {f.record.id: f.record for f in found}.values() for node in record.nodes}
    numbers: dict[str, Mapping[str, float]] = {}
    counts = set()
    for key, some in values.items():
        if (as_numbers := _numbers(some)) is not None:
            numbers[key] = as_numbers
        elif (as_counts := _counts(some, nodes)) is not None and _ranks(key, as_counts, found):
            numbers[key] = as_counts
            counts.add(key)
    sizes = {key for key in numbers if key == SIZE or _written_as_sizes(key, found)}
    sets = {BED, *(key for key, some in values.items() if any(_names(value, nodes) for value in some))}
    return Labels(
        {k: tuple(v) for k, v in values.items()}, numbers, frozenset(sizes), frozenset(sets), frozenset(counts)
    )


def number(text: str) -> float | None:
    """`4096`, `0.5` or `4KiB`; None for what is none of these."""
    try:
        return float(Bytes.parse(text)) if text[-1:] == "B" else _finite(text)
    except ValueError:
        return None


def _finite(text: str) -> float | None:
    return float(text) if text.replace(".", "", 1).replace("-", "", 1).isascii() and text[:1].isdigit() else None


def _numbers(values: Iterable[str]) -> dict[str, float] | None:
    found = {value: number(value) for value in values}
    return {k: v for k, v in found.items() if v is not None} if None not in found.values() else None


def _counts(values: Iterable[str], nodes: set[str]) -> dict[str, float] | None:
    found = {}
    for value in values:
        if (as_number := number(value)) is not None:
            found[value] = as_number
            continue
        names = _names(value, nodes)
        if not names:
            return None
        found[value] = float(len(names))
    return found if len(set(found.values())) > 1 else None


def _ranks(key: str, counts: Mapping[str, float], found: Sequence[Figure]) -> bool:
    """It is the number that tells figures apart: of two sets of as many nodes each has to be seen."""
    figures: dict[object, list[float]] = {}
    for figure in found:
        rest = frozenset((name, value) for name, value in figure.labels.items() if name != key)
        if key in figure.labels:
            figures.setdefault((figure.record.id, figure.metric, rest), []).append(counts[figure.labels[key]])
    return all(len(set(some)) == len(some) for some in figures.values())


def _names(value: str, nodes: set[str]) -> tuple[str, ...]:
    """The nodes that a set names; none if it is no set of nodes that are known."""
    try:
        names = expand(value)
    except ValueError:
        return ()
    return names if nodes.issuperset(names) else ()


def _written_as_sizes(key: str, found: Sequence[Figure]) -> bool:
    """The option of that name is written as one."""
    texts = []
    for record in {figure.record.id: figure.record for figure in found}.values():
        written = [record.options.get(key), *(point.get(key) for point in record.points)]
        texts += [text for text in written if isinstance(text, str)]
    return bool(texts) and all(text[-1:] == "B" and number(text) is not None for text in texts)
