"""LNet between groups of nodes, by lnet_selftest: bulk reads and writes, and pings.

`from` is the side that asks: it reads from and writes to `to`, all of one with all of the other, at once. Each test is
a session of `lst`, which prints figures for each group as that group sees them: what a client reads is [R] there and
[W] at the servers. Where machines ask beside guests, each kind is a group of its own. A node that is on two networks is
Multi-Rail, and its traffic may take either: to measure one fabric, be on one network only. Read in lnet/utils/lst.c of
2.10 and 2.17: MiB is 1048576 and MB 1000000 bytes in both.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.lustre import lnetctl, trouble
from vmlab.metrics import BARE, ON, VM, Metric, Sample, Unit
from vmlab.shell import script
from vmlab.topology.wording import quote
from vmlab.values.nid import Nid, parse_net
from vmlab.values.nodeset import expand, fold
from vmlab.values.size import Bytes
from vmlab.workloads import Measurement, Node, Output, Outputs, Task, Workload, register
from vmlab.workloads._lustre import on_soft_roce
from vmlab.workloads._nodes import CLIENTS, SERVERS, NodeNames, named
from vmlab.workloads._sizes import READ, form, within

_LARGEST = 1 << 20  # LNET_MTU
_INTERVAL_S = 2
_MODULE = "lnet_selftest"

_BANDWIDTH = Metric("bandwidth", Unit.MIB_PER_S, "higher", "bandwidth", "of the whole group")
_SLOWEST = Metric("bandwidth_slowest", Unit.MIB_PER_S, "higher", "bandwidth", "of the group's slowest node")
_RATE = Metric("rpc_rate", Unit.RPCS_PER_S, "higher", "rate", "of the whole group; requests and bulk both count")
_RATE_SLOWEST = Metric("rpc_rate_slowest", Unit.RPCS_PER_S, "higher", "rate", "of the group's slowest node")

_SESSION = script(__file__, "selftest_session.sh")
_GUARDED = script(__file__, "selftest_guarded.sh")
_COUNT = 6
"""So many words behind the session's script is the number of reports."""
_END_S = 45

_FIND_NIDS = """
[ -d /sys/module/lnet_selftest ] || modprobe lnet_selftest || exit 0
echo lnet_selftest
lctl list_nids
exit 0
"""


Size = Annotated[Bytes, within("size of bulk data", _LARGEST), READ, form("4KiB", "1MiB")]
Net = Annotated[
    str,
    AfterValidator(parse_net),
    WithJsonSchema({"type": "string", "form": "LNet network", "examples": ["o2ib", "tcp1"]}),
]


