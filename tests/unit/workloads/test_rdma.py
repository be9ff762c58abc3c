"""Who measures whom, and with which commands."""

import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from vmlab.errors import UsageError, WorkloadError
from vmlab.runtime import process
from vmlab.workloads import Endpoint, Measurement, Node
from vmlab.workloads.rdma import Options, Rdma

RDMA = Rdma()
TOOLS = {
    "tools": "\n".join(f"ib_{v}_{t}" for v in ("write", "read", "send") for t in ("bw", "lat"))
    + "\nrdma_bw\nrdma_lat\n"
}


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
    assert server == "ib_read_bw -d rxe_ib0 -i 1 -p 18515 -n 50 -s 65536 -x 1 -u 20 -F"
    assert client == "ib_read_bw -d rxe_ib0 -i 1 -p 18515 -n 50 -s 65536 -x 2 -u 20 -F 10.77.1.1"
    [(_, client)] = measure(verbs=["send"], tests=["lat"], duration_s=7)
    assert client == "ib_send_lat -d rxe_ib0 -i 1 -p 18515 -D 7 -s 8 -x 2 -u 20 -F 10.77.1.1"
    [(_, client)] = measure(verbs=["write"], tests=["bw"], sizes="all")
    assert client == "ib_write_bw -d rxe_ib0 -i 1 -p 18515 -n 1000 -a -x 2 -u 20 -F 10.77.1.1"
    assert len(measure(sizes=["64B", "1MiB"])) == 12


def test_real_infiniband_needs_no_gid_and_no_patience() -> None:
    nodes = [replace(n, endpoints=tuple(replace(e, gid_index=-1, soft=False) for e in n.endpoints)) for n in HA[:2]]
    [(_, client)] = measure(nodes, verbs=["write"], tests=["bw"])
    assert not {"-x", "-u"} & set(client.split())


def test_all_pairs_at_once_have_ports_of_their_own() -> None:
    options = Options.model_validate({"verbs": ["write"], "parallel": True})
    rounds = RDMA.measurements(options, HA)
    assert [len(r) for r in rounds] == [3, 3]
    ready = [m.services[0].ready for m in rounds[0]]
    assert len({m.tasks[0].argv[m.tasks[0].argv.index("-p") + 1] for m in rounds[0]}) == 3
    assert ready[0] == ("grep", "-qE", ":4853 0+:0000 0A", "/proc/net/tcp", "/proc/net/tcp6")


OLD = [replace(n, facts={"tools": "rdma_bw\nrdma_lat\n"}) for n in HA[:2]]


def old(nodes: list[Node] = OLD, **options: object) -> tuple[list[Measurement], set[str]]:
    found = [m for r in RDMA.measurements(Options.model_validate(options), nodes) for m in r]
    return [m for m in found if not m.skipped], {m.skipped for m in found if m.skipped}


def test_old_guests_have_only_rdma_bw_and_rdma_lat() -> None:
    ran, skipped = old()
    assert [m.name for m in ran] == ["mds1-client1.write_bw.64KiB", "mds1-client1.write_lat.8B"]
    assert [" ".join(m.tasks[0].argv) for m in ran] == [
        "rdma_bw -d rxe_ib0 -i 1 -p 18515 -n 1000 -s 65536 -c 10.77.1.1",
        "rdma_lat -d rxe_ib0 -i 1 -p 18515 -n 1000 -s 8 -c 10.77.1.1",
    ]
    assert "mds1 has no ib_read_lat, and the old rdma_lat measures writes, by iterations" in skipped
    assert not old(duration_s=5)[0]
    with pytest.raises(WorkloadError, match="client1 has no ib_write_bw"):
        old([replace(HA[0], facts={"tools": ""}), OLD[1]])
    with pytest.raises(WorkloadError, match="client1 has no ib_write_lat"):
        old([replace(HA[0], facts={"tools": "rdma_bw\n"}), OLD[1]])
    # One old guest is enough: the other one has both.
    assert [m.tasks[0].argv[0] for m in old([HA[0], OLD[1]])[0]] == ["rdma_bw", "rdma_lat"]


def test_all_sizes_both_ways() -> None:
    wanted: dict[str, object] = {"verbs": ["write"], "sizes": "all", "both": True}
    rounds = RDMA.measurements(Options.model_validate(wanted), HA[:2])
    assert [m.name for r in rounds for m in r] == [
        "mds1-client1.write_bw.all", "mds1-client1.write_lat.all",
        "client1-mds1.write_bw.all", "client1-mds1.write_lat.all",
    ]  # fmt: skip
    # The old programs have no -a.
    ran, _ = old(**wanted)
    assert [m.labels["size"] for m in ran] == 4 * [str(1 << power) for power in range(1, 24)]
    assert [m.labels["from"] for m in ran] == 46 * ["mds1"] + 46 * ["client1"]


def test_an_old_server_that_listens_by_rdma_cm_is_seen_by_its_open_device(tmp_path: Path) -> None:
    """A process of that name; who listens by rdma_cm is in no list of sockets."""
    service = old()[0][0].services[0]
    words = ["rdma_bw", "-c", "import sys; print(flush=True); sys.stdin.read()", "-p", "18515", "-n", "1000"]
    (tmp_path / "rdma_cm").touch()

    def ready(*opened: int) -> bool:
        with subprocess.Popen(
            words, executable=sys.executable, pass_fds=opened, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as server:
            assert server.stdout is not None
            server.stdout.readline()
            return process.run(service.ready, deadline_s=60).status == 0

    with (tmp_path / "rdma_cm").open() as device:
        assert ready(device.fileno())
    assert not ready()
    # By LID it listens on a socket.
    by_lid = [replace(n, endpoints=tuple(replace(e, gid_index=-1) for e in n.endpoints)) for n in OLD]
    assert old(by_lid)[0][0].services[0].ready[0] == "grep"
    assert "-c" not in old(by_lid)[0][0].services[0].argv


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
