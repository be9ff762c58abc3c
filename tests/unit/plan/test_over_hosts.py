"""A bed of several hosts whose fabrics may be the hosts' own: what joins guests depends on who passes what."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vmlab.errors import HostError
from vmlab.lab.beds import plan
from vmlab.lab.beds.decide import Prepared, decide_all
from vmlab.lab.ground.progress import Silent
from vmlab.plan.observed import Observed
from vmlab.plan.overlay import HostLinks
from vmlab.topology import Topology, loads

ROOT = Path(__file__).parents[3]
HOSTS = ROOT / "tests/hosts"
PASSED = (ROOT / "topologies/oss-benchmark-two-hosts.yaml").read_text()
AUTO = PASSED.replace("attach: passthrough", "attach: auto")
SMALL = re.sub("cpus: 6, memory: 12GiB", "cpus: 1, memory: 512MiB", AUTO)
SMALL = SMALL.replace("dedicated", "shared").replace("numa: strict", "numa: none")
WITH, WITHOUT = "oss-x5670", "two-cores"  # hosts with HCAs, and without


@pytest.fixture(autouse=True)
def really(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of hosts are looked at as hosts that are there: each has its address, and networks go over them."""

    def decide(topology: Topology, looks: Mapping[str, Observed], *rest: Any, **how: Any) -> Prepared:
        links = {name: HostLinks({host.address: 1500}) for name, host in topology.hosts.items() if host.address}
        looks = {name: replace(look, links=links.get(name, HostLinks())) for name, look in looks.items()}
        return decide_all(topology, looks, *rest, joined=True, **how)

    monkeypatch.setattr(plan, "decide_all", decide)


def on_both(bed: Topology, record: str) -> Prepared:
    return plan.look_at_records(bed, [f"{host}={HOSTS / record}" for host in bed.hosts], progress=Silent())


def over(prepared: Prepared) -> set[tuple[str, ...]]:
    return {tuple(end.fabric for end in part.desired.overlays) for part in prepared.parts.values()}


def bed(text: str) -> Topology:
    return loads(text, "bed.yaml")


def large(text: str) -> Topology:
    return bed(text.replace("lnet: o2ib", "lnet: o2ib\n    mtu: 4092"))


def on_site(text: str) -> Topology:
    site = "management: {bridge: br0, addresses: 10.9.0.50-10.9.0.99}\n"
    return bed(site + re.sub("address: [0-9.]+, ", "", text))


def mtus(prepared: Prepared) -> set[int | None]:
    return {address.mtu for node in prepared.members.values() for address in node.addresses}


def test_functions_of_the_hosts_are_joined_by_nothing_of_ours() -> None:
    for text in (PASSED, AUTO):
        passed = on_both(bed(text), WITH)
        assert over(passed) == {("mgmt",)}
        assert mtus(passed) == {None}
    assert over(on_both(bed(SMALL), WITHOUT)) == {("mgmt", "storage", "ib0")}


def test_only_what_goes_over_vxlan_has_to_fit_into_it() -> None:
    assert mtus(on_both(large(AUTO), WITH)) == {None, 4092}
    with pytest.raises(HostError, match="fabric ib0: packets of 4092 bytes do not fit"):
        on_both(large(SMALL), WITHOUT)


def test_where_nothing_has_to_be_joined_no_address_is_asked_for() -> None:
    assert over(on_both(on_site(AUTO), WITH)) == {()}
    with pytest.raises(HostError, match="nothing joins the guests of kvm1, kvm2"):
        on_both(on_site(SMALL), WITHOUT)