class Options(BaseModel):
    """What may be written below `lnet_selftest:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_: NodeNames | None = Field(None, alias="from", description="nodes that read, write, ping (default: clients)")
    to: NodeNames | None = Field(None, description="nodes that serve them (default: all that are mgs, mds or oss)")
    tests: tuple[Literal["read", "write", "ping"], ...] = Field(
        ("read", "write", "ping"), min_length=1, description="brw read, brw write and ping"
    )
    size: Size = Field(Bytes(_LARGEST), description="of one bulk transfer")
    concurrency: int = Field(8, ge=1, le=1024, description="requests in flight from each node to each")
    check: Literal["none", "simple", "full"] = Field("none", description="how much of the data is checked")
    duration_s: int = Field(10, ge=_INTERVAL_S, le=86_400, description="how long each test is measured")
    net: Net | None = Field(
        None, description="the LNet network to use (default: one that all are on, else the first of each node)"
    )
    timeout_s: int = Field(120, ge=1, le=86_400, description="deadline of each session, besides duration_s")

    @model_validator(mode="after")
    def _two_sides(self) -> Self:
        if self.from_ is not None and self.from_ == self.to:
            raise ValueError("from and to are the same nodes")
        return self


@register
class LnetSelftest(Workload[Options]):
    """A session for each test, on the first node of `from`."""

    name = "lnet_selftest"
    summary = "LNet bandwidth and RPC rate between groups of nodes (lst)"
    options = Options
    metrics = (_BANDWIDTH, _SLOWEST, _RATE, _RATE_SLOWEST)
    packages = ("lustre-client", "lustre-client-utils", "lustre-utils", "lustre")
    facts = MappingProxyType({"nids": ("sh", "-c", _FIND_NIDS)})

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        chosen = {node.name for side in _sides(options, nodes) for node in side}
        return tuple(node.name for node in nodes if node.name in chosen)

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        sides = _sides(options, nodes)
        nids = _nids(options, sides)
        return tuple((_measurement(options, test, sides, nids),) for test in options.tests)

    @override
    def soft(self, options: Options, nodes: Sequence[Node]) -> bool:
        return on_soft_roce(_nids(options, _sides(options, nodes)).values(), nodes)

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        del options
        output = outputs.get("lst")
        if output is None:
            raise WorkloadError("lst printed nothing")
        return tuple(self._samples(measurement, output))

    def _samples(self, measurement: Measurement, output: Output) -> Iterator[Sample]:
        found = list(_rows(output.stdout))
        if not found:
            raise WorkloadError(f"lst printed no figures: {self.explain(output)}")
        _complete(found, measurement)
        if not re.search(r"^Batch is stopped", output.stdout, re.MULTILINE):
            raise WorkloadError("lst's figures are cut off: its batch was not stopped")
        test = measurement.labels.get("test", "read")
        asking, serving = _asking(measurement), [_Named(_TO, _number(measurement.labels, "to"))]
        for side, seen, groups in (("from", _SEEN[test], asking), ("to", _ACROSS[_SEEN[test]], serving)):
            for kind, whole, slowest in (("Bandwidth", _BANDWIDTH, _SLOWEST), ("Rates", _RATE, _RATE_SLOWEST)):
                of_groups = [_figures(found, (kind, group.name, seen), group.nodes) for group in groups]
                if kind == "Bandwidth" and test == "ping":
                    continue
                labels = {**_told(measurement), "group": side}
                for of, one in ((labels, _together(of_groups)), *_apart(labels, groups, of_groups)):
                    yield Sample(whole, one.whole, of)
                    if one.nodes > 1:
                        yield Sample(slowest, one.slowest, of)

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        del options
        text = "".join(output.stdout + output.stderr for output in outputs.values())
        problems = [
            f"{number} nodes of the group `{_side(group)}` had errors"
            for number, group in re.findall(r"Total (\d{1,9}) error nodes in (\w{1,32})", text)
            if int(number)
        ]
        problems += [
            f"{peer}: {brw} bulk transfers and {pings} pings went wrong"
            for peer, brw, pings in re.findall(
                r"(?:12345-)?(\S{1,64}): \[Session (\d{1,9}) brw errors, (\d{1,9}) ping errors\]", text
            )
        ]
        still = [s for s in samples if s.value <= 0 and s.metric in (_BANDWIDTH, _RATE)]
        problems += [f"{s.metric.name} of the group `{s.labels['group']}` is {s.value:g}" for s in still]
        return tuple(problems)

    @override
    def explain(self, output: Output) -> str:
        found = trouble.explain(output.stdout + "\n" + output.stderr)
        return found.message if found is not None else super().explain(output)


_SEEN: Mapping[str, str] = MappingProxyType({"read": "R", "write": "W", "ping": "R"})
_ACROSS: Mapping[str, str] = MappingProxyType({"R": "W", "W": "R"})
_FROM, _TO = "c", "s"
"""lst's names of the groups; one of several that ask is `c_KIND`."""
_KINDS = (VM, BARE)
"""Of machines: figures of one are told apart from another's."""


def _by_where(asking: Sequence[Node]) -> dict[str, list[Node]]:
    found = {kind: [node for node in asking if node.where == kind] for kind in _KINDS}
    return {kind: members for kind, members in found.items() if members}


def _side(group: str) -> str:
    side = {_FROM: "from", _TO: "to"}.get(group.partition("_")[0], group)
    kind = group.partition("_")[2]
    return f"{side} ({kind})" if kind else side


_Sides = tuple[list[Node], list[Node]]


def _sides(options: Options, nodes: Sequence[Node]) -> _Sides:
    """Who asks and who serves; nobody does both. Raises UsageError, or WorkloadError if a side has nobody."""
    asking = named("lnet_selftest", options.from_, nodes)
    serving = named("lnet_selftest", options.to, nodes)
    if asking is None:
        others = [node for node in nodes if serving is None or node not in serving]
        asking = [node for node in others if CLIENTS.intersection(node.roles)] or others
        if serving is None and not [n for n in nodes if n not in asking and SERVERS.intersection(n.roles)]:
            asking, serving = asking[:1], [node for node in nodes if node not in asking[:1]]
    if serving is None:
        others = [node for node in nodes if node not in asking]
        serving = [node for node in others if SERVERS.intersection(node.roles)] or others
    both = [node.name for node in asking if node in serving]
    hint = "--set from=NODES --set to=NODES"
    if both:
        raise WorkloadError(f"lnet_selftest: {fold(both)} cannot be on both sides", hint=hint)
    if not asking or not serving:
        raise WorkloadError("lnet_selftest: two nodes are needed", hint=hint)
    return asking, serving


