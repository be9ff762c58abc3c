"""LNet over several interfaces and several routers, on the image that VMLAB_LUSTRE_IMAGE names. Tests go in order."""

# ruff: noqa: T201 (what each step took is printed)

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .conftest import MINUTES, Vmlab, remains

IMAGE = os.environ.get("VMLAB_LUSTRE_IMAGE", "")
pytestmark = [
    pytest.mark.lustre,
    pytest.mark.skipif(not IMAGE, reason="VMLAB_LUSTRE_IMAGE names no image that carries Lustre"),
]

BED = "t-paths"
LONG_S = 15 * MINUTES
NODE = {"image": IMAGE, "cpus": 1, "memory": "1GiB", "pin": "shared", "numa": "none"}
TOPOLOGY = {
    "name": BED,
    "fabrics": {f"net{number}": {"kind": "ethernet", "lnet": f"tcp{number}"} for number in range(2)},
    "nodes": {
        "oss1": {**NODE, "role": "oss", "fabrics": {"net0": {"count": 2}}},
        "router[1-2]": {**NODE, "role": "router", "memory": "2GiB", "fabrics": ["net0", "net1"]},
        "client1": {**NODE, "role": "client", "fabrics": {"net1": {"count": 2}}},
    },
}


class Paths:
    """The bed, with calls that tell how long they took."""

    def __init__(self, vmlab: Vmlab, file: str) -> None:
        self.vmlab, self.file = vmlab, file

    def __call__(self, *arguments: str, status: int = 0) -> str:
        begin = time.monotonic()
        said = self.vmlab.run(*arguments, status=status, deadline_s=LONG_S)
        print(f"{time.monotonic() - begin:7.1f} s  vmlab {' '.join(arguments)}")
        return said

    def on(self, node: str, *command: str) -> str:
        return self("ssh", BED, node, "--", *command)

    def pings(self, status: int = 0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self("lnet", "ping", self.file, "-o", "json", status=status))
        return found

    def nids(self, node: str) -> list[str]:
        nodes = json.loads(self("lnet", "show", self.file, "-o", "json"))
        return [nid["nid"] for one in nodes if one["node"] == node for nid in one["nids"]]


@pytest.fixture(scope="module")
def paths(vmlab: Vmlab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paths]:
    file = tmp_path_factory.mktemp("paths") / f"{BED}.yaml"
    file.write_text(yaml.safe_dump(TOPOLOGY, sort_keys=False))
    bed = Paths(vmlab, str(file))
    print(bed("up", str(file), "--timings", "--timeout", "15m"))
    yield bed
    bed("down", BED, "--yes")
    assert remains(BED, vmlab) == []


def test_every_source_every_nid_and_every_router_is_a_path(paths: Paths) -> None:
    oss, client = paths.nids("oss1"), paths.nids("client1")
    pings = paths.pings()
    assert all(ping["ok"] for ping in pings)
    gateways = {paths.nids(router)[0] for router in ("router1", "router2")}
    across = [(p["source"], p["nid"], p["via"]) for p in pings if (p["node"], p["other"]) == ("oss1", "client1")]
    assert sorted(across) == sorted((s, n, g) for s in oss for n in client for g in gateways)
    near = {(p["source"], p["nid"]) for p in pings if p["node"] == "oss1" and not p["via"]}
    assert near == {(source, gateway) for source in oss for gateway in gateways}


def test_up_again_does_nothing(paths: Paths) -> None:
    paths("up", paths.file)
    assert "nothing to change" in paths.vmlab.complaints


def test_a_dead_cable_is_named_though_the_nodes_talk_over_the_other(paths: Paths) -> None:
    """What router2 sends to the second interface of oss1 gets lost; all interfaces are up."""
    dead, router = paths.nids("oss1")[1], paths.nids("router2")
    lost = ("lladdr", "02:00:00:00:00:01", "nud", "permanent", "dev", "net0")
    paths.on("router2", "ip", "neigh", "replace", dead.partition("@")[0], *lost)
    bad = [ping for ping in paths.pings(status=8) if not ping["ok"]]
    print(paths.vmlab.complaints)
    assert f"router2 does not reach oss1 ({dead} from {router[0]}), 1 of 2 paths" in paths.vmlab.complaints
    assert f"oss1 does not reach router2 ({router[0]} from {dead}), 1 of 2 paths" in paths.vmlab.complaints
    assert all("router2" in (ping["node"], ping["other"]) or ping["via"] in router for ping in bad)

    paths("up", paths.file, status=6)
    print(paths.vmlab.complaints)
    assert "router2 and oss1 cannot talk over LNet" in paths.vmlab.complaints
    assert f"{dead} from {router[0]}" in paths.vmlab.complaints


def test_a_router_that_is_off_is_named_though_the_other_forwards(paths: Paths) -> None:
    gateway = paths.nids("router2")[0]
    paths("power", "off", BED, "router2")
    pings = paths.pings(status=8)
    across = [p for p in pings if (p["node"], p["other"]) == ("oss1", "client1")]
    assert {p["via"] for p in across if not p["ok"]} == {gateway}
    assert {p["via"] for p in across if p["ok"]}.isdisjoint([gateway])
    assert f"oss1 does not reach client1 (via {gateway}), 4 of 8 paths" in paths.vmlab.complaints
    print(paths.vmlab.complaints)
