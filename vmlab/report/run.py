"""One run's figures as tables for people; programs read `records.run.to_json`."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from rich.console import Group, RenderableType
from rich.text import Text

from vmlab.metrics import HOST, ON, VM, Metric, Sample, Summary, summaries
from vmlab.records.beside import beside_host, together
from vmlab.records.run import RunRecord
from vmlab.report.grid import Grid
from vmlab.report.judgement import verdicts_table
from vmlab.report.plots.numbers import figure
from vmlab.values.size import Bytes, size_text

_WIDE = "size"
"""The label whose values become columns when a run has several of them."""
_DIGITS = 19
"""More have no size in bytes."""
_OF_HOST = "vm : host"
_Labels = tuple[tuple[str, str], ...]


def run_table(record: RunRecord, *, findings: bool = True) -> RenderableType:
    """One table for each group of metrics, and below what makes the figures worth little and what was not measured.

    With several message sizes these are the columns, of the group's first metric alone; of several trials each figure
    has a row, and where something was swept the best point is told, if it differs by more than they vary. `findings`
    adds verdicts and what failed, for a run that is shown later; the command that measured ends with it as its error.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in record.samples:
        groups.setdefault(sample.metric.group, []).append(sample)
    of_group = _of_trials if record.trials > 1 else _of_group
    parts: list[RenderableType] = [part for samples in groups.values() for part in of_group(record, samples)]
    parts += [Text(line, style) for line, style in _notes(record)]
    if findings:
        parts += [verdicts_table(record.verdicts)] if record.verdicts else []
        parts += [Text(f"problem: {line}", "red") for line in record.problems]
        parts += [Text(f"failed: {line}", "red") for line in record.faults]
    return Group(*parts)


def _notes(record: RunRecord) -> Iterator[tuple[str, str]]:
    if record.soft:
        yield "soft-RoCE: these figures say nothing about hardware", "yellow"
    if record.accel == "tcg":
        yield "the guests ran without KVM (tcg): everything in them is many times slower than it would be", "yellow"
    if record.incomplete:
        yield f"incomplete, it was broken off: {record.incomplete}", "red"
    for line in record.notes:
        yield f"note: {line}", "yellow"
    for line in record.skipped:
        yield f"not measured: {line}", ""


def _of_group(record: RunRecord, samples: Sequence[Sample]) -> tuple[Text, Grid]:
    rows: dict[_Labels, dict[str, float]] = {}
    metrics = {sample.metric.name: sample.metric for sample in samples}
    first = next(iter(metrics.values()))
    sizes = dict.fromkeys(sample.labels[_WIDE] for sample in samples if _WIDE in sample.labels)
    wide = len(sizes) > 1
    for sample in samples:
        if not wide or sample.metric == first:
            labels = tuple((k, v) for k, v in sample.labels.items() if not (wide and k == _WIDE))
            column = sample.labels.get(_WIDE, "") if wide else sample.metric.name
            rows.setdefault(labels, {})[column] = sample.value
    rows = _together(rows)
    title = f"{record.bed}: {record.workload} {first.group} ({record.accel}{', soft-RoCE' if record.soft else ''})"
    if wide:
        title += f", {first.unit} by message size"
    result = Grid()
    words = _written(record)
    keys = list(dict.fromkeys(key for labels in rows for key, _ in labels))
    for key in keys:
        result.add_column(key.upper(), right=key == _WIDE)
    for heading in _headings(metrics, sizes if wide else None, first.group):
        result.add_column(heading, right=True)
    for labels, figures in rows.items():
        known = dict(labels)
        cells = [words.get((key, known.get(key, "")), _label(key, known.get(key, ""))) for key in keys]
        write = _percent if known.get(ON) == _OF_HOST else figure
        result.add_row(*cells, *(write(figures.get(column)) for column in (sizes if wide else metrics)))
    return Text(title, "bold"), result