def _nids(options: Options, sides: _Sides) -> dict[str, Nid]:
    """One NID for each node. Raises WorkloadError for a node that cannot take part."""
    everybody = [node for side in sides for node in side]
    known: dict[str, tuple[Nid, ...]] = {}
    for node in everybody:
        said = node.facts.get("nids", "")
        if _MODULE not in said.split():
            raise WorkloadError(
                f"lnet_selftest: {node.name} cannot load the module {_MODULE}",
                hint="use an image that carries Lustre's tests; in the guest: modprobe lnet_selftest",
            )
        known[node.name] = lnetctl.nids(said)
        if not known[node.name]:
            raise WorkloadError(f"lnet_selftest: LNet on {node.name} has no network", hint="vmlab lnet show BED")
    common = [nid.net for nid in known[everybody[0].name] if all(_on(nid.net, nids) for nids in known.values())]
    wanted = options.net or (common[0] if common else None)
    return {name: _one(name, nids, wanted, options.net) for name, nids in known.items()}


def _on(net: str, nids: Sequence[Nid]) -> bool:
    return any(nid.net == net for nid in nids)


def _one(name: str, nids: Sequence[Nid], wanted: str | None, asked: str | None) -> Nid:
    """A NID on the network that is wanted; on what is asked for, a node that is elsewhere is reached by routers."""
    if asked is not None and not _on(asked, nids):
        raise WorkloadError(f"lnet_selftest: {name} is not on {asked} (it is on {', '.join(n.net for n in nids)})")
    return next((nid for nid in nids if nid.net == wanted), nids[0])


