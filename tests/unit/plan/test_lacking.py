"""Beds on hosts of which one lacks something of a template: who lacks it is told, and nodes go to the others."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from lxml import etree

from vmlab.errors import HostError
from vmlab.guest.keys import BedKeys
from vmlab.inventory.model import HostInventory
from vmlab.lab.beds.decide import Prepared, decide_all
from vmlab.lab.ground.recorded import recorded
from vmlab.plan.desired import Image
from vmlab.plan.fitting import Fitted
from vmlab.plan.observed import Observed
from vmlab.topology import loads

HOSTS = Path(__file__).parents[3] / "tests/hosts"
BED = "name: b\nhosts: {h1: {}, h2: {}}\nnodes: {'n[1-4]': {role: client, cpus: 1, memory: 512MiB}}\n"
LACKS = "the template server asks for the machine type q35, which QEMU of the host {} does not have"


def decided(text: str, lacking: Mapping[str, str], *, placed: bool = True) -> Prepared:
    def fit(host: str, _name: str, template: etree._Element, _kind: str) -> Fitted:
        if host in lacking:
            raise HostError(LACKS.format(lacking[host]))
        return Fitted(template)

    topology = loads(text, "b.yaml")
    inventories: dict[str, HostInventory] = {name: recorded(HOSTS / "mixed", name) for name in topology.hosts}
    return decide_all(
        topology,
        {name: Observed({}, {}, {}, pool_path="/pool") for name in topology.hosts},
        inventories if placed else {},
        images={(name, "demo"): Image("demo", "/demo.qcow2", 1, "root", None) for name in topology.hosts},
        keys=BedKeys.fresh(Path("b")),
        accel="kvm" if placed else "tcg",
        restart=False,
        recorded=True,
        fit=fit,
    )


def test_nodes_go_where_there_is_what_they_need() -> None:
    assert {host: len(part.desired.nodes) for host, part in decided(BED, {"h1": "kvm1"}).parts.items()} == {
        "h1": 0,
        "h2": 4,
    }


@pytest.mark.parametrize("placed", [True, False], ids=["kvm", "emulated"])
def test_each_host_that_lacks_it_is_told(placed: bool) -> None:
    pinned = BED.replace("'n[1-4]': {", "n1: {host: h1, role: client}, n2: {host: h2, role: client}, n3: {host: h2, ")
    with pytest.raises(HostError) as error:
        decided(pinned, {"h1": "kvm1", "h2": "kvm2"}, placed=placed)
    assert [cause.message for cause in error.value.causes] == [LACKS.format("kvm1"), LACKS.format("kvm2")]


def test_no_host_is_told_with_all_of_them() -> None:
    with pytest.raises(HostError, match=r"no host that n\[1-4\] may be on has what is needed") as error:
        decided(BED, {"h1": "kvm1", "h2": "kvm2"})
    assert [cause.message for cause in error.value.causes] == [LACKS.format("kvm1"), LACKS.format("kvm2")]


def test_who_does_not_fit_beside_the_others_hears_why_not_elsewhere() -> None:
    with pytest.raises(HostError, match=r"n[0-9]+ does not fit beside .*") as error:
        decided(BED.replace("cpus: 1", "cpus: 7"), {"h1": "kvm1"})
    assert f"  h1: {LACKS.format('kvm1')}" in error.value.message.splitlines()
