"""The page of runs: what ran where, its figures and curves, what they are worth, and how to do it again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from vmlab.errors import HostError
from vmlab.metrics import Metric
from vmlab.records.run import RunNode, RunRecord
from vmlab.report.benchmark.choose import Drawn, charts, compared, spoken
from vmlab.report.benchmark.commands import repeated
from vmlab.report.benchmark.figures import Figure, figures, labels_of, pinned
from vmlab.report.benchmark.limits import limit
from vmlab.report.benchmark.load import load_chart
from vmlab.report.benchmark.pictures import bed_picture, seats
from vmlab.report.benchmark.published import Series
from vmlab.report.benchmark.tables import (
    Beside,
    beside_bare,
    beside_floating,
    beside_the_host,
    of_group,
    of_pairs,
    of_published,
    of_scaling,
)
from vmlab.report.benchmark.together import Limits, Pair, paired, together
from vmlab.report.benchmark.wide import by_rows, rows_of
from vmlab.report.pages.parts import Cell, Column, Commands, Facts, Notice, Page, Part, Section, Table, Words
from vmlab.report.pages.parts import Figure as Picture
from vmlab.report.plots.chart import Limit, Lines
from vmlab.report.plots.draw import inline
from vmlab.report.plots.numbers import figure as written
from vmlab.values.cpuset import cpu_list
from vmlab.values.nodeset import fold
from vmlab.values.rate import Rate

_GIB = 1 << 20  # KiB


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is made with beside the runs. `loads`: by run."""

    limit: Rate | None = None
    published: Sequence[Series] = ()
    loads: Mapping[str, str] = field(default_factory=dict)


def page(records: Sequence[RunRecord], asked: Asked, *, pictures: bool = True) -> Page:
    """The report of at least one run. Without `pictures` nothing is drawn: a text has no place for them."""
    made = _Made(asked, pictures=pictures)
    beds = fold_words(record.bed for record in records)
    kinds = fold_words(record.workload for record in records)
    days = sorted({record.started[:10] for record in records if record.started})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else ""
    lead = f"{len(records)} run{'s' * (len(records) != 1)}{f', {when}' if when else ''}: {_some(r.id for r in records)}"
    sections = [Section("What to know first", [*_warnings(records)])]
    sections += [Section(f"Figures: {some[0].workload}", [*made.measured(some)]) for some in by_workload(records)]
    sections += [
        Section("What ran where", [*made.places(records)]),
        Section("Versions", [*_versions(records)]),
        Section("To repeat it", [Commands([*dict.fromkeys(line for record in records for line in repeated(record))])]),
    ]
    return Page(f"{kinds} on {beds}", lead, sections, f"vmlab {fold_words(record.vmlab for record in records)}")


