"""What a host keeps for itself where nobody wrote it, and the CPUs that nothing floats over."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hosts import GIB, UNBOUND, cells, host, node

from vmlab.errors import HostError
from vmlab.inventory.model import Claim
from vmlab.placement.place import place
from vmlab.placement.request import HostSpace, NodePlacement, NodeRequest, PlacedCell
from vmlab.topology.bed import Reserve
from vmlab.values.size import Bytes


def unwritten(space: HostSpace, cpus: int | None = None, gib: int | None = None) -> dict[str, HostSpace]:
    """The host with a `reserve` of which only what is given is written."""
    return {"local": replace(space, reserve=Reserve(cpus, None if gib is None else Bytes(gib << 30)))}


def many(count: int, cpus: int = 1, gib: float = 1, **facts: object) -> list[NodeRequest]:
    return [node(f"n{number}", cpus, gib, **facts) for number in range(1, count + 1)]


def pinned(found: object) -> list[int]:
    nodes = found.nodes.values()  # type: ignore[attr-defined]
    return sorted({cpu for n in nodes for c in n.cells for cpus in c.vcpus.values() for cpu in cpus})


def test_twelve_guests_of_4_gib_do_not_fit_on_48() -> None:
    """48 GiB and 12 cores: a core and 2.4 GiB (a twentieth, which is more than 2) are the host's."""
    hosts = unwritten(host(cells(1, 12, 48)))
    found = place(many(11, gib=4), hosts)
    assert pinned(found) == list(range(1, 12))
    with pytest.raises(HostError) as error:
        place(many(12, gib=4), hosts)
    assert error.value.message.splitlines() == [
        "n12 does not fit beside the other 11 nodes: too little of CPUs and memory",
        "  local cell 0: wanted 1 core, free 0 of 12 (1 core kept for the host); wanted 4GiB of memory, free 1638MiB",
        (
            "  local keeps 1 core and 2457MiB for itself, as no `reserve` is written; to keep none: "
            "`reserve: {cpus: 0, memory: 0B}`"
        ),
    ]
    assert error.value.hint == "`hosts: {local: {reserve: {cpus: 0, memory: 0B}}}` allows it"
    place(many(12, gib=4), unwritten(host(cells(1, 12, 48)), 0, 0))


@pytest.mark.parametrize(
    ("cpus", "gib", "fits", "hint"),
    [
        # Each key has its own default.
        (None, None, False, "cpus: 0, memory: 0B"),
        (0, None, False, "memory: 0B"),
        (None, 0, False, "cpus: 0"),
        (0, 0, True, ""),
    ],
)
def test_each_key_has_its_own_default(cpus: int | None, gib: int | None, fits: bool, hint: str) -> None:
    hosts = unwritten(host(cells(2, 2, 16)), cpus, gib)
    requests = many(4, gib=8)
    if fits:
        place(requests, hosts)
        return
    with pytest.raises(HostError) as error:
        place(requests, hosts)
    assert error.value.hint == f"`hosts: {{local: {{reserve: {{{hint}}}}}}}` allows it"
    assert f"to keep none: `reserve: {{{hint}}}`" in error.value.message


@pytest.mark.parametrize(("gib", "left"), [(16, 14), (40, 38), (100, 95)])
def test_two_gib_or_a_twentieth(gib: int, left: int) -> None:
    hosts = unwritten(host(cells(1, 4, gib)))
    place(many(1, gib=left), hosts)
    with pytest.raises(HostError, match="too little of memory"):
        place(many(1, gib=left + 0.25), hosts)


@pytest.mark.parametrize(
    ("space", "requests"),
    [
        (host(cells(1, 1, 4)), many(1)),
        (host(cells(1, 1, 4, threads=2)), many(1, cpus=2)),
        (host(cells(1, 1, 4)), many(3, numa=UNBOUND, pin="shared", gib=0.5)),
        # All but one are somebody else's; all that is left is a thread.
        (
            host(cells(1, 4, 8), claims=[Claim("x", None, None, running=True, cpus=frozenset({0, 1, 2}))]),
            many(1),
        ),
        (
            host(cells(1, 1, 8, threads=2), claims=[Claim("x", None, None, running=True, cpus=frozenset({0}))]),
            many(1),
        ),
    ],
)
def test_the_last_free_core_is_not_taken(space: HostSpace, requests: list[NodeRequest]) -> None:
    place(requests, unwritten(space))


