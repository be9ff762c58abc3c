"""Runs judged by references."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose

from vmlab.errors import ReferenceMissed, VmlabError, WorkloadError
from vmlab.judgement.labels import fits, known, told
from vmlab.judgement.numbers import number, percent
from vmlab.judgement.references import Reference
from vmlab.metrics import Summary, summaries
from vmlab.records.run import RunRecord, RunVerdict

OK, MISSED, BETTER, NO_FIGURE, OTHER_HOST = "ok", "missed", "better", "no figure", "other host"

_Figure = tuple[RunRecord, Summary]


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A reference, and the figures that it fits. `unlike`: why none of the runs is of its kind of host."""

    reference: Reference
    figures: tuple[_Figure, ...]
    unlike: str = ""


def judge(records: Sequence[RunRecord], references: Sequence[Reference]) -> tuple[RunVerdict, ...]:
    """Of each reference what it says of each figure that it fits, in the order of the references.

    One that fits none has a verdict that says so, unless it is of a workload that none of the runs is of, or of other
    hosts than all of them. Of several trials the median is judged. A figure that another reference fits with more
    labels, those of the first among them, is that one's alone.
    """
    figures: dict[str, list[_Figure]] = {}
    for record in records:
        for one in summaries(record.samples):
            figures.setdefault(one.metric.name, []).append((record, one))
    found = [
        _fitting(reference, runs, figures.get(reference.metric, ()))
        for reference in references
        if (runs := tuple(run for run in records if reference.workload in ("", run.workload)))
    ]
    closer: dict[int, list[frozenset[str]]] = {}
    for fitting in found:
        for _, figure in fitting.figures:
            closer.setdefault(id(figure), []).append(frozenset(fitting.reference.labels))
    return tuple(verdict for fitting in found for verdict in _judged(fitting, closer))


def _fitting(reference: Reference, runs: tuple[RunRecord, ...], figures: Sequence[_Figure]) -> _Fitting:
    unlike = [reference.host.unlike(run) if reference.host is not None else "" for run in runs]
    if all(unlike):
        return _Fitting(reference, (), unlike[0])
    of = {id(run) for run, why in zip(runs, unlike, strict=True) if not why}
    fitting = tuple((run, f) for run, f in figures if id(run) in of and fits(reference.labels, known(run, f.labels)))
    return _Fitting(reference, fitting)


def _judged(fitting: _Fitting, closer: Mapping[int, Sequence[frozenset[str]]]) -> Iterator[RunVerdict]:
    reference = fitting.reference
    if fitting.unlike:
        yield _without_figure(reference, OTHER_HOST, f"the reference is {fitting.unlike}")
    elif not fitting.figures:
        yield _without_figure(reference, NO_FIGURE, "no such figure was measured")
    own = frozenset(reference.labels)
    for run, figure in fitting.figures:
        if any(own < other for other in closer[id(figure)]):
            continue
        if figure.metric.unit != reference.unit:
            why = f"no such figure is in {reference.unit}: it was measured in {figure.metric.unit}"
            yield _without_figure(reference, NO_FIGURE, why)
        else:
            yield _of_figure(reference, run, figure)


def _without_figure(reference: Reference, verdict: str, why: str) -> RunVerdict:
    return RunVerdict(
        verdict=verdict,
        workload=reference.workload,
        metric=reference.metric,
        labels=reference.labels,
        value=None,
        unit=reference.unit,
        reference=reference.value,
        lower=reference.least,
        upper=reference.most,
        file=reference.file,
        line=reference.line,
        why=_named(reference, why),
    )


def _of_figure(reference: Reference, run: RunRecord, figure: Summary) -> RunVerdict:
    value, least, most = figure.median, reference.least, reference.most
    below = least is not None and value < least and not isclose(value, least, rel_tol=1e-9)
    above = most is not None and value > most and not isclose(value, most, rel_tol=1e-9)
    hurts = below if figure.metric.better == "higher" else above
    verdict = MISSED if hurts else BETTER if below or above else OK
    return RunVerdict(
        verdict=verdict,
        workload=run.workload,
        metric=reference.metric,
        labels=dict(figure.labels),
        value=value,
        unit=reference.unit,
        reference=reference.value,
        lower=least,
        upper=most,
        file=reference.file,
        line=reference.line,
        why=_named(reference, f"{_measured(figure)} is {_where(reference, below=below, above=above)}"),
    )


def _measured(figure: Summary) -> str:
    said = f"{number(figure.median)} {figure.metric.unit}"
    return f"{said}, the median of {figure.trials}," if figure.trials > 1 else said


def _where(reference: Reference, *, below: bool, above: bool) -> str:
    unit = reference.unit
    if below and reference.least is not None:
        return f"below the bound {number(reference.least)} {unit} ({_of(reference, reference.lower)})"
    if above and reference.most is not None:
        return f"above the bound {number(reference.most)} {unit} ({_of(reference, reference.upper)})"
    bounds = [number(bound) for bound in (reference.least, reference.most) if bound is not None]
    if len(bounds) > 1:
        return f"between the bounds {bounds[0]} and {bounds[1]} {unit}"
    return f"{'above' if reference.most is None else 'below'} the bound {bounds[0]} {unit}"


def _of(reference: Reference, fraction: float | None) -> str:
    return f"{number(reference.value)} {percent(fraction or 0.0)}"


def _named(reference: Reference, why: str) -> str:
    return f"{why}: {reference.file}:{reference.line}{f', {reference.reason}' if reference.reason else ''}"


def error(verdicts: Sequence[RunVerdict]) -> VmlabError | None:
    """What a command ends with: ReferenceMissed, or WorkloadError where figures are absent; None if all is well."""
    causes: list[VmlabError] = [ReferenceMissed(_line(one)) for one in verdicts if one.verdict == MISSED]
    causes += [WorkloadError(_line(one)) for one in verdicts if one.verdict == NO_FIGURE]
    if len(causes) < 2:  # noqa: PLR2004 (one, or none)
        return causes[0] if causes else None
    counts = {"missed their reference": MISSED, "were not measured": NO_FIGURE}
    numbers = {what: sum(one.verdict == verdict for one in verdicts) for what, verdict in counts.items()}
    said = ", ".join(f"{count} {what}" for what, count in numbers.items() if count)
    return type(causes[0])(f"of the figures that have references {said}", causes=causes)


def _line(verdict: RunVerdict) -> str:
    labels = f" {told(verdict.labels)}" if verdict.labels else ""
    workload = f"{verdict.workload} " if verdict.workload else ""
    return f"{workload}{verdict.metric}{labels}: {verdict.why}"
