"""Recorded output of lnetctl and lctl, and what no text may do to the readers."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.lustre import lnetctl
from vmlab.lustre.lnetctl import LnetError, LocalNi, ShownRoute
from vmlab.values.nid import Nid

CASES = Path(__file__).parents[2] / "cases" / "lustre"
TCP = Nid.parse("10.77.0.10@tcp")


def said(name: str) -> str:
    """What the commands of a recording printed; its first line is the command line."""
    return (CASES / f"{name}.txt").read_text().partition("\n")[2]


def test_net_show() -> None:
    assert lnetctl.local_nis(said("lnetctl-net-show-default")) == (LocalNi(TCP, up=True, interfaces=("neta",)),)
    assert lnetctl.local_nis(said("lnetctl-net-show-verbose")) == (
        LocalNi(TCP, up=True, interfaces=("neta",), health=1000),
    )
    first = said("o2ib-add-n13").partition("net:\n")[2]
    assert lnetctl.local_nis("net:\n" + first) == (
        LocalNi(Nid.parse("10.77.1.13@o2ib"), up=True, interfaces=("netb",)),
    )


def test_export() -> None:
    whole, _, backup = said("lnetctl-export").partition("======\n")
    assert [ni.nid for ni in lnetctl.local_nis(whole)] == [TCP]
    assert lnetctl.local_nis(backup) == ()  # it names interfaces, not NIDs
    assert not lnetctl.forwards(whole)
    assert lnetctl.settings(backup)["discovery"] == 1


# lustre_lnet_show_route and lustre_lnet_show_routing of b2_10, and the form of 2.17.
ROUTES = """\
route:
    - net: o2ib
      gateway: 10.77.2.11@tcp
      hop: 2
      priority: 0
      state: up
    - net: o2ib1
      gateway: 10.77.2.12@tcp
      hop: -1
      priority: 0
      state: down
"""


def test_routes() -> None:
    assert lnetctl.routes(ROUTES) == (
        ShownRoute("o2ib", Nid.parse("10.77.2.11@tcp"), 2, up=True),
        ShownRoute("o2ib1", Nid.parse("10.77.2.12@tcp"), -1, up=False),
    )
    assert lnetctl.routes("route:\n-     net: o2ib\n      gateway: 10.77.2.11@tcp\n") == (
        ShownRoute("o2ib", Nid.parse("10.77.2.11@tcp")),
    )
    assert lnetctl.routes("") == ()


def test_forwarding() -> None:
    assert lnetctl.forwards("routing:\n    - cpt[0]:\n          tiny:\n              npages: 0\n    - enable: 1\n")
    assert lnetctl.forwards("routing:\n    enable: 1\n")
    assert not lnetctl.forwards("routing:\n    - enable: 0\n")


def test_global_show() -> None:
    found = lnetctl.settings(said("lnetctl-global-show").partition("statistics:")[0])
    assert found["discovery"] == 1
    assert found["transaction_timeout"] == 150


def test_nids() -> None:
    assert lnetctl.nids(said("lctl-list_nids")) == (TCP,)
    assert lnetctl.nids("0@lo\n10.77.0.10@tcp\n") == (TCP,)
    assert lnetctl.nids(said("lctl-network-notloaded")) == ()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "lnetctl-net-add-err",
            [
                LnetError("add", "net", 100, "cannot add LNet NI"),
                LnetError("add", "net", 17, "cannot add LNet NI"),
                LnetError("add", "net", 2, "cannot parse net"),
                LnetError("del", "net", 22, "cannot del network"),
            ],
        ),
        (
            "lnetctl-import-yaml",
            [
                LnetError("add", "import", 42, "No interface matching 'nosuch'"),
                LnetError("add", "net", 17, "cannot add LNet NI"),
                LnetError("add", "import", 22, "Failed to configure NI on net 'tcp' rc = -22"),
            ],
        ),
        ("lnetctl-ping-err", [LnetError("manage", "ping", 113, "failed to ping 10.77.0.99@tcp: No route to host")]),
        ("o2ib-err-no-rdma-dev", [LnetError("add", "net", 100, "cannot add LNet NI")]),
        ("lnetctl-net-show-default", []),
    ],
)
def test_errors(name: str, wanted: list[LnetError]) -> None:
    found = lnetctl.errors(said(name))
    assert list(found) == wanted
    assert all(f"errno {error.number}: " in lnetctl.meaning(error) for error in found)


def test_two_pings_that_fail_are_two_errors() -> None:
    text = "".join(part for part in said("o2ib-ping-err").splitlines(keepends=True) if not part.startswith("real"))
    first, _, second = text.partition("manage:")[2].partition("manage:")
    assert [lnetctl.errors("manage:" + part)[0].number for part in (first, second)] == [100, 113]


def test_modules_and_networks_that_are_not_there() -> None:
    assert lnetctl.not_loaded(said("lctl-network-notloaded"))
    assert not lnetctl.not_configured(said("lctl-network-notloaded"))
    assert lnetctl.not_configured(said("lnet-modprobe-err-badif"))
    assert not lnetctl.not_loaded(said("lnetctl-net-show-default"))


NETWORK_IS_DOWN = {
    "lnetctl 2.15.90": (CASES / "lnetctl-net-show-down-2.15.90.txt").read_text(),
    "lnetctl 2.12": 'show:\n    - net:\n        errno: -100\n        descr: "cannot get networks: Network is down"\n',
    "netlink": "Reader error: 'Network is down' at 0\n",
    "lctl network": "LNET configure error 100: Network is down\n",
    "lctl list_nids": "IOC_LIBCFS_GET_NI error 100: Network is down\n",
    "modprobe": "modprobe: ERROR: could not insert 'lustre': Network is down\n",
}


@pytest.mark.parametrize("tool", NETWORK_IS_DOWN)
def test_network_is_down_is_not_configured(tool: str) -> None:
    assert lnetctl.not_configured(NETWORK_IS_DOWN[tool])
    assert not lnetctl.not_loaded(NETWORK_IS_DOWN[tool])
    for error in lnetctl.errors(NETWORK_IS_DOWN[tool]):
        assert "LNet is loaded and has no network" in lnetctl.meaning(error)


@pytest.mark.parametrize(
    "other",
    [
        "manage:\n- ping:\n  errno: -100\n  descr: ! 'failed to ping 10.77.1.12@o2ib: Network is down'\n",
        "failed to ping 10.77.0.9@tcp: Network is down\n",
        "RTNETLINK answers: Network is down\n",
        "ssh: connect to host oss1 port 22: Network is down\n",
    ],
)
def test_a_network_that_is_down_elsewhere_says_nothing_of_lnet_here(other: str) -> None:
    assert not lnetctl.not_configured(other)


def test_what_2_15_90_shows_when_it_is_up() -> None:
    text = (CASES / "lnetctl-net-show-2.15.90.txt").read_text()
    assert lnetctl.local_nis(text) == (LocalNi(Nid.parse("10.244.0.10@tcp"), up=True, interfaces=("eth0",)),)
    assert not lnetctl.not_configured(text)


TEXTS = [path.read_text() for path in sorted(CASES.glob("l*.txt"))]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(TEXTS), *2 * [st.integers(0, 3000)], st.text())
)
def test_any_text_is_read(text: str) -> None:
    for read in (lnetctl.local_nis, lnetctl.routes, lnetctl.errors, lnetctl.nids):
        assert isinstance(read(text), tuple)
    lnetctl.forwards(text)
    lnetctl.settings(text)
