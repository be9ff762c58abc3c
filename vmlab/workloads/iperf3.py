"""TCP of a fabric between pairs of nodes, by iperf3: what arrived, and the segments that were sent again.

`from` is the side that connects; by default each server does so to the first client, as with rdma. `out` is what `from`
sends, `back` what `to` sends. `both` is the two at once (--bidir); where an iperf3 cannot do that they are measured one
after the other, under another label and with a note.

iperf3: https://github.com/esnet/iperf, `iperf_print_results` in src/iperf_api.c: a Gbit are 10^9 bits. In some versions
(3.11 to 3.15) it ends with status 0 when it failed with -J (its issue 1405): the key `error` tells. --bidir is there
from 3.7 on; until 3.10 its sums of the two directions have the same names, and only the streams tell them apart.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import isclose
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample
from vmlab.workloads import Measurement, Native, Node, Output, Outputs, PerHost, Service, Task, Workload, register
from vmlab.workloads._fields import below, number, report, rows
from vmlab.workloads._install import SYSTEM, require, tools
from vmlab.workloads._nodes import NodeNames
from vmlab.workloads._pairs import Pair, Wanted, of_pairs, pairs, rounds

_TOOL = "iperf3"
_CLIENT = "client"
_FIRST_PORT = 5201
_BIDIR = (3, 7)
_LEAST_TIME = 0.9  # of what was asked for
_SUMS_DIFFER = 0.01
_GIGA = 1e9

_THROUGHPUT = Metric("throughput", "Gbit/s", "higher", "throughput", "as received, all streams together")
_RETRANSMITS = Metric("retransmits", "segments", "lower", "throughput", "sent again, all streams together")
_HOST_THROUGHPUT = Metric(
    "host_throughput", "Gbit/s", "higher", "by host", "sent by a host's nodes, and by all; with `parallel`"
)

Way = Literal["out", "back", "both"]


class Options(BaseModel):
    """What may be written below `iperf3:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_: NodeNames | None = Field(
        None, alias="from", description="nodes that connect (default: all that are mgs, mds or oss)"
    )
    to: NodeNames | None = Field(
        None,
        description="nodes that they connect to (default: the first client; in a bed without clients all others, from "
        "its first node)",
    )
    ways: tuple[Way, ...] = Field(
        ("out", "both"), min_length=1, description="out: from sends; back: to sends; both: the two at once"
    )
    streams: tuple[Annotated[int, Field(ge=1, le=128)], ...] = Field(
        (1, 8), min_length=1, description="connections at once; each number is measured"
    )
    duration_s: int = Field(10, ge=1, le=86_400, description="how long each is measured")
    omit_s: int = Field(0, ge=0, le=60, description="seconds before that which do not count: TCP's slow start")
    fabric: str | None = Field(
        None,
        description="the fabric to measure (default: for each pair, the first that both are on, Ethernet before "
        "InfiniBand and both before the management's)",
    )
    parallel: bool = Field(default=False, description="all pairs at once, not one after the other")
    timeout_s: int = Field(60, ge=1, le=86_400, description="deadline of each command, besides duration_s")

    @property
    def pairs(self) -> Wanted:
        """Who connects to whom."""
        return Wanted(self.from_, self.to, self.fabric, ("ethernet", "infiniband", "management"))


@register
class Iperf3(Workload[Options]):
    """Each measurement is a server on `to` that serves once, and a client on `from`."""

    name = _TOOL
    summary = "TCP throughput between pairs of nodes (iperf3)"
    options = Options
    metrics = (_THROUGHPUT, _RETRANSMITS, _HOST_THROUGHPUT)
    adds_up = MappingProxyType({_THROUGHPUT: PerHost(_HOST_THROUGHPUT, "from", ("to",))})
    packages = ("iperf3",)
    facts = MappingProxyType(
        {"tools": tools(_TOOL), "version": ("sh", "-c", "iperf3 --version 2>/dev/null; exit 0"), "system": SYSTEM}
    )

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        return of_pairs(self.name, options.pairs, nodes)

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        by_pair = [
            [m for streams in options.streams for m in _of_pair(options, pair, _FIRST_PORT + place, streams)]
            for place, pair in enumerate(pairs(self.name, options.pairs, nodes))
        ]
        return tuple(rounds(by_pair, parallel=options.parallel))

    @override
    def soft(self, options: Options, nodes: Sequence[Node]) -> bool:
        del options, nodes
        return False  # TCP uses no verbs, whatever device the interface has

    @override
    def on_host(self, options: Options, native: Native) -> Options:
        del native
        return options

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        del options
        output = outputs.get(_CLIENT)
        if output is None:
            raise WorkloadError("iperf3 printed nothing")
        return tuple(_samples(measurement, _measured(measurement, output)))

    @override
    def notes(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[str, ...]:
        if measurement.labels.get("ways") != _ONE_AFTER_THE_OTHER:
            return ()
        return ("one way after the other: an iperf3 before 3.7 cannot measure both at once",)

    @override
    def explain(self, output: Output) -> str:
        try:
            said = _error(report(_TOOL, output.stdout))
        except WorkloadError:
            said = ""
        return said or _complaint(output) or super().explain(output)


# --- command lines -------------------------------------------------------------------------------------------------

_ONE_AFTER_THE_OTHER = "one after the other"
_ONE, _AT_ONCE = "one", "both at once"
_FLAGS: Mapping[str, tuple[str, ...]] = MappingProxyType({"out": (), "back": ("-R",), "both": ("--bidir",)})


def _of_pair(options: Options, pair: Pair, port: int, streams: int) -> Iterator[Measurement]:
    require(_TOOL, _TOOL, (pair.actor, pair.target))
    bidir = all(_version(node) >= _BIDIR for node in (pair.actor, pair.target))
    for way in options.ways:
        if way != "both":
            yield _measurement(options, pair, port, streams, way=way, ways=_ONE)
        elif bidir:
            yield _measurement(options, pair, port, streams, way=way, ways=_AT_ONCE)
        else:
            yield _measurement(options, pair, port, streams, way="out", ways=_ONE_AFTER_THE_OTHER)
            yield _measurement(options, pair, port, streams, way="back", ways=_ONE_AFTER_THE_OTHER)


def _version(node: Node) -> tuple[int, int]:
    found = re.search(r"\biperf (\d{1,4})\.(\d{1,4})", node.facts.get("version", ""))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _measurement(options: Options, pair: Pair, port: int, streams: int, *, way: str, ways: str) -> Measurement:
    one, other, fabric = pair
    address = next(str(end.ip) for end in other.endpoints if end.fabric == fabric)
    deadline_s = float(options.timeout_s + options.duration_s + options.omit_s)
    omit = ("-O", str(options.omit_s)) if options.omit_s else ()
    client = ("iperf3", "-J", "-c", address, "-p", str(port), "-t", str(options.duration_s), "-P", str(streams))
    after = ".after" if ways == _ONE_AFTER_THE_OTHER else ""
    return Measurement(
        name=f"{one.name}-{other.name}.{way}.{streams}{after}",
        labels={"from": one.name, "to": other.name, "fabric": fabric, "streams": str(streams), "ways": ways},
        tasks=(Task(name=_CLIENT, node=one.name, argv=(*client, *omit, *_FLAGS[way]), deadline_s=deadline_s),),
        services=(
            Service(
                name="server",
                node=other.name,
                argv=("iperf3", "-s", "-1", "-B", address, "-p", str(port)),
                deadline_s=deadline_s + 60,
                ready=("grep", "-qE", f":{port:04X} 0+:0000 0A", "/proc/net/tcp", "/proc/net/tcp6"),
            ),
        ),
    )


# --- reading -------------------------------------------------------------------------------------------------------


class _Flow(NamedTuple):
    """What went one way: from the client (`out`) or to it. bit/s as received; None: this system does not count them."""

    out: bool
    received: float
    retransmits: float | None


def _samples(measurement: Measurement, flows: Sequence[_Flow]) -> Iterator[Sample]:
    for flow in flows:
        labels = dict(measurement.labels)
        if not flow.out:
            labels |= {"from": labels.get("to", ""), "to": labels.get("from", "")}
        yield Sample(_THROUGHPUT, flow.received / _GIGA, labels)
        if flow.retransmits is not None:
            yield Sample(_RETRANSMITS, flow.retransmits, labels)


def _measured(measurement: Measurement, output: Output) -> list[_Flow]:
    """Raises WorkloadError unless it ran to its end, as it was asked to, and something arrived."""
    found = report(_TOOL, output.stdout)
    if said := _error(found) or _complaint(output):
        raise WorkloadError(f"iperf3 failed: {said}")
    start, end = below(_TOOL, below(_TOOL, found, "start"), "test_start"), below(_TOOL, found, "end")
    reverse = bool(number(_TOOL, start, "reverse"))
    asked = _asked(measurement)
    flows = list(_flows(end, asked.get("-P", number(_TOOL, start, "num_streams")), reverse=reverse))
    if not all(0 < flow.received < float("inf") for flow in flows):
        raise WorkloadError("nothing arrived")
    ways = {flow.out for flow in flows}
    if ways != asked.get("ways", ways if len(ways) > 1 else {not reverse}):
        raise WorkloadError("iperf3 did not measure the directions that were asked for")
    lasted = number(_TOOL, below(_TOOL, end, "sum_received"), "seconds")
    wanted = asked.get("-t", number(_TOOL, start, "duration"))
    if lasted < wanted * _LEAST_TIME:
        raise WorkloadError(f"cut off: {lasted:.3g} of {wanted:g} s were measured")
    return flows


def _asked(measurement: Measurement) -> dict[str, Any]:
    """What the client's command line says of -P, -t and the ways."""
    argv = next((task.argv for task in measurement.commands if task.name == _CLIENT), ())
    if not argv:
        return {}
    values = {name: float(value) for name, value in pairwise(argv) if name in ("-P", "-t") and value.isdecimal()}
    return {"ways": {True, False} if "--bidir" in argv else {"-R" not in argv}, **values}


def _flows(end: Mapping[str, Any], wanted: float, *, reverse: bool) -> Iterator[_Flow]:
    """The streams by their direction, `sender` being the client (3.1 does not say it: it has one direction only)."""
    streams = [(below(_TOOL, row, "sender"), below(_TOOL, row, "receiver")) for row in rows(_TOOL, end, "streams")]
    ways = {out: [pair for pair in streams if pair[1].get("sender", not reverse) is out] for out in (True, False)}
    for out, of in ways.items():
        if of:
            if len(of) != wanted:
                raise WorkloadError(f"{len(of)} of {wanted:g} streams were measured")
            received = sum(number(_TOOL, receiver, "bits_per_second") for _, receiver in of)
            own = _own_sum(end, out=out, both=all(ways.values()))
            if own is not None and not isclose(own, received, rel_tol=_SUMS_DIFFER):
                raise WorkloadError(f"iperf3's sum of {own:g} bit/s is not that of its streams, {received:g} bit/s")
            again = [number(_TOOL, sender, "retransmits") for sender, _ in of if "retransmits" in sender]
            yield _Flow(out, own or received, sum(again) if len(again) == len(of) else None)


def _own_sum(end: Mapping[str, Any], *, out: bool, both: bool) -> float | None:
    """What iperf3 adds up, in bit/s; None where the sums of both directions have the same name."""
    reverse = "sum_received_bidir_reverse"
    if both and reverse not in end:
        return None
    return number(_TOOL, below(_TOOL, end, reverse if both and not out else "sum_received"), "bits_per_second")


def _error(found: Mapping[str, Any]) -> str:
    """What the key `error` says, "" if there is none; versions until 3.11 begin it with `error - `."""
    if "error" not in found:
        return ""
    said = found["error"]
    words = " ".join(said.split()).removeprefix("error - ") if isinstance(said, str) else ""
    return words[:300] or "it does not say why"


def _complaint(output: Output) -> str:
    """What stands beside the JSON (3.9 to 3.16: `iperf3: error - unable to send control message: Broken pipe`)."""
    said = re.search(r"^iperf3: error - (.{1,300})", f"{output.stderr}\n{output.stdout}", re.MULTILINE)
    return said[1].strip() if said else ""
