"""Beds over 50 and over 100 hosts with 30 nodes each, where each call of a libvirt takes 20 ms more.

The hosts are libvirt's test drivers in this process; recorded hosts, under KVM, are planned on besides.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.clock import medians, seconds, simulation
from benchmarks.line import Line

from vmlab.lab.beds.plan import look, look_at_records
from vmlab.lab.beds.reached import reached
from vmlab.lab.beds.status import known
from vmlab.lab.beds.up import up
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Silent
from vmlab.runtime.wait import sleep
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Host

_FEW, _MANY = 50, 100
_NODES = 30  # on each
_SPREAD = 300  # nodes, over few hosts and over ten times as many
_SPREAD_OVER = 3, 30
_CALL_S = 0.02
_HOSTS_COST = 1.5  # what ten times the hosts may cost, if nodes are what counts
_GROWTH = 2.3  # what twice as many hosts may take, where 2 is what nobody can be below
_AIM_S = 5.0
_HOST = "<node><cpu><mhz>2000</mhz><model>i686</model><active>64</active></cpu><memory>256000000</memory></node>"
_RECORD = Path(__file__).parents[2] / "tests/hosts/nps4"


def hundred_hosts(rounds: int) -> list[Line]:
    """`plan` and `status` of beds that are there, `plan` on recorded hosts, and `up` by hosts instead of by nodes."""
    with simulation() as folder, _bed(folder, _FEW) as few, _bed(folder, _MANY) as many:
        with _slow():
            plan_few, plan, status_few, status = medians(
                [partial(work, *bed) for work in (_plan, _status) for bed in (few, many)], rounds or 3
            )
        placed_few, placed = medians([partial(_place, few[1]), partial(_place, many[1])], rounds or 3)
        with _slow():
            close, wide = (_raised(folder, number) for number in _SPREAD_OVER)
    what = f"{_MANY} hosts of {_NODES} nodes"
    spread = f"up {_SPREAD} nodes over {_SPREAD_OVER[1]} hosts : over {_SPREAD_OVER[0]}"
    return [
        Line("hosts", f"plan {what}", plan, None, _AIM_S),
        Line("hosts", f"status {what}", status, None, _AIM_S),
        Line("hosts", f"plan {_MANY} hosts : {_FEW}", plan, plan_few, _GROWTH),
        Line("hosts", f"status {_MANY} hosts : {_FEW}", status, status_few, _GROWTH),
        Line("hosts", f"plan {_MANY} records : {_FEW}", placed, placed_few, _GROWTH),
        Line("hosts", spread, wide, close, _HOSTS_COST),
    ]


@contextmanager
def _bed(folder: Path, number: int) -> Iterator[tuple[Hosts, Topology]]:
    """A bed whose nodes run, on so many hosts."""
    with _hosts(folder, number, _NODES) as (hosts, topology):
        _up(hosts, topology)
        yield hosts, topology


@contextmanager
def _hosts(folder: Path, number: int, nodes: int) -> Iterator[tuple[Hosts, Topology]]:
    """Hosts with nothing on them, and a bed that is to have so many nodes on each."""
    names = [f"host{index}" for index in range(1, number + 1)]
    bed = f"wide{number}x{nodes}"
    made = {}
    for name in names:
        description = folder / f"{bed}-{name}.xml"
        description.write_text(_HOST)
        made[name] = Host(f"test://{description}", name)
    hosts = Hosts(made, first=names[0])
    yield hosts, loads(_written(bed, names, nodes), "wide.yaml")
    for host in hosts.values():
        host.close()


def _up(hosts: Hosts, topology: Topology) -> None:
    up(hosts, topology, accel="auto", restart=False, timeout_s=600, jobs=32, wait=False, progress=Silent())


def _raised(folder: Path, number: int) -> float:
    with _hosts(folder, number, _SPREAD // number) as bed:
        return seconds(partial(_up, *bed))


def _written(bed: str, hosts: list[str], nodes: int) -> str:
    written = "".join(
        f'  "{host}-n[1-{nodes}]": {{ role: client, memory: 256MiB, fabrics: [ib0], host: {host} }}\n' for host in hosts
    )
    fabrics = "fabrics: { ib0: { kind: infiniband, lnet: o2ib, attach: virtio } }"
    named = ", ".join(f"{host}: {{}}" for host in hosts)
    return f"name: {bed}\nimage: demo\nhosts: {{ {named} }}\n{fabrics}\nnodes:\n{written}"


@contextmanager
def _slow() -> Iterator[None]:
    """As if each host were far away."""
    real = Host.call

    def call(self: Host, *given: Any, **how: Any) -> Any:
        sleep(_CALL_S)
        return real(self, *given, **how)

    setattr(Host, "call", call)  # noqa: B010  (mypy forbids the assignment to a method)
    try:
        yield
    finally:
        setattr(Host, "call", real)  # noqa: B010


def _plan(hosts: Hosts, topology: Topology) -> None:
    look(hosts, topology, accel="auto", restart=False, progress=Silent())


def _status(hosts: Hosts, topology: Topology) -> None:
    bed = existing(hosts, topology.name)
    reached(hosts, bed, known(hosts, bed))


def _place(topology: Topology) -> None:
    look_at_records(topology, [f"{name}={_RECORD}" for name in topology.hosts], progress=Silent())
