"""Beds that a lab really has, on the hosts that it really has."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hosts import GIB, PREFERRED, STRICT, UNBOUND, address, cells, hca, host, mlx5, nic, node, wish
from rules import check

from vmlab.errors import HostError
from vmlab.inventory.model import Claim, PagePool
from vmlab.placement.place import place
from vmlab.placement.request import NodePlacement, NodeRequest, PlacedCell, PlacedDevice, Placement
from vmlab.topology.bed import DeviceSelector, Numa


def ftas(count: int, numa: Numa = STRICT) -> list[NodeRequest]:
    return [node(f"fta{number:02}", 1, 4, numa, devices=(wish(),)) for number in range(1, count + 1)]


def whole(fabric: str = "ib0", index: int = 0, **facts: object) -> tuple:
    return (wish(fabric, index, "passthrough", **facts),)


def cell_of(found: Placement) -> Mapping[str, tuple[str, int | None]]:
    return {name: (placed.host, placed.cells[0].host_cell) for name, placed in found.nodes.items()}


# --- FTA: 12 cores, 48 GiB, one ConnectX-3 with 12 VFs ---

ONE_CELL = {"local": host(cells(1, 12, 48), hca("41:00.0", vfs=12), cpus=1, gib=2)}
TWO_CELLS = {"local": host(cells(2, 6, 24), hca("41:00.0", vfs=12), cpus=1, gib=2)}


def test_eleven_transfer_agents_fit_and_leave_the_host_a_core() -> None:
    found = place(ftas(11), ONE_CELL)
    check(ftas(11), ONE_CELL, found)
    assert [placed.cells[0].vcpus[0] for placed in found.nodes.values()] == [(cpu,) for cpu in range(1, 12)]
    assert {placed.emulator_cpus for placed in found.nodes.values()} == {(0,)}
    assert [placed.devices[0].vf_number for placed in found.nodes.values()] == list(range(11))
    assert not found.notes
    assert not found.vfs


def test_the_twelfth_is_refused_for_cores_and_memory() -> None:
    with pytest.raises(HostError) as error:
        place(ftas(12), ONE_CELL)
    assert error.value.message.splitlines() == [
        "fta12 does not fit beside the other 11 nodes: too little of CPUs and memory",
        (
            "  local cell 0: wanted 1 core, free 0 of 12 (1 core kept for the host); wanted 4GiB of memory, free 2GiB; "
            "wanted 1 virtual function for ib0, free 1"
        ),
    ]
    assert error.value.hint == "`hosts: {local: {reserve: {cpus: 0, memory: 0B}}}` allows it"


def test_on_two_sockets_five_transfer_agents_are_remote() -> None:
    found = place(ftas(11, PREFERRED), TWO_CELLS)
    check(ftas(11, PREFERRED), TWO_CELLS, found)
    assert sum(device.remote for placed in found.nodes.values() for device in placed.devices) == 5
    assert sum("is in cell 0, not in 1" in note for note in found.notes) == 5


def test_on_two_sockets_strict_is_refused() -> None:
    with pytest.raises(
        HostError, match=r"^fta07 does not fit beside the other 6 nodes: too little of devices\n"
    ) as error:
        place(ftas(11), TWO_CELLS)
    assert "local cell 1: wanted 1 core, free 5 of 6 (1 core kept for the host)" in error.value.message
    assert error.value.message.endswith("wanted 1 virtual function for ib0, free 0")
    assert error.value.hint == "`numa: preferred` allows it"


# --- OSS: two X5670, four QDR HCAs, two per I/O hub ---

HCAS = [*hca("05:00.0"), *hca("06:00.0"), *hca("85:00.0", 1), *hca("86:00.0", 1)]
SERVERS = [node(f"oss{n}", 6, 12, devices=(*whole("storage"), *whole("ib0"))) for n in (1, 2)]


def test_two_servers_come_out_one_per_socket_with_both_functions_local() -> None:
    hosts = {"local": host(cells(2, 6, 24), HCAS)}
    found = place(SERVERS, hosts)
    check(SERVERS, hosts, found)
    assert cell_of(found) == {"oss1": ("local", 0), "oss2": ("local", 1)}
    assert [[str(d.address) for d in placed.devices] for placed in found.nodes.values()] == [
        ["0000:05:00.0", "0000:06:00.0"],
        ["0000:85:00.0", "0000:86:00.0"],
    ]
    assert [placed.emulator_cpus for placed in found.nodes.values()] == [(0,), (6,)]
    assert len(found.notes) == 2


def test_the_reserve_alone_is_in_their_way() -> None:
    with pytest.raises(HostError) as error:
        place(SERVERS, {"local": host(cells(2, 6, 24), HCAS, cpus=1)})
    assert error.value.message.startswith("oss2 does not fit beside oss1: too little of CPUs\n")
    assert "local cell 1: wanted 6 cores, free 5 of 6 (1 core kept for the host)" in error.value.message
    assert error.value.hint == "`hosts: {local: {reserve: {cpus: 0}}}` allows it"


# --- Others ---


def test_five_nodes_of_an_ha_bed_with_a_function_each() -> None:
    names = {"mds1": "mds2", "mds2": "mds1", "oss1": "oss2", "oss2": "oss1", "client1": None}
    requests = [node(n, 2, 4, devices=whole(), pairs=(p,) if p else ()) for n, p in names.items()]
    hosts = {"local": host(cells(2, 6, 24), [*HCAS, *hca("07:00.0")], cpus=1)}
    found = place(requests, hosts)
    check(requests, hosts, found)
    where = cell_of(found)
    assert where["mds1"] != where["mds2"]
    assert where["oss1"] != where["oss2"]
    assert not found.notes


def test_two_hops_over_both_kinds_of_network() -> None:
    requests = [
        node("server", devices=whole("ib0")),
        node("router1", devices=(*whole("ib0"), *whole("xge", kind="ethernet"))),
        node("router2", devices=(*whole("xge", kind="ethernet"), *whole("ib1"))),
        node("client", devices=whole("ib1")),
    ]
    hosts = {"local": host(cells(2, 6, 24), [*HCAS, *nic("03:00.0"), *nic("83:00.0", 1)])}
    found = place(requests, hosts)
    check(requests, hosts, found)
    assert {d.address for p in found.nodes.values() for d in p.devices if d.fabric == "xge"} == {
        address("03:00.0"),
        address("83:00.0"),
    }


def test_both_ports_of_one_function_serve_one_node_only() -> None:
    hosts = {"local": host(cells(1, 4, 8), hca("41:00.0", ports=2))}
    two = node("n1", devices=(*whole("ib0", 0), *whole("ib0", 1)))
    found = place([two], hosts)
    assert {device.address for device in found.nodes["n1"].devices} == {address("41:00.0")}
    assert found.notes == ("n1: 2 ports are of one function, 0000:41:00.0",)
    with pytest.raises(HostError, match=r"^n2 does not fit beside n1: too little of devices"):
        place([node("n1", devices=whole()), node("n2", devices=whole())], hosts)


SHARED_GROUP = [*hca("41:00.0", group=7), *nic("41:00.1", iommu_group=7)]


def test_a_shared_group_is_refused_with_its_members_and_drivers() -> None:
    with pytest.raises(HostError) as error:
        place([node("n1", devices=whole())], {"local": host(cells(1, 4, 8), SHARED_GROUP)})
    assert error.value.message.splitlines()[-1] == (
        "  local 0000:41:00.0 is refused for ib0: its IOMMU group 7 is shared with "
        "0000:41:00.1 (82599ES 10-Gigabit; ixgbe)"
    )
    assert error.value.hint == "`whole_group: true` for the fabric ib0 allows it"


def test_a_shared_group_comes_as_a_whole_where_that_is_asked_for() -> None:
    found = place([node("n1", devices=whole(whole_group=True))], {"local": host(cells(1, 4, 8), SHARED_GROUP)})
    assert found.nodes["n1"].devices[0].group == (address("41:00.1"),)


def test_not_even_the_whole_group_if_the_host_uses_one_of_it() -> None:
    functions = [*hca("41:00.0", group=7), *nic("41:00.1", iommu_group=7, used_by="the default route, over br0")]
    with pytest.raises(HostError, match=r"41:00.1: the host uses it: the default route, over br0"):
        place([node("n1", devices=whole(whole_group=True))], {"local": host(cells(1, 4, 8), functions)})


def test_eight_cells_of_one_socket() -> None:
    requests = [node(f"n{n}", 8, 30, devices=(wish(),), threads="require") for n in range(1, 8)]
    functions = [f for cell in range(8) for f in mlx5(f"{cell * 16 + 1:02x}:00.0", cell, total=4)]
    hosts = {"local": host(cells(8, 4, 32, threads=2), functions)}
    found = place(requests, hosts)
    check(requests, hosts, found)
    assert [where[1] for where in cell_of(found).values()] == list(range(7))
    assert found.nodes["n2"].cells[0].vcpus[0] == (4,)
    assert found.nodes["n2"].cells[0].vcpus[1] == (36,)
    assert set(found.vfs.values()) == {1}
    assert found.nodes["n1"].devices[0].planned


def test_two_guest_cells_with_a_function_each() -> None:
    request = node("n1", 5, 9, Numa(cells=2), devices=(*whole("a"), *whole("b")))
    hosts = {"local": host(cells(2, 6, 24), [*hca("05:00.0", 1), *hca("06:00.0", 0)])}
    found = place([request], hosts)
    check([request], hosts, found)
    assert [(c.host_cell, len(c.vcpus), c.memory_kib) for c in found.nodes["n1"].cells] == [
        (0, 3, 4.5 * GIB),
        (1, 2, 4.5 * GIB),
    ]
    assert [(d.host_cell, d.guest_cell) for d in found.nodes["n1"].devices] == [(1, 1), (0, 0)]


def test_huge_pages_are_those_of_the_cell() -> None:
    hosts = {"local": host(cells(2, 6, 24, huge={GIB: 4}))}
    found = place([node("n1", 1, 4, page_kib=GIB), node("n2", 1, 3, page_kib=GIB), node("n3", 1, 20)], hosts)
    assert cell_of(found)["n1"] != cell_of(found)["n2"]
    with pytest.raises(HostError, match="wanted 5GiB in pages of 1GiB, free 4GiB"):
        place([node("n1", 1, 5, page_kib=GIB)], hosts)


def test_what_runs_already_is_left_alone() -> None:
    claim = Claim(
        "windows",
        None,
        None,
        running=True,
        cpus=frozenset({0, 1, 2}),
        memory_kib={0: 20 * GIB},
        devices=frozenset({address("05:00.0")}),
    )
    hosts = {"local": host(cells(2, 4, 24), HCAS, claims=[claim])}
    requests = [node("n1", 2, 4, devices=whole()), node("n2", 1, 4, devices=whole())]
    found = place(requests, hosts)
    check(requests, hosts, found)
    assert cell_of(found) == {"n1": ("local", 1), "n2": ("local", 0)}
    with pytest.raises(HostError, match=r"05:00.0 is refused for ib0: the domain windows has it"):
        place([node("n1", 5, 24, devices=whole())], hosts)


def test_memory_that_is_bound_to_no_cell_counts_for_the_host() -> None:
    claim = Claim("floating", None, None, running=True, memory_kib={None: 20 * GIB})
    hosts = {"local": host(cells(2, 4, 16), claims=[claim])}
    assert cell_of(place([node("n1", 1, 12)], hosts)) == {"n1": ("local", 0)}
    with pytest.raises(HostError, match="too little of memory"):
        place([node("n1", 1, 8), node("n2", 1, 8)], hosts)


def test_a_running_node_stays_and_its_own_claim_is_not_counted_twice() -> None:
    request = node("n1", 4, 12, devices=whole())
    other = node("n2", 4, 12, devices=whole())
    cpus = frozenset({4, 5, 6, 7})
    claims = [
        Claim("bed-n1", "bed", "n1", True, cpus, {1: 12 * GIB}, devices=frozenset({address("85:00.0")})),  # noqa: FBT003
        Claim("bed-n2", "bed", "n2", False, cpus, {1: 12 * GIB}, devices=frozenset({address("05:00.0")})),  # noqa: FBT003
    ]
    hosts = {"local": host(cells(2, 4, 16), [*hca("05:00.0"), *hca("85:00.0", 1)], claims=claims)}
    device = PlacedDevice("ib0", 0, address("85:00.0"), "passthrough", 1, 1, remote=False)
    vcpus = {number: (number + 4,) for number in range(4)}
    running = NodePlacement("n1", "local", (PlacedCell(1, vcpus, 12 * GIB, None),), (0,), (device,))
    found = place([request, other], hosts, bed="bed", in_force={"n1": running})
    assert found.nodes["n1"] is running
    assert cell_of(found)["n2"] == ("local", 0)
    with pytest.raises(HostError):
        place([request, other], hosts, bed="another", in_force={})


def test_partners_are_on_two_hosts_and_the_third_is_told() -> None:
    hosts = {name: host(cells(2, 4, 16), name=name) for name in ("h1", "h2")}
    pair = [node("mds1", pairs=("mds2",)), node("mds2", pairs=("mds1",))]
    found = place(pair, hosts)
    assert cell_of(found) == {"mds1": ("h1", 0), "mds2": ("h2", 0)}
    three = [node(n, pairs=tuple({"a", "b", "c"} - {n})) for n in ("a", "b", "c")]
    found = place(three, hosts)
    assert len(set(cell_of(found).values())) == 3
    assert len(found.notes) == 1
    assert "are partners and share the host" in found.notes[0]


def test_partner_of_a_running_node_goes_elsewhere() -> None:
    hosts = {name: host(cells(1, 4, 16), name=name) for name in ("h1", "h2")}
    running = NodePlacement("mds1", "h1", (PlacedCell(0, {0: (0,)}, GIB, None),), (1,))
    found = place([node("mds1", pairs=("mds2",)), node("mds2", pairs=("mds1",))], hosts, in_force={"mds1": running})
    assert cell_of(found)["mds2"] == ("h2", 0)


def test_a_node_is_held_to_its_host() -> None:
    hosts = {name: host(cells(1, 4, 16), name=name) for name in ("h1", "h2")}
    assert cell_of(place([node("n1", host="h2")], hosts)) == {"n1": ("h2", 0)}
    with pytest.raises(HostError, match=r"h2 cell 0: wanted 5 cores, free 4 of 4") as error:
        place([node("n1", 5, host="h2")], hosts)
    assert "h1" not in error.value.message


def test_siblings_of_the_isolated_stay_empty() -> None:
    requests = [node("n1", 2, 1, threads="isolate"), node("n2", 2, 1), node("n3", 1, 1, pin="shared")]
    hosts = {"local": host(cells(1, 4, 8, threads=2))}
    found = place(requests, hosts)
    check(requests, hosts, found)
    assert dict(found.nodes["n1"].cells[0].vcpus) == {0: (0,), 1: (1,)}
    assert dict(found.nodes["n2"].cells[0].vcpus) == {0: (2,), 1: (6,)}
    assert found.nodes["n3"].cells[0].vcpus[0] == (3, 7)
    with pytest.raises(HostError, match="wanted 3 whole cores, free 2 of 4"):
        place([*requests[:1], node("n2", 3, 1, threads="isolate")], hosts)


def test_bound_to_nothing_but_on_distinct_cpus() -> None:
    requests = [node("n1", 3, 20, UNBOUND), node("n2", 1, 4, UNBOUND, pin="shared")]
    hosts = {"local": host(cells(2, 2, 16))}
    found = place(requests, hosts)
    check(requests, hosts, found)
    assert found.nodes["n1"].cells[0].host_cell is None
    assert len(found.nodes["n2"].cells[0].vcpus[0]) == 1


def test_memory_that_is_free_now_bounds_a_live_host() -> None:
    found = cells(1, 4, 16)
    live = (replace(found[0], available_kib=3 * GIB, huge={2048: PagePool(2048, 1024, free=512)}),)
    with pytest.raises(HostError, match="wanted 4GiB of memory, free 3GiB"):
        place([node("n1", 1, 4)], {"local": host(live)})
    with pytest.raises(HostError, match="wanted 2GiB in pages of 2MiB, free 1GiB"):
        place([node("n1", 1, 2, page_kib=2048)], {"local": host(live)})
    stopping = Claim("bed-n1", "bed", "n1", running=True, memory_kib={0: 2 * GIB})
    place([node("n1", 1, 4)], {"local": host(live, claims=[stopping])}, bed="bed")


# --- virtual functions ---


def test_virtual_functions_that_do_not_exist_are_planned() -> None:
    functions = mlx5("41:00.0", total=8, sriov_offset=2, sriov_stride=1)
    found = place(ftas(3), {"local": host(cells(1, 4, 16), functions)})
    assert found.vfs == {("local", address("41:00.0")): 3}
    assert [str(placed.devices[0].address) for placed in found.nodes.values()] == [
        "0000:41:00.2",
        "0000:41:00.3",
        "0000:41:00.4",
    ]
    assert all(placed.devices[0].planned for placed in found.nodes.values())


def test_too_few_are_made_anew_only_if_none_is_in_use() -> None:
    functions = mlx5("41:00.0", vfs=1, total=8)
    assert place(ftas(2), {"local": host(cells(1, 4, 16), functions)}).vfs == {("local", address("41:00.0")): 2}
    held = Claim("other", None, None, running=False, devices=frozenset({address("41:00.1")}))
    with pytest.raises(
        HostError, match=r"none of its 1 virtual functions is free \(0000:41:00.1: the domain other has it"
    ):
        place(ftas(1), {"local": host(cells(1, 4, 16), functions, claims=[held])})
    with pytest.raises(HostError, match=r"its virtual functions are in use \(0000:41:00.1: the domain other has it"):
        place([node("n1", devices=whole())], {"local": host(cells(1, 4, 16), functions, claims=[held])})


def test_mlx4_makes_none_at_run_time() -> None:
    with pytest.raises(HostError, match=r"mlx4_core makes them only when it is loaded \(option num_vfs\)"):
        place(ftas(1), {"local": host(cells(1, 4, 16), hca("41:00.0", total=16))})


def test_a_function_is_passed_whole_or_in_parts() -> None:
    hosts = {"local": host(cells(1, 4, 16), mlx5("41:00.0", total=4))}
    with pytest.raises(HostError, match="too little of devices"):
        place([node("n1", devices=whole()), node("n2", devices=(wish(),))], hosts)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"used_by": "/scratch is mounted from it"}, "the host uses it: /scratch is mounted from it"),
        ({"broken": "its reset failed"}, "its reset failed"),
    ],
)
def test_functions_that_the_host_needs_or_that_are_broken(facts: dict[str, str], reason: str) -> None:
    with pytest.raises(HostError, match=f"0000:41:00.0 is refused for ib0: {reason}"):
        place([node("n1", devices=whole())], {"local": host(cells(1, 4, 16), hca("41:00.0", **facts))})


def test_no_iommu() -> None:
    hosts = {"local": host(cells(1, 4, 16), hca("41:00.0"), no_iommu="the IOMMU is off (intel_iommu=on)")}
    with pytest.raises(HostError, match=r"the IOMMU is off \(intel_iommu=on\)") as error:
        place([node("n1", devices=whole())], hosts)
    assert error.value.hint == "`attach: virtio` for the fabric ib0 allows it"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (DeviceSelector(model="*ConnectX-5*"), "42:00.0"),
        (DeviceSelector(vendor=0x15B3, product=0x1003), "41:00.0"),
        (DeviceSelector(address=(address("42:00.0"),)), "42:00.0"),
        (DeviceSelector(pf="mlx_41:00.0"), "41:00.0"),
        (DeviceSelector(pf=address("42:00.0")), "42:00.0"),
    ],
)
def test_selectors(selector: DeviceSelector, expected: str) -> None:
    hosts = {"local": host(cells(1, 4, 16), [*hca("41:00.0"), *mlx5("42:00.0")])}
    found = place([node("n1", devices=whole(selector=selector))], hosts)
    assert found.nodes["n1"].devices[0].address == address(expected)


def test_virtual_functions_by_their_parents_name() -> None:
    hosts = {"local": host(cells(1, 4, 16), [*hca("41:00.0", vfs=2), *hca("42:00.0", vfs=2)])}
    request = node("n1", devices=(wish(selector=DeviceSelector(pf="mlx_42:00.0")),))
    assert place([request], hosts).nodes["n1"].devices[0].address == address("42:00.1")


def test_nothing_selected_is_told() -> None:
    hosts = {"local": host(cells(1, 4, 16), hca("41:00.0"))}
    with pytest.raises(HostError, match=r"41:00.0 is refused for ib0: `device` does not select it"):
        place([node("n1", devices=whole(selector=DeviceSelector(model="*ConnectX-7*")))], hosts)
