"""How many calls to libvirt a node costs: each goes to a daemon, and to another host maybe."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt
import pytest

from vmlab.lab.beds.down import down
from vmlab.lab.beds.reached import reached
from vmlab.lab.beds.status import known
from vmlab.lab.beds.up import up
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Host

FEW, MANY = 8, 24
# What libvirt's library answers by itself, from what it has already.
LOCAL = ("Free", "GetName", "GetConnect", "GetUUID", "GetUUIDString", "GetLastError")


def bed(nodes: int) -> Topology:
    return loads(f"name: many\nnodes: {{'client[1-{nodes}]': {{role: client, memory: 256MiB}}}}\n", "many.yaml")


def bring_up(host: Host, nodes: int) -> None:
    up(only(host), bed(nodes), accel="auto", restart=False, timeout_s=60, jobs=4, wait=False, progress=Silent())


def bring_up_again(host: Host, nodes: int) -> None:
    bring_up(host, nodes)


def look_at(host: Host, _nodes: int) -> None:
    hosts = only(host)
    there = existing(hosts, "many")
    reached(hosts, there, known(hosts, there))


def take_down(host: Host, _nodes: int) -> None:
    down(only(host), "many", keep_disks=False, progress=Silent())


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The calls of the `with` block, by the C function's name."""
    calls: Counter[str] = Counter()
    module = libvirt.libvirtmod  # type: ignore[attr-defined]

    def counting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            calls[name] += 1
            return real(*given)

        return call

    with monkeypatch.context() as patch:
        for name in dir(module):
            if name.startswith("vir") and not name.endswith(LOCAL):
                patch.setattr(module, name, counting(name, getattr(module, name)))
        yield calls


# To look at a node takes its XML, its state and its pins. `down` asks what its two files are, finds each thing once, by
# what is surely ours, and does what is to be done; the pool is looked for once for all.
PER_NODE = {bring_up: 10, bring_up_again: 5, look_at: 3, take_down: 11}


def test_calls_grow_with_the_nodes_and_no_faster(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, list[Counter[str]]] = {}
    for nodes in (FEW, MANY):
        for act in PER_NODE:
            with counted(monkeypatch) as calls:
                act(host, nodes)
            found.setdefault(act.__name__, []).append(calls)
    for act, most in PER_NODE.items():
        few, many = found[act.__name__]
        more = many.total() - few.total()
        assert more <= most * (MANY - FEW), (act.__name__, more / (MANY - FEW), many - few)
        assert few.total() > 0
