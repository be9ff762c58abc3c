"""The answer is as good as the best that trying everything finds."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from brute import UNIT_KIB, best
from hosts import cells, host, mlx5, wish
from rules import check, quality

from vmlab.errors import HostError
from vmlab.inventory.model import Claim
from vmlab.placement.place import place
from vmlab.placement.request import HostSpace, NodeRequest
from vmlab.topology.bed import Numa, Reserve
from vmlab.values.size import Bytes

_POLICIES = (Numa(), Numa(), Numa("preferred"), Numa("none"), Numa(cells=2))


@st.composite
def _hosts(draw: st.DrawFn) -> dict[str, HostSpace]:
    count = draw(st.integers(1, 2))
    found = {}
    for name in ("a", "b")[:count]:
        number = draw(st.integers(1, 2 if count > 1 else 3))
        threads = draw(st.integers(1, 2))
        units = draw(st.integers(2, 7))
        room = cells(number, draw(st.integers(1, 3)), units / 16, threads=threads)
        functions = [
            function
            for index in range(draw(st.integers(0, 2)))
            for function in mlx5(
                f"{index + 1:02x}:00.0",
                draw(st.integers(0, number - 1)),
                ports=draw(st.integers(1, 2)),
                total=draw(st.integers(0, 2)),
            )
        ]
        claims = []
        if draw(st.booleans()):
            cpus = frozenset([draw(st.sampled_from([cpu.id for cpu in room[0].cpus]))])
            claims = [
                Claim(
                    "other",
                    None,
                    None,
                    running=True,
                    cpus=cpus,
                    memory_kib={draw(st.sampled_from([0, None])): UNIT_KIB},
                )
            ]
        reserve = Reserve(draw(st.integers(0, 1)), Bytes(draw(st.integers(0, 1)) * UNIT_KIB * 1024))
        ids = [cpu.id for cell in room for cpu in cell.cpus]
        some = st.frozensets(st.sampled_from(ids))
        limits = {"isolated": draw(some), "guest_cpus": draw(some)} if draw(st.booleans()) else {}
        if not limits.get("guest_cpus") or draw(st.booleans()):
            limits.pop("guest_cpus", None)
        found[name] = HostSpace(host(room, functions, name=name, claims=claims, **limits).inventory, reserve)
    return found


@st.composite
def _beds(draw: st.DrawFn) -> list[NodeRequest]:
    names = [f"n{number}" for number in range(1, draw(st.integers(1, 3)) + 1)]
    alike = draw(st.booleans())
    requests: list[NodeRequest] = []
    for name in names:
        others = [other for other in names if other != name]
        numa = draw(st.sampled_from(_POLICIES))
        pin = draw(st.sampled_from(["dedicated", "dedicated", "shared"]))
        threads = draw(st.sampled_from(["prefer", "isolate", "require"])) if pin == "dedicated" else "prefer"
        function = draw(st.sampled_from(["passthrough", "vf"]))
        devices = tuple(wish("ib0", index, function) for index in range(draw(st.integers(0, 2))))
        cpus = draw(st.integers(numa.cells or 1, 3))
        units = numa.cells or draw(st.integers(1, 3))
        shape = NodeRequest(name, cpus, units * UNIT_KIB, numa, pin=pin, threads=threads, devices=devices)
        if alike and requests:
            first = requests[0]
            shape = NodeRequest(
                name,
                first.cpus,
                first.memory_kib,
                first.numa,
                pin=first.pin,
                threads=first.threads,
                devices=first.devices,
            )
        relations = draw(st.sampled_from(["none", "pairs", "avoid"])) if others else "none"
        if relations == "pairs":
            shape = _with(shape, pairs=(draw(st.sampled_from(others)),))
        elif relations == "avoid":
            shape = _with(shape, avoid=(draw(st.sampled_from(others)),))
        requests.append(shape)
    return requests


def _with(request: NodeRequest, **changes: tuple[str, ...]) -> NodeRequest:
    return replace(request, **changes)


@settings(max_examples=150, suppress_health_check=list(HealthCheck), derandomize=True)
@given(_hosts(), _beds())
def test_as_good_as_the_best_of_all(hosts: dict[str, HostSpace], requests: list[NodeRequest]) -> None:
    expected = best(requests, hosts)
    if expected is None:
        with pytest.raises(HostError):
            place(requests, hosts)
        return
    found = place(requests, hosts)
    check(requests, hosts, found)
    assert quality(requests, hosts, found) == expected
    assert place(requests[::-1], hosts).nodes == found.nodes
