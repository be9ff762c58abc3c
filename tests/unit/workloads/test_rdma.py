"""Who measures whom, and with which commands."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from vmlab.errors import UsageError, WorkloadError
from vmlab.workloads import Endpoint, Node
from vmlab.workloads.rdma import Options, Rdma

RDMA = Rdma()
TOOLS = {"tools": "\n".join(f"ib_{v}_{t}" for v in ("write", "read", "send") for t in ("bw", "lat")) + "\nrdma_bw\n"}


def node(name: str, number: int, *roles: str, fabrics: tuple[str, ...] = ("ib0",), kind: str = "infiniband") -> Node:
    places = [
        Endpoint(f, kind, IPv4Address(f"10.77.{i}.{number}"), f, soft=True, device=f"rxe_{f}", gid_index=number)
        for i, f in enumerate(fabrics, start=1)
    ]
    management = Endpoint("mgmt", "management", IPv4Address(f"10.77.0.{number}"), "mgmt")
    return Node(name, roles, (management, *places), TOOLS)


HA = [node("client1", 1, "client"), node("mds1", 2, "mds"), node("oss1", 3, "oss"), node("oss2", 4, "oss")]


def pairs(nodes: list[Node], **options: object) -> list[str]:
    chosen = Options.model_validate({"verbs": ["write"], "tests": ["bw"]} | options)
    rounds = RDMA.measurements(chosen, nodes)
    found = [f"{m.labels['from']}>{m.labels['to']}" for r in rounds for m in r if not m.skipped]
    taking_part = set(RDMA.takes_part(chosen, nodes))
    assert {name for pair in found for name in pair.split(">")} == taking_part
    return found


def test_by_default_each_server_acts_on_the_first_client() -> None:
    assert pairs([*HA, node("client2", 5, "client")]) == ["mds1>client1", "oss1>client1", "oss2>client1"]


def test_both_directions() -> None:
    assert pairs(HA[:2], both=True) == ["mds1>client1", "client1>mds1"]


def test_chosen_nodes() -> None:
    assert pairs(HA, **{"from": "client1", "to": "@oss"}) == ["client1>oss1", "client1>oss2"]
    assert pairs(HA, **{"from": "oss[1-2]", "to": "oss[1-2]"}) == ["oss1>oss2", "oss2>oss1"]
    assert pairs(HA, to="oss1") == ["mds1>oss1", "oss2>oss1"]
    assert pairs(HA, **{"from": "oss2"}) == ["oss2>client1"]


def test_without_clients_the_first_node_acts_on_all_others() -> None:
    assert pairs(HA[1:]) == ["mds1>oss1", "mds1>oss2"]


def test_a_client_that_shares_no_fabric_is_passed_over() -> None:
    far = node("client0", 9, "client", fabrics=("ib1",))
    assert pairs([far, *HA]) == ["mds1>client1", "oss1>client1", "oss2>client1"]


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(UsageError, match=r"no node 'oss9' \(did you mean `oss"):
        pairs(HA, to="oss9")
    with pytest.raises(UsageError, match=r"no fabric 'ib9' \(did you mean `ib0`"):
        pairs(HA, fabric="ib9")
    with pytest.raises(UsageError, match="no node has the role 'router'"):
        pairs(HA, to="@router")
    with pytest.raises(WorkloadError, match="no pair of nodes to measure is on an InfiniBand fabric"):
        pairs([node("a", 1, kind="ethernet"), node("b", 2, kind="ethernet")])
    with pytest.raises(WorkloadError, match="oss1 and c are not both on an InfiniBand fabric"):
        pairs([*HA, node("c", 9, fabrics=("ib1",))], **{"from": "oss1", "to": "c"})
    with pytest.raises(WorkloadError, match="no pair of nodes"):
        pairs(HA[:1])
    without = [HA[0], replace(HA[1], endpoints=tuple(replace(e, device="") for e in HA[1].endpoints))]
    with pytest.raises(WorkloadError, match="mds1 has no RDMA device on ib0"):
        pairs(without)


def measure(nodes: list[Node] = HA[:2], **options: object) -> list[tuple[str, str]]:
    rounds = RDMA.measurements(Options.model_validate(options), nodes)
    return [(" ".join(m.services[0].argv), " ".join(m.tasks[0].argv)) for r in rounds for m in r if not m.skipped]


def test_command_lines() -> None:
    [(server, client)] = measure(verbs=["read"], tests=["bw"], iterations=50)
    assert server == "ib_read_bw -d rxe_ib0 -i 1 -p 18515 -n 50 -s 65536 -x 1 -F"
    assert client == "ib_read_bw -d rxe_ib0 -i 1 -p 18515 -n 50 -s 65536 -x 2 -F 10.77.1.1"
    [(_, client)] = measure(verbs=["send"], tests=["lat"], duration_s=7)
    assert client == "ib_send_lat -d rxe_ib0 -i 1 -p 18515 -D 7 -s 8 -x 2 -F 10.77.1.1"
    [(_, client)] = measure(verbs=["write"], tests=["bw"], sizes="all")
    assert client == "ib_write_bw -d rxe_ib0 -i 1 -p 18515 -n 1000 -a -x 2 -F 10.77.1.1"
    assert len(measure(sizes=["64B", "1MiB"])) == 12


def test_real_infiniband_needs_no_gid() -> None:
    nodes = [replace(n, endpoints=tuple(replace(e, gid_index=-1) for e in n.endpoints)) for n in HA[:2]]
    [(_, client)] = measure(nodes, verbs=["write"], tests=["bw"])
    assert "-x" not in client


def test_all_pairs_at_once_have_ports_of_their_own() -> None:
    options = Options.model_validate({"verbs": ["write"], "parallel": True})
    rounds = RDMA.measurements(options, HA)
    assert [len(r) for r in rounds] == [3, 3]
    ready = [m.services[0].ready for m in rounds[0]]
    assert len({m.tasks[0].argv[m.tasks[0].argv.index("-p") + 1] for m in rounds[0]}) == 3
    assert ready[0] == ("grep", "-qE", ":4853 0+:0000 0A", "/proc/net/tcp", "/proc/net/tcp6")


def test_old_guests_have_only_rdma_bw() -> None:
    old = [replace(n, facts={"tools": "rdma_bw\n"}) for n in HA[:2]]
    rounds = RDMA.measurements(Options(), old)
    ran = [m for r in rounds for m in r if not m.skipped]
    assert [m.name for m in ran] == ["mds1-client1.write_bw.64KiB"]
    assert " ".join(ran[0].tasks[0].argv) == "rdma_bw -d rxe_ib0 -i 1 -p 18515 -n 1000 -s 65536 -c 10.77.1.1"
    assert all("the old rdma_bw measures write bandwidth" in m.skipped for r in rounds for m in r if m.skipped)
    with pytest.raises(WorkloadError, match="client1 has no ib_write_bw"):
        RDMA.measurements(Options(), [replace(HA[0], facts={"tools": ""}), old[1]])


@pytest.mark.parametrize(
    ("system", "line"),
    [("ID=debian\n", "apt-get install perftest"), ('ID="rocky"\nID_LIKE="rhel"\n', "dnf install perftest")],
)
def test_a_guest_without_perftest_is_told_its_own_distributions_package(system: str, line: str) -> None:
    bare = [replace(node, facts={"tools": "", "system": system}) for node in HA[:2]]
    with pytest.raises(WorkloadError, match="has no ib_write_bw") as caught:
        RDMA.measurements(Options(), bare)
    assert caught.value.hint == f"use an image that carries perftest, or in the guest: {line}"


def test_the_host_has_its_own_devices_or_is_told_that_it_has_none() -> None:
    bare = {node.name: tuple(replace(e, device="") for e in node.endpoints) for node in HA}
    on_host = [replace(node, where="host", endpoints=bare[node.name]) for node in HA]
    with pytest.raises(WorkloadError, match="rdma: the host has no RDMA device on ib0") as caught:
        RDMA.measurements(Options(), on_host)
    assert str(caught.value.hint).startswith("on the host: rdma link show")