def by_workload(records: Sequence[RunRecord]) -> tuple[tuple[RunRecord, ...], ...]:
    """The runs of each workload, in the order in which they come first."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        found.setdefault(record.workload, []).append(record)
    return tuple(map(tuple, found.values()))


def drawn(records: Sequence[RunRecord], metric: Metric, asked: Asked) -> tuple[Drawn, ...]:
    """The charts of one metric, of runs of one workload."""
    found = figures(records)
    return tuple(charts(found, metric, limits=_limits(records, metric, asked), published=asked.published))


def drawn_together(records: Sequence[RunRecord], lines: Metric, columns: Metric, asked: Asked) -> tuple[Drawn, ...]:
    """Two metrics in one chart; none where they do not belong into one."""
    limits = {metric: _limits(records, metric, asked) for metric in (lines, columns)}
    made = together(figures(records), Pair(lines, columns), limits, asked.published)
    return tuple(one.drawn for one in made)


def _limits(records: Sequence[RunRecord], metric: Metric, asked: Asked) -> dict[str, Limit | None]:
    return {
        record.id: limit(
            record,
            str(metric.unit),
            asked.limit,
            {s.labels["fabric"] for s in record.samples if s.metric == metric and "fabric" in s.labels},
        )
        for record in records
    }


def fold_words(words: Iterator[str] | Sequence[str]) -> str:
    """Each once, with commas."""
    return ", ".join(dict.fromkeys(words))


def _some(words: Iterator[str]) -> str:
    listed = list(words)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")  # noqa: PLR2004 (a line)


def _warnings(records: Sequence[RunRecord]) -> Iterator[Notice]:
    def of(record: RunRecord) -> str:
        return f" ({record.id})" if len(records) > 1 else ""

    for record in records:
        yield from (Notice(f"problem: {line}{of(record)}", "failure") for line in record.problems)
        yield from (Notice(f"not measured, the lab's fault: {line}{of(record)}", "failure") for line in record.faults)
        if record.incomplete:
            yield Notice(f"It was broken off: {record.incomplete}{of(record)}", "failure")
    for record in records:
        if record.accel == "tcg":
            text = "The guests ran without KVM (tcg): everything in them is many times slower than it would be."
            yield Notice(text + of(record))
        if record.soft:
            yield Notice(f"What was measured went over soft-RoCE: it says nothing about hardware.{of(record)}")
        yield from (Notice(f"{line}{of(record)}") for line in record.notes)
        if record.trials == 1:
            yield Notice(f"One trial: by how much the figures vary is not known.{of(record)}", "note")
        yield from (Notice(f"Not measured: {line}{of(record)}", "note") for line in record.skipped)


class _Made:
    """The parts that have pictures; each of these has a name of its own in the page."""

    def __init__(self, asked: Asked, *, pictures: bool) -> None:
        self._asked = asked
        self._drawing = pictures
        self._count = 0

    def measured(self, records: Sequence[RunRecord]) -> Iterator[Part]:
        """The figures of runs of one workload."""
        found = figures(records)
        if not found:
            yield Words("Nothing was measured.")
            return
        labels = labels_of(found)
        if host := beside_the_host(records, found):
            yield from _shares(host)
            yield of_pairs("Guests beside the host", host, ("guests", "host"), labels)
        if bare := beside_bare(found):
            yield of_pairs("Guests beside bare machines", bare, ("guests", "bare machines"), labels)
        if floating := beside_floating(found):
            yield of_pairs("Pinned beside floating virtual CPUs", floating, ("pinned", "floating"), labels)
        yield from self._curves(records, found)
        if (others := of_published(self._asked.published, found, labels)) is not None:
            yield others
        for record in records:
            yield from self._load(record)
        yield from (of_group(found, group) for group in dict.fromkeys(one.metric.group for one in found))

    def places(self, records: Sequence[RunRecord]) -> Iterator[Part]:
        """Nodes, hosts, and their pictures."""
        told = set()
        for record in records:
            nodes, hosts = _nodes(record), _hosts(record)
            if (nodes, hosts) not in told and record.nodes:
                told.add((nodes, hosts))
                several = sum(other.bed == record.bed for other in records) > 1
                yield from self._place(record, f"{record.bed}, {record.id}" if several else record.bed)
        beds = fold_words(record.bed for record in records if record.topology is None)
        if beds and self._drawing:
            yield Notice(f"No picture of {beds}: the topology's file was not at hand during the run.", "note")

    def _place(self, record: RunRecord, name: str) -> Iterator[Part]:
        yield _node_table(record, name)
        if record.hosts:
            yield _host_table(record, name)
        if not self._drawing:
            return
        for chart in seats(record):
            note = "Below a CPU's number are those of the nodes on it. Filled: pinned, each virtual CPU to one of them."
            yield Picture(chart.title, inline(chart, self._name()), (note,))
        if record.topology is not None:
            try:
                yield Picture(f"The bed {record.bed}", bed_picture(record, self._name()), wide=True)
            except (HostError, ValueError) as error:
                why = error.message if isinstance(error, HostError) else str(error)
                yield Notice(f"The bed's picture is left out: {why}", "note")

    def _curves(self, records: Sequence[RunRecord], found: Sequence[Figure]) -> Iterator[Part]:
        """How far the figures grow, and all charts of them; where nothing grows, them side by side."""
        metrics = compared(found)
        limits = {metric: _limits(records, metric, self._asked) for metric in metrics}
        published = self._asked.published
        single = {m: tuple(charts(found, m, limits=limits[m], published=published)) for m in metrics}
        curves = [one for some in single.values() for one in some]
        if (scaled := of_scaling(curves)) is not None:
            yield scaled
            yield Words(
                "The gain is compared with the spread of both figures that it lies between; that of a single trial is"
                " taken for none. The gain for each one more is the slope of a line through all figures up to there."
            )
        compact = [figure for figure in found if figure.metric in metrics]
        if not any(one.x for one in curves) and (table := by_rows(compact, labels_of(compact))) is not None:
            yield table
        pairs = paired(found, metrics, limits)
        for metric in metrics:
            pair = next((one for one in pairs if metric in (one.lines, one.columns)), None)
            if pair is not None and metric == pair.lines:
                yield from self._together(found, pair, limits)
            yield from self._pictures(
                [one for one in single[metric] if pair is None or not isinstance(one.chart, Lines)]
            )

    def _together(self, found: Sequence[Figure], pair: Pair, limits: Mapping[Metric, Limits]) -> Iterator[Part]:
        """Instead of a chart for each: what the one says the other completes, and one look has both."""
        for one in together(found, pair, limits, self._asked.published):
            data = rows_of(f"Data: {one.drawn.chart.title}", one.figures, one.labels, one.drawn.x)
            if self._drawing:
                yield replace(next(self._pictures([one.drawn])), data=data)
            else:
                yield data

    def _pictures(self, drawn: Sequence[Drawn]) -> Iterator[Picture]:
        for one in drawn if self._drawing else ():
            yield Picture(one.chart.title, inline(one.chart, self._name()), one.notes)

    def _load(self, record: RunRecord) -> Iterator[Picture]:
        chart = load_chart(record, self._asked.loads.get(record.id, "")) if self._drawing else None
        if chart is not None:
            note = "What libvirt counts of the nodes each second. Shaded: commands of the run were going on."
            passed = "What goes through a function that was passed to a guest no host sees."
            yield Picture(chart.title, inline(chart, self._name()), (note, passed))

    def _name(self) -> str:
        self._count += 1
        return f"p{self._count}"


def _nodes(record: RunRecord) -> tuple[object, ...]:
    return (record.bed, *((node.name, node.digest, tuple(node.vcpus.items())) for node in record.nodes))


def _hosts(record: RunRecord) -> tuple[object, ...]:
    return tuple((host.name, tuple(host.nodes), tuple(host.remote_memory.items())) for host in record.hosts)


def _node_table(record: RunRecord, name: str) -> Table:
    on = {name: host.name for host in record.hosts for name in host.nodes}
    headings = ("node", "roles", "where", "host", "virtual CPUs", "devices", "image")
    rows = []
    for node in record.nodes:
        where = {"vm": "guest", "bare": "no guest", "host": "the host in its place"}.get(node.where, node.where)
        devices = ", ".join(f"{name} {device}" for name, device in node.devices.items())
        texts = (node.name, " ".join(node.roles), where, on.get(node.name, ""), _vcpus(node), devices, node.image)
        rows.append([Cell(text) for text in texts])
    return _told(f"Nodes of {name}", headings, rows)


def _told(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    """Without the columns of which nothing is known."""
    kept = [place for place in range(len(headings)) if any(row[place].text for row in rows)]
    return Table(caption, [Column(headings[place]) for place in kept], [[row[place] for place in kept] for row in rows])


def _shares(pairs: Sequence[Beside]) -> Iterator[Words]:
    """What a reader wants to know first: of each metric what the guests have of the host's, over all its figures."""
    for metric in dict.fromkeys(pair.metric for pair in pairs):
        shares = [pair.percent for pair in pairs if pair.metric == metric and pair.percent is not None]
        if len(shares) > 1:
            reach = f"from {written(min(shares))} % to {written(max(shares))} %"
            half = f"{written(median(shares))} % of the host's in the median of {len(shares)} figures"
            better = "More" if metric.better == "higher" else "Less"
            yield Words(f"{spoken(metric).capitalize()} in guests: {half}, {reach}. {better} is better.")