def _measurement(options: Options, test: str, sides: _Sides, nids: Mapping[str, Nid]) -> Measurement:
    asking, serving = ([node.name for node in side] for side in sides)
    labels = {"from": fold(asking), "to": fold(serving), "test": test, "concurrency": str(options.concurrency)}
    words: tuple[str, ...] = ("ping",)
    if test != "ping":
        labels["size"] = str(int(options.size))
        check = () if options.check == "none" else (f"check={options.check}",)
        words = ("brw", test, *check, f"size={_lst_size(options.size)}")
    deadline_s = options.timeout_s + options.duration_s
    kinds = _by_where(sides[0])
    if len(kinds) > 1:
        labels |= {kind: fold(node.name for node in members) for kind, members in kinds.items()}
    return Measurement(
        name=f"{test}.{fold(asking)}-{fold(serving)}",
        labels=labels,
        tasks=(
            Task(
                name="lst",
                node=asking[0],
                argv=(
                    *("sh", "-c", _GUARDED, "vmlab", str(deadline_s)),
                    *("sh", "-c", _SESSION, "vmlab", f"vmlab_{test}"),
                    " ".join(str(nids[name]) for name in serving),
                    str(options.concurrency),
                    str(_INTERVAL_S),
                    str(max(1, options.duration_s // _INTERVAL_S)),
                    *_groups(kinds, nids, len(serving)),
                    "--",
                    *words,
                ),
                deadline_s=float(deadline_s + _END_S),
            ),
        ),
    )


def _groups(kinds: Mapping[str, Sequence[Node]], nids: Mapping[str, Nid], serving: int) -> Iterator[str]:
    """Of each group that asks: its name, how it is distributed over those who serve (all to all), its NIDs."""
    for kind, members in kinds.items():
        yield f"{_FROM}_{kind}" if len(kinds) > 1 else _FROM
        yield f"{len(members)}:{serving}"
        yield " ".join(str(nids[node.name]) for node in members)


def _lst_size(size: Bytes) -> str:
    """lst knows K and M, both binary."""
    for unit, factor in (("M", 1 << 20), ("K", 1 << 10)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(int(size))


# --- reading -------------------------------------------------------------------------------------------------------


class _Named(NamedTuple):
    """A group of lst's: its name, how many nodes it has, and of which kind where there are several."""

    name: str
    nodes: int
    where: str = ""


class _Figures(NamedTuple):
    """Of a group, or of several."""

    nodes: int
    whole: float
    slowest: float


def _asking(measurement: Measurement) -> list[_Named]:
    labels = measurement.labels
    found = [_Named(f"{_FROM}_{kind}", len(expand(labels[kind])), kind) for kind in _KINDS if kind in labels]
    return found or [_Named(_FROM, _number(labels, "from"))]


def _told(measurement: Measurement) -> dict[str, str]:
    """The labels of figures of all; where there are several kinds of machines, of which."""
    kinds = [kind for kind in _KINDS if kind in measurement.labels]
    labels = {name: value for name, value in measurement.labels.items() if name not in kinds}
    return labels | ({ON: "+".join(sorted(kinds))} if kinds else {})


def _together(groups: Sequence[_Figures]) -> _Figures:
    nodes, whole, slowest = zip(*groups, strict=True)
    return _Figures(sum(nodes), sum(whole), min(slowest))


def _apart(
    labels: Mapping[str, str], groups: Sequence[_Named], figures: Sequence[_Figures]
) -> list[tuple[dict[str, str], _Figures]]:
    """Of each kind of machine by itself, where there are several."""
    if len(groups) == 1:
        return []
    return [({**labels, ON: group.where}, one) for group, one in zip(groups, figures, strict=True)]


def _number(labels: Mapping[str, str], side: str) -> int:
    return len(expand(labels[side])) if side in labels else 1


def _figures(rows: Sequence["_Row"], of: tuple[str, str, str], nodes: int) -> _Figures:
    """Of all the reports the mean; `of` are kind, group and direction. Raises WorkloadError if there is none."""
    same = [row for row in rows if (row.kind, row.group, row.direction) == of]
    if not same:
        raise WorkloadError(f"lst printed no {of[0].lower()} of the group `{_side(of[1])}`")
    average = sum(row.average for row in same) / len(same)
    return _Figures(nodes, average * nodes, sum(row.lowest for row in same) / len(same))


class _Row(NamedTuple):
    """One line of a report: `average` and `lowest` over the nodes of the group."""

    kind: str
    group: str
    direction: str
    average: float
    lowest: float


_HEADER = re.compile(r"\[LNet (Rates|Bandwidth) of (\w{1,32})\]")
_FIGURE = r"([0-9]{1,12}(?:\.[0-9]{1,6})?) +(\S{1,10})"
_LINE = re.compile(rf"\[([RW])\] Avg: {_FIGURE} +Min: {_FIGURE} +Max: {_FIGURE} *")
_FACTORS = {"RPC/s": 1.0, "MiB/s": 1.0, "MB/s": 1_000_000 / (1 << 20)}


def _rows(text: str) -> Iterator[_Row]:
    """`lst_print_lnet_stat`. Raises WorkloadError for an unknown unit, half a line or half a report.

    What the shell, ssh or the kernel says may stand between the lines.
    """
    header: re.Match[str] | None = None
    missing: set[str] = set()
    for line in text.splitlines():
        if found := _HEADER.match(line):
            if missing:
                break
            header, missing = found, {"R", "W"}
        elif header is not None and line.startswith(("[R]", "[W]")):
            figures = _LINE.fullmatch(line)
            if figures is None:
                raise WorkloadError(f"lst's figures are cut off: {quote(line.strip())}")
            direction, average, unit, lowest, *_ = figures.groups()
            if unit not in _FACTORS:
                raise WorkloadError(f"lst prints the unknown unit {quote(unit)}")
            missing.discard(direction)
            yield _Row(header[1], header[2], direction, float(average) * _FACTORS[unit], float(lowest) * _FACTORS[unit])
    if missing and header is not None:
        raise WorkloadError(f"lst's figures are cut off in the {header[1].lower()} of the group `{_side(header[2])}`")


def _complete(rows: Sequence[_Row], measurement: Measurement) -> None:
    """Each group has as many reports as the others, and as were asked for. Raises WorkloadError."""
    counts = Counter((row.kind, row.group, row.direction) for row in rows)
    fewest, most = min(counts.values()), max(counts.values())
    asked = _reports(measurement) or most
    if fewest < asked:
        raise WorkloadError(f"lst's figures are cut off: {fewest} of {max(asked, most)} reports of a group are there")


def _reports(measurement: Measurement) -> int:
    """How often lst is to print figures, as its session's script is told; 0 if it is not known."""
    words = next((task.argv for task in measurement.commands if _SESSION in task.argv), ())
    return int(words[words.index(_SESSION) + _COUNT]) if words else 0
