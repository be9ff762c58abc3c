"""What no figure can exceed: the network's ports times their rate, or what the user says."""

import re
from collections.abc import Collection

from vmlab.records.run import RunHost, RunRecord
from vmlab.report.plots.chart import Limit
from vmlab.report.plots.numbers import figure
from vmlab.values.rate import Rate

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) Gb/sec")
_SERVERS = {"mds", "oss"}
_PER_UNIT = {"MiB/s": 2.0**20, "Gbit/s": 1e9 / 8}


def limit(record: RunRecord, unit: str, given: Rate | None, fabrics: Collection[str] = ()) -> Limit | None:
    """In `unit`; None where none is known, or it is no rate of bytes. `fabrics`: over which the figures went, if told.

    What is `given` counts more than what the hosts' record tells, and that more than the topology's `limit`.
    """
    if unit not in _PER_UNIT:
        return None
    known = (given, f"{given}, as given") if given is not None else _network(record) or _of_topology(record, fabrics)
    return None if known is None else Limit(known[0] / _PER_UNIT[unit], f"limit: {known[1]}")


def _of_topology(record: RunRecord, fabrics: Collection[str]) -> tuple[float, str] | None:
    """What the file says of the one fabric that is meant: that of the figures, else the only one it says it of."""
    written = (record.topology or {}).get("limit") or {}
    meant = list(fabrics or written)
    if len(meant) != 1 or meant[0] not in written:
        return None
    rate = Rate(written[meant[0]])
    return rate, f"{rate} of {meant[0]}, as the topology says"


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