@pytest.mark.parametrize("gib", [1, 1.5, 2])
def test_a_host_of_less_than_it_keeps_says_so(gib: float) -> None:
    with pytest.raises(HostError) as error:
        place(many(1, gib=0.5), unwritten(host(cells(1, 4, gib))))
    assert "wanted 512MiB of memory, free 0KiB" in error.value.message
    assert "local keeps 2GiB for itself, as no `reserve` is written" in error.value.message
    assert error.value.hint == "`hosts: {local: {reserve: {memory: 0B}}}` allows it"


def test_what_it_keeps_may_be_more_than_is_free_now() -> None:
    (cell,) = cells(1, 4, 64)
    with pytest.raises(HostError) as error:
        place(many(1), unwritten(host((replace(cell, available_kib=3 * GIB),))))
    assert "free 0KiB" in error.value.message
    assert error.value.hint == "`hosts: {local: {reserve: {memory: 0B}}}` allows it"


def test_a_written_reserve_of_more_than_there_is_keeps_all() -> None:
    claim = Claim("x", None, None, running=True, cpus=frozenset({0, 1}))
    with pytest.raises(HostError) as error:
        place(many(1), unwritten(host(cells(1, 4, 16), claims=[claim]), 3, 0))
    assert "wanted 1 core, free 0 of 4 (the host keeps 3 cores)" in error.value.message
    assert error.value.hint == "`hosts: {local: {reserve: {cpus: 0}}}` allows it"


def test_what_lacks_devices_hears_nothing_of_it() -> None:
    with pytest.raises(HostError) as error:
        place([node("n1", host="elsewhere")], unwritten(host(cells(1, 4, 16))))
    assert "keeps" not in error.value.message


# --- beds that are there ---


def there(count: int, *, running: bool, first: int = 0, gib: float = 4) -> list[Claim]:
    return [
        Claim(f"b-n{n}", "b", f"n{n}", running=running, cpus=frozenset({first + n - 1}), memory_kib={0: int(gib * GIB)})
        for n in range(1, count + 1)
    ]


def in_force(count: int, gib: float = 4) -> dict[str, NodePlacement]:
    return {
        f"n{n}": NodePlacement(f"n{n}", "local", (PlacedCell(0, {0: (n - 1,)}, int(gib * GIB), None),), (0,))
        for n in range(1, count + 1)
    }


@pytest.mark.parametrize("running", [True, False])
def test_a_bed_that_is_there_is_never_refused_for_it(running: bool) -> None:
    """All twelve, as an earlier vmlab placed them: off, or changed and to be started anew."""
    hosts = unwritten(host(cells(1, 12, 48), claims=there(12, running=running)))
    place(many(12, gib=4), hosts, bed="b")
    place(many(12, gib=4), hosts, bed="b", in_force=in_force(12))
    place(many(12, gib=4), hosts, bed="b", in_force=in_force(7))
    with pytest.raises(HostError):
        place(many(12, gib=4), hosts, bed="another")


def test_live_too() -> None:
    (cell,) = cells(1, 12, 48)
    for running in (True, False):
        live = (replace(cell, available_kib=(1 if running else 49) * GIB),)
        hosts = unwritten(host(live, claims=there(12, running=running)))
        place(many(12, gib=4), hosts, bed="b")


def test_a_bed_that_leaves_the_core_keeps_leaving_it() -> None:
    """What was placed beside the host's core is placed there again, not on it."""
    hosts = unwritten(host(cells(1, 12, 48), claims=there(11, running=False, first=1)))
    assert pinned(place(many(11, gib=4), hosts, bed="b")) == list(range(1, 12))


def test_more_of_a_bed_that_is_there_gets_what_is_left() -> None:
    hosts = unwritten(host(cells(1, 12, 48), claims=there(10, running=True)))
    place(many(11, gib=4), hosts, bed="b", in_force=in_force(10))
    with pytest.raises(HostError, match=r"too little of CPUs and memory"):
        place(many(12, gib=4), hosts, bed="b", in_force=in_force(10))


# --- who else has memory ---


def test_what_can_be_plugged_into_a_guest_is_named() -> None:
    claim = Claim("windows", None, None, running=True, memory_kib={None: 14 * GIB}, later_kib=12 * GIB)
    with pytest.raises(HostError) as error:
        place(many(1, gib=4), {"local": host(cells(1, 4, 16), claims=[claim])})
    assert "local: the domain windows can be given 12GiB more (its <maxMemory>)" in error.value.message


# --- isolated CPUs ---


