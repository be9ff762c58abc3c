"""What LNet of a bed is said to be, from what its guests say and from what is known of those that say nothing."""

from pathlib import Path
from typing import Any

import pytest

from vmlab.errors import HostError, UsageError
from vmlab.lab.filesystems import lnet
from vmlab.lab.filesystems.lnet import LnetNode
from vmlab.lustre.lnetctl import LocalNi, ShownRoute
from vmlab.lustre.survey import Survey
from vmlab.lustre.version import Version
from vmlab.topology import Topology, load, loads
from vmlab.values.nid import Nid

from .beds import answered, opening

ROOT = Path(__file__).parents[3]
NEW = Version(2, 17, 57)
HOST: Any = None


@pytest.fixture
def two_hop() -> Topology:
    return load(ROOT / "topologies" / "two-hop-routing.yaml")


def up(topology: Topology, *, without: tuple[str, ...] = ()) -> dict[str, Survey]:
    """All nodes as they should be, their routes up, as LNet says as long as it has not asked again."""
    configs = answered(topology, {}, {}).configs
    return {
        node: Survey(
            version=NEW,
            nis=tuple(LocalNi(place.nid, up=True, interfaces=(place.name,)) for place in config.interfaces),
            routes=tuple(ShownRoute(route.net, route.gateway, route.hops, up=True) for route in config.routes),
            forwards=config.forwarding,
        )
        for node, config in configs.items()
        if node not in without
    }


def shown(
    monkeypatch: pytest.MonkeyPatch, topology: Topology, surveys: dict[str, Survey], silent: dict[str, str]
) -> dict[str, LnetNode]:
    monkeypatch.setattr(lnet, "opened", opening(answered(topology, surveys, silent)))
    return {node.node: node for node in lnet.show(HOST, topology)}


def routes(node: LnetNode) -> dict[str, tuple[bool | None, str]]:
    return {route.net: (route.up, route.why) for route in node.routes}


def test_routes_are_up_where_all_routers_are(monkeypatch: pytest.MonkeyPatch, two_hop: Topology) -> None:
    found = shown(monkeypatch, two_hop, up(two_hop), {})
    assert routes(found["client1"]) == {"o2ib": (True, ""), "tcp": (True, "")}


def test_a_route_over_a_router_that_is_off_is_not_up(monkeypatch: pytest.MonkeyPatch, two_hop: Topology) -> None:
    found = shown(monkeypatch, two_hop, up(two_hop, without=("router2",)), {"router2": "off"})
    assert routes(found["client1"]) == {"o2ib": (False, "router2 is off"), "tcp": (False, "router2 is off")}
    assert found["router2"].problem == "off"


def test_nor_is_one_that_goes_on_over_it(monkeypatch: pytest.MonkeyPatch, two_hop: Topology) -> None:
    found = shown(monkeypatch, two_hop, up(two_hop, without=("router2",)), {"router2": "off"})
    assert routes(found["mds1"]) == {
        "o2ib1": (False, "nothing leads on from router1: router2 is off"),
        "tcp": (True, ""),
    }


def test_a_router_that_does_not_answer_is_not_known_to_be_down(
    monkeypatch: pytest.MonkeyPatch, two_hop: Topology
) -> None:
    silent = {"router2": "10.77.0.14 does not answer"}
    found = shown(monkeypatch, two_hop, up(two_hop, without=("router2",)), silent)
    assert routes(found["client1"]) == {"o2ib": (True, ""), "tcp": (True, "")}


@pytest.mark.parametrize(
    ("survey", "why"),
    [
        (Survey(version=NEW, lnet="LNet is not loaded"), "router2: LNet is not loaded"),
        (Survey(version=NEW), "router2: LNet has no network"),
        (Survey(), "router2 has no Lustre"),
        (
            Survey(version=NEW, nis=(LocalNi(Nid.parse("10.77.3.14@o2ib1"), up=True, interfaces=("ib1",)),)),
            "router2 does not forward",
        ),
    ],
)
def test_nor_is_one_over_a_router_that_runs_and_does_not_forward(
    monkeypatch: pytest.MonkeyPatch, two_hop: Topology, survey: Survey, why: str
) -> None:
    found = shown(monkeypatch, two_hop, {**up(two_hop), "router2": survey}, {})
    assert routes(found["client1"])["tcp"] == (False, why)


def test_without_lnetctl_nobody_says_that_a_router_does_not_forward(
    monkeypatch: pytest.MonkeyPatch, two_hop: Topology
) -> None:
    surveys = up(two_hop)
    surveys["router2"] = Survey(version=NEW, nis=(LocalNi(Nid.parse("10.77.3.14@o2ib1"), up=True, interfaces=()),))
    assert routes(shown(monkeypatch, two_hop, surveys, {})["client1"])["tcp"] == (True, "")


def test_why_there_is_no_lnet_is_told(monkeypatch: pytest.MonkeyPatch, two_hop: Topology) -> None:
    surveys = up(two_hop) | {"mds1": Survey(version=NEW, lnet="LNet is not loaded"), "oss1": Survey()}
    found = shown(monkeypatch, two_hop, surveys, {})
    assert found["mds1"].problem == "LNet is not loaded"
    assert found["oss1"].problem == "no Lustre in the image demo"


def ping(
    monkeypatch: pytest.MonkeyPatch, topology: Topology, surveys: dict[str, Survey], silent: dict[str, str]
) -> None:
    monkeypatch.setattr(lnet, "opened", opening(answered(topology, surveys, silent)))
    lnet.ping(HOST, topology)


def test_a_ping_without_lustre_names_the_image(monkeypatch: pytest.MonkeyPatch, two_hop: Topology) -> None:
    with pytest.raises(HostError, match="the image has no Lustre: demo") as caught:
        ping(monkeypatch, two_hop, dict.fromkeys(two_hop.nodes, Survey()), {})
    assert caught.value.status == 4


def test_so_does_one_without_file_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = loads(
        "name: two\nfabrics: {e: {kind: ethernet, lnet: tcp}}\n"
        "nodes: {a: {role: client, image: rocky9, fabrics: [e]}, b: {role: client, image: demo, fabrics: [e]}}\n"
    )
    with pytest.raises(HostError, match="two: the image has no Lustre: rocky9, demo"):
        ping(monkeypatch, topology, dict.fromkeys(topology.nodes, Survey()), {})


def test_a_node_of_a_file_system_without_lustre_is_named(monkeypatch: pytest.MonkeyPatch, two_hop: Topology) -> None:
    with pytest.raises(HostError, match="oss1 must serve or mount a file system, and the image has no Lustre: demo"):
        ping(monkeypatch, two_hop, {**up(two_hop), "oss1": Survey()}, {})


def test_nobody_who_answers_is_not_nobody_with_lustre(monkeypatch: pytest.MonkeyPatch, two_hop: Topology) -> None:
    with pytest.raises(UsageError, match=r"no node of two-hop answers .*router1: off"):
        ping(monkeypatch, two_hop, {}, dict.fromkeys(two_hop.nodes, "off"))
