"""The hosts while a run goes on: what they are, where memory came from, and what the nodes do, second by second.

Nothing of it is asked of guests: libvirt counts for all domains of a host at once, its kernel knows where memory is.
What cannot be had is absent: no figure of a workload is lost for want of these.
"""

import csv
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TextIO, TypeVar

from vmlab.errors import VmlabError
from vmlab.inventory.running import Counters, HostLook, counters, grown, rates, remote_share
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import ObservedDomain
from vmlab.records.run import RunHost
from vmlab.runtime.log import log
from vmlab.runtime.wait import now
from vmlab.virt.pins import vcpu_pins
from vmlab.virt.running import domain_stats, look, versions

LOAD = "load.csv"
_COLUMNS = ("time", "node", "cpus", "received_mib_s", "sent_mib_s", "read_mib_s", "written_mib_s")
_EVERY_S = 1.0

T = TypeVar("T")
P = ParamSpec("P")


class Witness:
    """Of the nodes that take part, from `begin` to `end`."""

    def __init__(self, hosts: Hosts, nodes: Mapping[str, ObservedDomain]) -> None:
        self._hosts = {host.name: host for host in map(hosts.of, nodes.values())}
        self._nodes = nodes
        self._before: dict[str, HostLook] = {}
        self._versions: dict[str, tuple[str, str]] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, folder: Path) -> None:
        """Look at the hosts, and count from now on into `folder`."""
        for name, host in self._hosts.items():
            self._before[name] = self._look(name, ())
            self._versions[name] = _if_told(versions, host) or ("", "")
        self._thread = threading.Thread(target=self._count, args=(folder / LOAD,), name="witness", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Count no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def told(self) -> tuple[RunHost, ...]:
        """The hosts, with what became of their memory since the beginning."""
        return tuple(self._host(name) for name in self._hosts)

    def _host(self, name: str) -> RunHost:
        domains = {node: domain.facts.name for node, domain in self._nodes.items() if domain.host == name}
        before, after = self._before[name], self._look(name, tuple(domains.values()))
        shares = {node: remote_share(after, domain, self._cpus(name, domain)) for node, domain in domains.items()}
        return RunHost(
            name=name,
            nodes=tuple(domains),
            cpu=before.cpu,
            cpus=before.cpus,
            memory_kib=before.memory_kib,
            kernel=before.kernel,
            libvirt=self._versions[name][0],
            hypervisor=self._versions[name][1],
            hcas=before.hcas,
            numastat=grown(before, after),
            cells={str(cell): tuple(sorted(cpus)) for cell, cpus in sorted(before.cells.items())},
            remote_memory={node: round(share, 4) for node, share in shares.items() if share is not None},
        )

    def _cpus(self, host: str, domain: str) -> frozenset[int]:
        pins = _if_told(vcpu_pins, self._hosts[host], domain) or {}
        return frozenset(cpu for cpus in pins.values() for cpu in cpus)

    def _look(self, name: str, domains: Sequence[str]) -> HostLook:
        return _if_told(look, self._hosts[name], domains) or HostLook()

    def _count(self, path: Path) -> None:
        try:
            with path.open("a", encoding="utf-8", newline="") as file:
                if not file.tell():
                    csv.writer(file).writerow(_COLUMNS)
                self._rows(file)
        except OSError as error:
            log.warning("what the nodes do each second is not kept: %s: %s", path, error.strerror)

    def _rows(self, file: TextIO) -> None:
        before: dict[str, tuple[float, Counters]] = {}
        rows = csv.writer(file)
        while True:
            counted, at = self._counted(), now()
            time = f"{datetime.now(UTC).timestamp():.2f}"
            for node, found in counted.items():
                if node in before:
                    earlier, had = before[node]
                    rows.writerow((time, node, *(f"{rate:.3f}" for rate in rates(had, found, at - earlier))))
                before[node] = at, found
            file.flush()
            if self._over.wait(_EVERY_S):
                return

    def _counted(self) -> dict[str, Counters]:
        """By node; whom libvirt does not tell of is absent."""
        found: dict[str, Counters] = {}
        for name, host in self._hosts.items():
            nodes = {domain.facts.name: node for node, domain in self._nodes.items() if domain.host == name}
            stats = _if_told(domain_stats, host, nodes) or {}
            found |= {nodes[domain]: had for domain, one in stats.items() if (had := counters(one)) is not None}
        return found


def _if_told(ask: Callable[P, T], *of: P.args, **how: P.kwargs) -> T | None:
    """What is asked; None where nobody tells, as of libvirt's test driver, which has no host."""
    try:
        return ask(*of, **how)
    except (VmlabError, ValueError) as error:
        log.debug("not told: %s", error)
        return None