def floats(found: object, name: str) -> Sequence[int]:
    return found.nodes[name].cells[0].vcpus[0]  # type: ignore[attr-defined]


def test_isolated_cpus_are_for_those_that_are_pinned() -> None:
    """isolcpus=2-7 of 8: dedicated vCPUs go there, what floats and QEMU's threads stay off."""
    hosts = {"local": host(cells(1, 8, 32), isolated=frozenset(range(2, 8)))}
    requests = [*many(5), node("f1", 4, 1, pin="shared"), node("f2", 4, 1, UNBOUND, pin="shared")]
    found = place(requests, hosts)
    assert pinned(place(many(5), hosts)) == [2, 3, 4, 5, 6]
    assert floats(found, "f1") == floats(found, "f2") == (0, 1)
    assert {placed.emulator_cpus for placed in found.nodes.values()} == {(0, 1)}


def test_one_thread_is_left_to_float_over() -> None:
    hosts = {"local": host(cells(1, 4, 32), isolated=frozenset({2, 3}))}
    floating = node("f1", 1, 1, pin="shared")
    assert floats(place([*many(3), floating], hosts), "f1") == (1,)
    with pytest.raises(HostError):
        place([*many(4), floating], hosts)


def test_where_all_is_isolated_nothing_floats() -> None:
    hosts = {"local": host(cells(1, 4, 32), isolated=frozenset(range(4)))}
    place(many(4), hosts)
    with pytest.raises(HostError) as error:
        place([node("f1", 1, 1, pin="shared")], hosts)
    assert "wanted a CPU to share, free 0 of 4 (4 isolated)" in error.value.message


def test_the_host_keeps_a_core_that_it_can_run_on() -> None:
    """isolcpus=1-11: core 0 is the host's, and dedicated guests have the others; but who floats needs it."""
    hosts = unwritten(host(cells(1, 12, 48), isolated=frozenset(range(1, 12))))
    assert pinned(place(many(11), hosts)) == list(range(1, 12))
    with pytest.raises(HostError) as error:
        place(many(12), hosts)
    assert error.value.hint == "`hosts: {local: {reserve: {cpus: 0}}}` allows it"
    assert floats(place([node("f1", 1, 1, pin="shared")], hosts), "f1") == (0,)
    # A written one comes first: of the core that is left none is.
    with pytest.raises(HostError):
        place([node("f1", 1, 1, pin="shared")], unwritten(host(cells(1, 12, 48), isolated=frozenset(range(1, 12))), 1))


def test_siblings_of_isolated_threads_may_be_floated_over() -> None:
    """isolcpus names one thread of each core: its sibling is the scheduler's."""
    hosts = {"local": host(cells(1, 4, 32, threads=2), isolated=frozenset(range(4)))}
    found = place([*many(3), node("f1", 1, 1, pin="shared")], hosts)
    assert set(pinned(found)) & {4, 5, 6, 7} == set(floats(found, "f1")) == {4, 5, 6, 7}


def test_cpus_outside_of_the_guests_cgroup_are_nobodys() -> None:
    """They are the host's already, so that no core is kept besides."""
    space = host(cells(1, 8, 32), guest_cpus=frozenset(range(2, 8)))
    assert pinned(place(many(6), unwritten(space))) == list(range(2, 8))
    found = place([node("f1", 1, 1, UNBOUND, pin="shared")], unwritten(space))
    assert floats(found, "f1") == found.nodes["f1"].emulator_cpus == (2, 3, 4, 5, 6, 7)
    with pytest.raises(HostError, match="wanted 1 core, free 0 of 8"):
        place(many(7), unwritten(space))
    # Half a core outside is no core.
    half = host(cells(1, 3, 32, threads=2), guest_cpus=frozenset(range(1, 6)))
    with pytest.raises(HostError, match=r"1 core kept for the host"):
        place(many(4), unwritten(half))


# --- hosts of several architectures ---


def test_a_node_goes_where_its_architecture_runs() -> None:
    intel, arm = host(cells(1, 4, 16)), host(cells(1, 4, 16))
    hosts = {"arm": replace(arm, inventory=replace(arm.inventory, arch="aarch64")), "intel": intel}
    requests = [replace(request, architecture="x86_64") for request in many(4)]
    assert {placed.host for placed in place(requests, hosts).nodes.values()} == {"intel"}
    with pytest.raises(HostError) as error:
        place([*requests, node("n5", architecture="x86_64")], hosts)
    assert "  arm: its architecture is aarch64, wanted x86_64" in error.value.message.splitlines()
