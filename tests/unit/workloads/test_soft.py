"""Figures are labelled soft-RoCE if what was measured went over it, and not because the bed has it."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from vmlab.workloads import Endpoint, Node, workloads
from vmlab.workloads._lustre import NETS

ROUTES = "route:\n    - net: {net}\n      gateway: 10.77.2.13@tcp\n"


def node(name: str, number: int, role: str, *nids: str, soft: bool = True, route: str = "") -> Node:
    """On an InfiniBand fabric and on Ethernet; `soft`: the former is soft-RoCE. `nids` are LNet's networks on them."""
    places = ("10.77.1", "10.77.2")
    said = "".join(
        f"{places[0 if net.startswith('o2ib') or '!' in net else 1]}.{number}@{net.strip('!')}\n" for net in nids
    )
    endpoints = (
        Endpoint(
            "ib0", "infiniband", IPv4Address(f"10.77.1.{number}"), "ib0", soft, device="rxe_ib0" if soft else "mlx5_0"
        ),
        Endpoint("eth", "ethernet", IPv4Address(f"10.77.2.{number}"), "eth"),
    )
    facts = {"nids": f"lnet_selftest\n{said}", "nets": said + (ROUTES.format(net=route) if route else "")}
    return Node(name, (role,), endpoints, facts)


def bed(*nids: str, soft: bool = True, route: str = "") -> list[Node]:
    """A server of which only lnet_selftest asks facts, and two clients; "!" puts a tcp network on InfiniBand."""
    server = node("oss1", 11, "oss", *nids, soft=soft)
    clients = [node(f"client{i}", 20 + i, "client", *nids, soft=soft, route=route) for i in (1, 2)]
    return [replace(server, facts={"nids": server.facts["nids"]}), *clients]


def soft(workload: str, nodes: list[Node], **options: object) -> bool:
    found = workloads()[workload]
    return found.soft(found.options.model_validate(options), nodes)


LUSTRES = ("ior", "failover", "lnet_selftest")


@pytest.mark.parametrize("workload", LUSTRES)
def test_lnet_over_verbs_is_and_over_tcp_is_not(workload: str) -> None:
    assert soft(workload, bed("o2ib"))
    assert not soft(workload, bed("tcp"))
    assert not soft(workload, bed("tcp!")), "tcp on the interface that soft-RoCE is on"


@pytest.mark.parametrize("workload", LUSTRES)
def test_hardware_is_not(workload: str) -> None:
    assert not soft(workload, bed("o2ib", soft=False))


def test_a_network_that_was_asked_for_counts_alone() -> None:
    both = bed("o2ib", "tcp")
    assert soft("lnet_selftest", both)
    assert not soft("lnet_selftest", both, net="tcp")
    assert soft("ior", both), "a node on both may use either"


@pytest.mark.parametrize("workload", ["ior", "failover"])
def test_servers_behind_a_router_count(workload: str) -> None:
    assert soft(workload, bed("tcp", route="o2ib"))
    assert not soft(workload, bed("tcp", route="tcp1"))
    assert not soft(workload, bed("tcp", route="o2ib", soft=False))


def test_verbs_themselves_are_whatever_lnet_does() -> None:
    assert soft("rdma", bed("tcp"))
    assert not soft("rdma", bed("tcp", soft=False))


def test_tcp_itself_is_not_over_verbs() -> None:
    assert not soft("iperf3", bed("o2ib"), fabric="ib0")


def test_a_node_without_lustre_says_nothing() -> None:
    assert NETS[:2] == ("sh", "-c")
    assert not soft("ior", bed())
