"""The old programs of perftest, `rdma_bw` and `rdma_lat` (removed in 2012, commit 6495c7a): what they take and print.

They write by RDMA, of one size, by iterations. Both divide by 0x100000 where they print MB/sec.
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from vmlab.errors import WorkloadError
from vmlab.shell import script
from vmlab.steps import Command
from vmlab.topology.wording import quote

TOOLS: Mapping[str, str] = {"bw": "rdma_bw", "lat": "rdma_lat"}
"""By test."""

_LISTENS = script(__file__, "perftest_listens.sh")


def command(tool: str, common: Command, size: int, *, by_cm: bool) -> Command:
    """Without rdma_cm it can only address by LID, which is InfiniBand's own."""
    return (tool, *common, "-s", str(size), *(("-c",) if by_cm else ()))


def listens_by_cm(tool: str, tcp_port: int) -> Command:
    """Exits 0 when a server with that port listens by rdma_cm."""
    return ("sh", "-c", _LISTENS, "vmlab", tool, str(tcp_port))


_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,12})?(?:e[+-]?[0-9]{1,3})?)"  # printed by %g
_BANDWIDTH = re.compile(rf"Bandwidth (peak|average)(?: \(#\d+ to #\d+\))?: +{_NUMBER} MB/sec")
_LATENCY = re.compile(rf"^Latency (typical|best|worst) *: {_NUMBER} (\S{{1,20}})\s*$", re.MULTILINE)


class Report(NamedTuple):
    """`figures`, by their words: MiB/s, or microseconds. Size and number of messages are 0 where it does not say."""

    size: int
    messages: int
    figures: Mapping[str, float]


def reported(text: str) -> bool:
    """One of them has printed figures, or begun to."""
    return re.search(r"Bandwidth (?:peak|average)|^Latency typical", text, re.MULTILINE) is not None


def report(text: str) -> Report:
    """What `print_report` of rdma_bw.c or rdma_lat.c prints. Raises WorkloadError if it is not all there."""
    return _latency(text) if "Latency typical" in text else _bandwidth(text)


def _bandwidth(text: str) -> Report:
    """Size and iterations are in its first line."""
    figures = {word: float(number) for word, number in _BANDWIDTH.findall(text)}
    size = re.search(r"\| size=(\d{1,10}) \|", text)
    iterations = re.search(r"\| iters=(\d{1,10}) \|", text)
    if "average" not in figures or size is None or iterations is None or not all(map(isfinite, figures.values())):
        raise WorkloadError("rdma_bw's report is cut off")
    return Report(int(size[1]), int(iterations[1]), figures)


def _latency(text: str) -> Report:
    """Half of a message's way there and back, each; it is printed when all messages are through."""
    if re.search(r"^Latency \w+ *: -?(?:inf|nan)", text, re.MULTILINE):
        raise WorkloadError("rdma_lat could not tell how fast the CPU's clock runs, and so has no latencies")
    found = _LATENCY.findall(text)
    figures = {word: float(number) for word, number, _ in found}
    units = {unit for *_, unit in found} - {"usec"}
    if units:
        raise WorkloadError(f"rdma_lat prints the unknown unit {quote(units.pop())}")
    if set(figures) != {"typical", "best", "worst"} or not all(map(isfinite, figures.values())):
        raise WorkloadError("rdma_lat's report is cut off")
    return Report(0, 0, figures)
