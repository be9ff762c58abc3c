"""Runs judged by references."""

from collections.abc import Iterator, Sequence
from math import isclose

from vmlab.errors import ReferenceMissed, VmlabError, WorkloadError
from vmlab.judgement.labels import fits, known, told
from vmlab.judgement.numbers import number, percent
from vmlab.judgement.references import Reference
from vmlab.metrics import Summary, summaries
from vmlab.records.run import RunRecord, RunVerdict

OK, MISSED, BETTER, NO_FIGURE, OTHER_HOST = "ok", "missed", "better", "no figure", "other host"

_Figure = tuple[RunRecord, Summary]


def judge(records: Sequence[RunRecord], references: Sequence[Reference]) -> tuple[RunVerdict, ...]:
    """Of each reference what it says of each figure that it fits, in the order of the references.

    One that fits none has a verdict that says so, unless it is of a workload that none of the runs is of, or of other
    hosts than all of them. Of several trials the median is judged.
    """
    figures: dict[str, list[_Figure]] = {}
    for record in records:
        for one in summaries(record.samples):
            figures.setdefault(one.metric.name, []).append((record, one))
    return tuple(
        verdict
        for reference in references
        for verdict in _judged(reference, _concerned(reference, records), figures.get(reference.metric, ()))
    )


def _concerned(reference: Reference, records: Sequence[RunRecord]) -> list[RunRecord]:
    return [record for record in records if reference.workload in ("", record.workload)]


def _judged(reference: Reference, runs: Sequence[RunRecord], figures: Sequence[_Figure]) -> Iterator[RunVerdict]:
    if not runs:
        return
    unlike = [reference.host.unlike(run) if reference.host is not None else "" for run in runs]
    if all(unlike):
        yield _without_figure(reference, OTHER_HOST, f"the reference is {unlike[0]}")
        return
    of = {id(run) for run, why in zip(runs, unlike, strict=True) if not why}
    fitting = [(run, f) for run, f in figures if id(run) in of and fits(reference.labels, known(run, f.labels))]
    same_unit = [(run, figure) for run, figure in fitting if figure.metric.unit == reference.unit]
    if not same_unit:
        why = "was measured" if not fitting else f"is in {reference.unit}: it was measured in {_unit(fitting)}"
        yield _without_figure(reference, NO_FIGURE, f"no such figure {why}")
    for run, figure in same_unit:
        yield _of_figure(reference, run, figure)


def _unit(figures: Sequence[_Figure]) -> str:
    return str(figures[0][1].metric.unit)


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
