"""Routes, against the examples of the design and against a plain search."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from vmlab.lustre.lnet import Route, distances, reaches, routes

TWO_HOPS = {
    "oss1": {"o2ib"},
    "router1": {"o2ib", "tcp"},
    "router2": {"tcp", "o2ib1"},
    "client1": {"o2ib1"},
}


def test_two_hops() -> None:
    assert routes(TWO_HOPS, ["router1", "router2"]) == (
        Route("oss1", "o2ib1", (("router1", "o2ib"),), 2),
        Route("oss1", "tcp", (("router1", "o2ib"),), 1),
        Route("router1", "o2ib1", (("router2", "tcp"),), 1),
        Route("router2", "o2ib", (("router1", "tcp"),), 1),
        Route("client1", "o2ib", (("router2", "o2ib1"),), 2),
        Route("client1", "tcp", (("router2", "o2ib1"),), 1),
    )


def test_equal_routers_all_become_gateways() -> None:
    memberships = {"a": {"tcp"}, "r2": {"tcp", "o2ib"}, "r1": {"tcp", "o2ib"}, "b": {"o2ib"}}
    assert routes(memberships, ["r1", "r2"])[0] == Route("a", "o2ib", (("r1", "tcp"), ("r2", "tcp")), 1)


def test_a_node_on_two_networks_uses_both() -> None:
    memberships = {"a": {"tcp", "tcp1"}, "r1": {"tcp", "o2ib"}, "r2": {"tcp1", "o2ib"}}
    assert routes(memberships, ["r1", "r2"])[0] == Route("a", "o2ib", (("r1", "tcp"), ("r2", "tcp1")), 1)


def test_only_routers_route_and_longer_ways_do_not_count() -> None:
    assert routes({"a": {"tcp"}, "b": {"tcp", "o2ib"}}, []) == ()
    memberships = {"a": {"tcp"}, "r1": {"tcp", "o2ib"}, "r2": {"tcp", "tcp1"}, "r3": {"tcp1", "o2ib"}}
    assert Route("a", "o2ib", (("r1", "tcp"),), 1) in routes(memberships, ["r1", "r2", "r3"])


NETS = ("tcp", "tcp1", "o2ib", "o2ib1", "o2ib2")


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from(NETS)), max_size=8), st.data())
def test_each_gateway_is_one_router_nearer(memberships: dict[str, set[str]], data: st.DataObject) -> None:
    routers = data.draw(st.lists(st.sampled_from(sorted(memberships)), unique=True) if memberships else st.just([]))
    between = distances(memberships, routers)
    found = {(route.node, route.net): route for route in routes(memberships, routers)}
    for node, net in product(memberships, between):
        here = memberships[node]
        reached = reaches(here, {net}, between)
        assert ((node, net) in found) == (reached and net not in here)
        if (node, net) not in found:
            continue
        route = found[node, net]
        assert route.gateways
        assert route.hops == min(between[net][start] for start in here if start in between[net])
        for router, via in route.gateways:
            assert router in routers
            assert router != node
            assert via in here & memberships[router]
            assert min(between[net][one] for one in memberships[router] if one in between[net]) == route.hops - 1