def _together(rows: Mapping[_Labels, dict[str, float]]) -> dict[_Labels, dict[str, float]]:
    """Guests' figures and the host's in rows that follow each other, and what the former are of the latter."""
    places: dict[_Labels, dict[_Labels, dict[str, float]]] = {}
    for labels, figures in rows.items():
        rest = tuple(pair for pair in labels if pair[0] != ON)
        places.setdefault(rest, {})[labels] = figures
    found: dict[_Labels, dict[str, float]] = {}
    for of_place in places.values():
        found |= of_place
        by_side = {dict(labels).get(ON): (labels, figures) for labels, figures in of_place.items()}
        if VM in by_side and HOST in by_side:
            (labels, ours), (_, theirs) = by_side[VM], by_side[HOST]
            parts = {c: 100 * ours[c] / theirs[c] for c in ours if theirs.get(c)}
            found[tuple((key, _OF_HOST if key == ON else value) for key, value in labels)] = parts
    return found


def _of_trials(record: RunRecord, samples: Sequence[Sample]) -> tuple[Text, Grid]:
    found = list(chain.from_iterable(together(summaries(samples), ON)))  # the host's behind the guests'
    verdicts = _verdicts(record, found)
    words = _written(record)
    title = f"{record.bed}: {record.workload} {samples[0].metric.group} ({record.accel}), {record.trials} trials"
    title += f" after {record.warm_up} to warm up" if record.warm_up else ""
    keys = list(dict.fromkeys(key for one in found for key in one.labels))
    result = Grid()
    for key in keys:
        result.add_column(key.upper(), right=key == _WIDE)
    result.add_column("METRIC")
    for heading in ("MEDIAN", "MEAN", "MIN", "MAX", "SPREAD"):
        result.add_column(heading, right=True)
    result.add_column("UNIT")
    if any(verdicts):
        result.add_column("")
    for one, verdict in zip(found, verdicts, strict=True):
        figures = map(figure, (one.median, one.mean, one.minimum, one.maximum, one.spread))
        cells = [words.get((key, one.labels.get(key, "")), _label(key, one.labels.get(key, ""))) for key in keys]
        result.add_row(*cells, one.metric.name, *figures, str(one.metric.unit), *((verdict,) if any(verdicts) else ()))
    return Text(title, "bold"), result


def _written(record: RunRecord) -> dict[tuple[str, str], str]:
    """Sizes that were swept as people write them, by option and label, which has bytes."""
    sizes = {}
    for name, value in (pair for point in record.points for pair in point.items()):
        with contextlib.suppress(ValueError):
            sizes[name, str(int(Bytes.parse(value)))] = value
    return sizes


def _verdicts(record: RunRecord, found: Sequence[Summary]) -> list[str]:
    """Of each figure of a sweep: "best", or that it differs from the best by less than they vary.

    Where the host was measured, too: what part of the host's it is, if they differ.
    """
    hosts = {(b.metric, frozenset(b.labels.items())): b for b in beside_host(record.samples)}
    swept = {name for point in record.points for name in point}
    alike: dict[tuple[object, ...], list[Summary]] = {}

    def kind(one: Summary) -> tuple[object, ...]:
        return (one.metric, *((key, value) for key, value in one.labels.items() if key not in swept))

    for one in found:
        alike.setdefault(kind(one), []).append(one)

    def word(one: Summary) -> str:
        rest = frozenset(pair for pair in one.labels.items() if pair[0] != ON)
        if one.labels.get(ON) == VM and (beside := hosts.get((one.metric, rest))) is not None:
            return f"{_percent(beside.percent)} of the host" if beside.differs else "no difference to the host"
        others = alike[kind(one)]
        if len(others) == 1:
            return ""
        best = (max if one.metric.better == "higher" else min)(others, key=lambda other: other.median)
        same = [other for other in others if not best.differs(other)]
        if one is best and len(same) == 1:
            return "best"
        return "no difference to the best" if one in same and len(same) > 1 else ""

    return list(map(word, found))


def _headings(metrics: Mapping[str, Metric], sizes: Mapping[str, None] | None, group: str) -> Iterator[str]:
    if sizes is not None:
        yield from (_label(_WIDE, size) for size in sizes)
        return
    for name, metric in metrics.items():
        yield f"{name.removeprefix(f'{group}_').replace('_', ' ').upper()}\n{metric.unit}"


def _label(key: str, value: str) -> str:
    return size_text(int(value)) if key == _WIDE and value.isdecimal() and len(value) < _DIGITS else value


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{figure(value)} %"
