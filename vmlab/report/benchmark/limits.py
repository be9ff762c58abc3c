"""What no figure can exceed: the network's ports times their rate, or what the user says."""

import re

from vmlab.errors import UsageError
from vmlab.records.run import RunHost, RunRecord
from vmlab.report.plots.chart import Limit
from vmlab.report.plots.numbers import figure

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) Gb/sec")
_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKMGT]i?B/s|[MG]bit/s)")
_BYTES = {
    "kB": 1e3,
    "KB": 1e3,
    "KiB": 2.0**10,
    "MB": 1e6,
    "MiB": 2.0**20,
    "GB": 1e9,
    "GiB": 2.0**30,
    "TB": 1e12,
    "TiB": 2.0**40,
}
_SERVERS = {"mds", "oss"}
_PER_UNIT = {"MiB/s": 2.0**20, "Gbit/s": 1e9 / 8}


def parse_limit(text: str) -> float:
    """Bytes per second of `25GB/s`, `23GiB/s` or `100Gbit/s`. Raises UsageError."""
    found = _WRITTEN.fullmatch(text)
    if found is None or not float(found[1]):
        raise UsageError(f"{text!r:.40} is no rate (expected a form such as 25GB/s, 12GiB/s or 100Gbit/s)")
    number, unit = float(found[1]), found[2]
    if unit.endswith("bit/s"):
        return number * {"M": 1e6, "G": 1e9}[unit[0]] / 8
    return number * _BYTES[unit.removesuffix("/s").replace("kiB", "KiB")]


def limit(record: RunRecord, unit: str, given: tuple[str, float] | None) -> Limit | None:
    """In `unit`; None where none is known, or it is no rate of bytes. `given`: as written, and in bytes per second."""
    if unit not in _PER_UNIT:
        return None
    if given is not None:
        return Limit(given[1] / _PER_UNIT[unit], f"limit: {given[0]}, as given")
    known = _network(record)
    return None if known is None else Limit(known[0] / _PER_UNIT[unit], f"limit: {known[1]}")


def _network(record: RunRecord) -> tuple[float, str] | None:
    """Of the hosts of the servers, if there are some that are not all hosts; of several the sum."""
    if record.soft:
        return None
    roles = {node.name: set(node.roles) for node in record.nodes}
    serving = [host for host in record.hosts if any(roles.get(node, set()) & _SERVERS for node in host.nodes)]
    hosts = serving or record.hosts[:1] if len(record.hosts) < 2 or serving else ()  # noqa: PLR2004 (else nobody knows which)
    rates = [_rates(host) for host in hosts]
    if not rates or not all(rates):
        return None
    ports = [rate for of_host in rates for rate in of_host]
    each = f"{figure(ports[0])} Gbit/s" if len(set(ports)) == 1 else "their rates"
    name = ", ".join(host.name for host in hosts)
    return sum(ports) * 1e9 / 8, f"{len(ports)} port{'s' * (len(ports) != 1)} \N{MULTIPLICATION SIGN} {each} of {name}"


def _rates(host: RunHost) -> list[float]:
    return [float(found[1]) for about in host.hcas.values() if (found := _RATE.search(about)) is not None]