def _vcpus(node: RunNode) -> str:
    if not node.vcpus:
        return ""
    how = "pinned to" if pinned(node) else "floating over"
    return f"{len(node.vcpus)} {how} {cpu_list({cpu for may in node.vcpus.values() for cpu in may})}"


def _host_table(record: RunRecord, name: str) -> Table:
    headings = (
        "host",
        "nodes",
        "CPU",
        "CPUs",
        "memory",
        "kernel",
        "hypervisor",
        "libvirt",
        "RDMA devices",
        "remote memory",
    )
    rows = []
    for host in record.hosts:
        hcas = ", ".join(f"{name} {about}" for name, about in host.hcas.items())
        remote = ", ".join(f"{node} {100 * share:.3g} %" for node, share in host.remote_memory.items() if share > 0)
        memory = f"{host.memory_kib / _GIB:.3g} GiB" if host.memory_kib else ""
        told = remote or ("none" if host.remote_memory else "")
        texts = (host.name, fold(host.nodes), host.cpu, str(host.cpus or ""), memory, host.kernel)
        rows.append([Cell(text) for text in (*texts, host.hypervisor, host.libvirt, hcas, told)])
    return _told(f"Hosts of {name}", headings, rows)


def _versions(records: Sequence[RunRecord]) -> Iterator[Part]:
    versions: dict[str, dict[str, set[str]]] = {}
    for record in records:
        for node in record.nodes:
            name = node.name if node.where != "host" else ""
            told = {"kernel": node.kernel, "Lustre": node.lustre, **node.tools, **node.packages}
            for what, version in told.items():
                if version:
                    versions.setdefault(what, {}).setdefault(version, set()).add(name)
    rows = [("vmlab", fold_words(record.vmlab for record in records))]
    for what, by_version in versions.items():
        several = len(by_version) > 1
        parts = [f"{version} ({_whose(names)})" if several else version for version, names in by_version.items()]
        rows.append((what, "; ".join(parts)))
    yield Facts(rows)


def _whose(names: set[str]) -> str:
    nodes = fold(name for name in names if name)
    return " and ".join(filter(None, (nodes, "the host" if "" in names else "")))
