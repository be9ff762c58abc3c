"""How the figures of one metric are laid out: which of their labels is x, which tell plots apart, and which lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from vmlab.metrics import ON
from vmlab.report.benchmark.figures import BED, Figure, Labels
from vmlab.report.plots.chart import Limit

MOST_LINES, MOST_BARS = 6, 24
"""In one plot, those of the same on the host not counted."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which label is x, None where there are bars; which tell plots apart, and which lines."""

    x: str | None
    plots: tuple[str, ...]
    lines: tuple[str, ...]


def layout(found: Sequence[Figure], labels: Labels, limits: Mapping[str, Limit | None]) -> Layout:
    """How the figures of one metric are laid out."""
    x = _x(found, labels)
    rest = [key for key in labels.varying if key not in (x, ON)]
    if x is not None:
        rest = [key for key in rest if not _told_by(key, x, found, labels)]
    rest = _needed(rest, found)
    apart = (BED,) if BED in rest and len({limits.get(figure.record.id) for figure in found}) > 1 else ()
    plots = apart + _facets(
        found, [key for key in rest if key not in apart], apart, MOST_BARS if x is None else MOST_LINES
    )
    return Layout(x, plots, tuple(key for key in rest if key not in plots))


def parts(found: Sequence[Figure], plots: Sequence[str]) -> list[list[Figure]]:
    """The figures of each plot."""
    by_plot: dict[tuple[str, ...], list[Figure]] = {}
    for figure in found:
        by_plot.setdefault(tuple(figure.labels.get(key, "") for key in plots), []).append(figure)
    return list(by_plot.values())


def shared(part: Sequence[Figure], plots: Sequence[str]) -> dict[str, str]:
    """What tells this plot from others."""
    return {key: part[0].labels[key] for key in plots if key in part[0].labels}


def _x(found: Sequence[Figure], labels: Labels) -> str | None:
    ranks = []
    for key in labels.varying:
        if key not in labels.numbers or key == ON:
            continue
        rest = [k for k in labels.varying if k not in (key, ON) and not _told_by(k, key, found, labels)]
        lines: dict[tuple[str, ...], set[float]] = {}
        for figure in found:
            if key in figure.labels:
                line = tuple(figure.labels.get(k, "") for k in rest)
                lines.setdefault(line, set()).add(labels.numbers[key][figure.labels[key]])
        alone = sum(len(xs) == 1 for xs in lines.values())
        if alone < len(lines):
            nodes = key == "nodes" or key in labels.counts
            ranks.append(
                (2 * alone > len(lines), len(lines) > MOST_LINES, not nodes, len(lines), -len(labels.values[key]), key)
            )
    return min(ranks)[-1] if ranks else None


def _told_by(key: str, x: str, found: Sequence[Figure], labels: Labels) -> bool:
    """Who knows x knows this label, too, as the number of tasks where each node has one."""
    seen: dict[float, set[str]] = {}
    for figure in found:
        if x in figure.labels:
            seen.setdefault(labels.numbers[x][figure.labels[x]], set()).add(figure.labels.get(key, ""))
    return all(len(values) == 1 for values in seen.values())


def _needed(rest: Sequence[str], found: Sequence[Figure]) -> list[str]:
    """Without the labels that another one tells as well, as that of the depth where each size has its own."""
    kept = list(rest)
    for key in reversed(rest):
        values = {figure.labels.get(key, "") for figure in found}
        for other in kept:
            pairs = {(figure.labels.get(other, ""), figure.labels.get(key, "")) for figure in found}
            if other != key and len(pairs) == len({one for one, _ in pairs}) and len(values) <= len(pairs):
                kept.remove(key)
                break
    return kept


def _facets(found: Sequence[Figure], rest: Sequence[str], apart: Sequence[str], most: int) -> tuple[str, ...]:
    """The fewest labels, and of these those with the fewest values, that leave few enough lines in each plot.

    Of more bars than fit into one the first are drawn, instead of a plot for each.
    """
    for count in range(len(rest) + 1):
        fits = []
        for some in combinations(rest, count):
            lines: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
            for figure in found:
                plot = tuple(figure.labels.get(key, "") for key in (*apart, *some))
                lines.setdefault(plot, set()).add(tuple(figure.labels.get(key, "") for key in rest if key not in some))
            if max(map(len, lines.values())) <= most:
                fits.append((len(lines), some))
        if fits:
            return min(fits)[1]
    return tuple(rest)
