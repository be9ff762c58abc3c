"""A hint is worth what it promises: each is carried out, and the bed fits."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parent))

from hosts import GIB, PREFERRED, STRICT, cells, hca, host, node, wish
from test_optimal import _beds, _hosts

from vmlab.errors import HostError
from vmlab.inventory.model import Claim
from vmlab.placement.place import place
from vmlab.placement.request import HostSpace, NodeRequest
from vmlab.topology.bed import Numa, Reserve
from vmlab.values.nodeset import expand
from vmlab.values.size import Bytes

Bed = tuple[list[NodeRequest], dict[str, HostSpace]]


def carried_out(hint: str, requests: Sequence[NodeRequest], hosts: Mapping[str, HostSpace]) -> Bed:
    """What a user does who reads it."""
    told = hint.partition("` allows it")[0]
    nodes, spaces = list(requests), dict(hosts)
    if told.startswith("`hosts: "):
        written = yaml.safe_load(told.strip("`"))["hosts"]
        for name, entry in written.items():
            keep = hosts[name].reserve
            cpus = entry["reserve"].get("cpus", keep.cpus)
            memory = Bytes.parse(entry["reserve"]["memory"]) if "memory" in entry["reserve"] else keep.memory
            spaces[name] = replace(hosts[name], reserve=Reserve(cpus, memory))
        return nodes, spaces
    if match := re.fullmatch(r"(\S+) alone would fit: take the others away, or make nodes smaller", hint):
        return [request for request in nodes if request.name in expand(match[1])], spaces
    assert hint.endswith(" allows it"), hint
    which = re.search(r" for (?:the fabrics? )?(.+) allows it", hint)
    for key, change in _CHANGES.items():
        for value in re.findall(rf"`{key}(?:: ([^`]+))?`", hint):
            nodes = [change(request, value, which[1] if which else "") for request in nodes]
    return nodes, spaces


def _fabric(change: Callable[[NodeRequest, str], NodeRequest]) -> Callable[[NodeRequest, str, str], NodeRequest]:
    return lambda request, _, fabric: change(request, fabric)


def _virtio(request: NodeRequest, fabric: str) -> NodeRequest:
    return replace(request, devices=tuple(w for w in request.devices if fabric not in (w.fabric, "all fabrics")))


def _group(request: NodeRequest, fabrics: str) -> NodeRequest:
    named = fabrics.split(" and ")
    return replace(request, devices=tuple(replace(w, whole_group=w.fabric in named) for w in request.devices))


_CHANGES: Mapping[str, Callable[[NodeRequest, str, str], NodeRequest]] = {
    "numa": lambda r, value, _: replace(r, numa=Numa(value)),  # type: ignore[arg-type]
    "pin": lambda r, value, _: replace(r, pin=value),  # type: ignore[arg-type]
    "threads": lambda r, value, _: replace(r, threads=value),  # type: ignore[arg-type]
    "hugepages": lambda r, _value, _: replace(r, page_kib=None),
    "host": lambda r, _value, _: replace(r, host=None),
    "memory": lambda r, value, who: replace(r, memory_kib=Bytes.parse(value).kib) if r.name in expand(who) else r,
    "cpus": lambda r, value, who: replace(r, cpus=int(value)) if r.name in expand(who) else r,
    "attach": _fabric(_virtio),
    "whole_group": _fabric(_group),
}


def refused(requests: Sequence[NodeRequest], hosts: Mapping[str, HostSpace]) -> str:
    with pytest.raises(HostError) as error:
        place(requests, hosts)
    hint = error.value.hint
    if alone := re.fullmatch(r"(\S+) does not fit alone either: make it smaller, or take another host", hint):
        with pytest.raises(HostError):
            place([request for request in requests if request.name == alone[1]], hosts)
        return hint
    changed, spaces = carried_out(hint, requests, hosts)
    assert (changed, spaces) != (requests, hosts)
    assert not any(request.pin == "shared" and request.threads != "prefer" for request in changed), "refused by `check`"
    place(changed, spaces)
    return hint


@settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
@given(_hosts(), _beds())
def test_whatever_is_refused_is_told_what_helps(hosts: dict[str, HostSpace], requests: list[NodeRequest]) -> None:
    try:
        place(requests, hosts)
    except HostError:
        refused(requests, hosts)


def four(cpus: int, gib: float, numa: Numa, **facts: object) -> list[NodeRequest]:
    return [node(f"oss{n}", cpus, gib, numa, **facts) for n in range(1, 5)]


def opteron(memory: Mapping[int, float]) -> dict[str, HostSpace]:
    """Eight cells of four cores, of which only some have memory (in GiB); nothing written of a reserve."""
    found = tuple(replace(cell, memory_kib=int(memory.get(cell.id, 0) * GIB)) for cell in cells(8, 4, 0))
    return {"local": replace(host(found), reserve=Reserve())}


@pytest.mark.parametrize(
    ("requests", "hosts", "hint"),
    [
        # Cells without memory: their CPUs serve where nothing is bound.
        (four(4, 6, PREFERRED), opteron({0: 15.25, 4: 15.5}), "`numa: none` allows it"),
        (four(4, 6, STRICT), opteron({0: 15.25, 4: 15.5}), "`numa: none` allows it"),
        (
            four(4, 8, STRICT),
            opteron({0: 15.25, 4: 15.5}),
            "oss[1-2] alone would fit: take the others away, or make nodes smaller",
        ),
        # Memory without CPUs (CXL, HBM): so does the memory of cells.
        (
            four(1, 10, STRICT),
            {"local": host((*cells(1, 8, 16), replace(cells(2, 1, 32)[1], cpus=())))},
            "`numa: preferred` allows it",
        ),
        # Cells of which somebody has most.
        (
            four(2, 4, STRICT),
            {
                "local": host(
                    cells(2, 6, 16),
                    claims=[
                        Claim("x", None, None, running=True, cpus=frozenset({0, 1, 2, 3}), memory_kib={1: 12 * GIB})
                    ],
                )
            },
            "`numa: preferred` allows it",
        ),
        (four(4, 4, STRICT), {"local": host(cells(1, 4, 64))}, "`pin: shared` allows it"),
        (
            four(4, 4, STRICT),
            {"local": host(cells(1, 4, 14))},
            "oss1 alone would fit: take the others away, or make nodes smaller",
        ),
        (
            four(1, 4, STRICT, page_kib=GIB),
            {"local": host(cells(1, 4, 32, huge={GIB: 4}))},
            "`hugepages` left out allows it",
        ),
        (four(1, 6, STRICT), {"local": host(cells(1, 4, 16))}, "`memory: 4GiB` for oss[1-4] allows it"),
        (
            four(1, 64, STRICT),
            {"local": host(cells(1, 4, 16))},
            "oss1 does not fit alone either: make it smaller, or take another host",
        ),
        (
            four(1, 1, STRICT, devices=(wish("ib0", function="passthrough"),)),
            {"local": host(cells(1, 4, 16), hca("41:00.0"))},
            "`attach: virtio` for the fabric ib0 allows it",
        ),
    ],
)
def test_the_smallest_change_that_helps(requests: list[NodeRequest], hosts: dict[str, HostSpace], hint: str) -> None:
    assert refused(requests, hosts) == hint
