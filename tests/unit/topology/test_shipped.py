"""The topologies that ship with vmlab, and the schema that editors read beside them."""

import json
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from labhost.test_cells import BED, GIGANTIC
from labhost.test_passthrough import ONE, VFS
from pydantic import BaseModel

from vmlab.lab.beds.plan import look_at_records
from vmlab.lab.ground.progress import Silent
from vmlab.lustre.lnet import routes
from vmlab.report.plain import dumped
from vmlab.topology import Topology, load, schema
from vmlab.values.size import Bytes
from vmlab.workloads import Endpoint, Node, options_by_name, workloads
from vmlab.workloads._options import points

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "topologies").glob("*.yaml"))
GOLDEN = ROOT / "tests" / "golden"
SCHEMA = ROOT / "topologies" / "schema.json"
HOSTS = ROOT / "tests" / "hosts"
PUBLISHED = {
    "kvm-rdma": "fta-1s",
    "lnet-4x4": "nps4",
    "oss-benchmark": "oss-x5670",
    "ior-7-clients": "nps4",
    "fta-sriov": "fta-1s",
    "iozone-servers": "nps4",
    "fio-nodes": "nps4",
    "mpi-shapes": "nps4",
}
"""Published set-ups, each with a recorded host that is like the authors', and large enough."""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_loads_and_is_valid_for_editors(path: Path) -> None:
    assert load(path).description
    first, *_ = path.read_text().splitlines()
    assert first == "# yaml-language-server: $schema=schema.json"
    jsonschema.validate(yaml.safe_load(path.read_text()), schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "text",
    [
        VFS.format(pf="0000:21:00.0", one="/dev/sda", other="/dev/sdb"),
        BED + GIGANTIC,
        ONE.format(name="t-one", attach="passthrough", device="address: '0000:21:00.0'", memory="512MiB"),
    ],
)
def test_the_lab_hosts_load_too(text: str, tmp_path: Path) -> None:
    """A mistake in them is told here in seconds, not there after many minutes."""
    path = tmp_path / "lab-host.yaml"
    path.write_text(text)
    assert load(path).nodes


def test_the_example_of_everything_is_valid_for_editors() -> None:
    text = (GOLDEN / "good" / "everything.yaml").read_text()
    jsonschema.validate(yaml.safe_load(text), schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "name",
    ["unknown-key-top", "unknown-role", "wrong-types", "wrong-sizes", "fabric-words", "no-value", "missing-keys"],
)
def test_editors_see_what_the_loader_refuses(name: str) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    assert list(validator.iter_errors(yaml.safe_load((GOLDEN / "bad" / f"{name}.yaml").read_text())))


def test_the_schema(golden: Callable[[Path, str], None]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    golden(GOLDEN / "schema.json", json.dumps(schema(), indent=2) + "\n")


def described(kinds: Mapping[str, type[BaseModel]], *, anew: bool = False) -> str:
    """The text of the shipped schema, of those workloads that it names already, or `anew` of all.

    It takes what it does not name, so a workload that is added needs no change there to be written in a file, and
    editors complete its options when `pytest --regenerate` has written it the next time.
    """
    named = json.loads(SCHEMA.read_text())["properties"]["workloads"]["items"]["properties"]
    assert set(named) <= set(kinds)
    return dumped(schema({name: kind for name, kind in kinds.items() if anew or name in named})) + "\n"


def test_the_shipped_schema_is_what_the_command_prints(
    golden: Callable[[Path, str], None], request: pytest.FixtureRequest
) -> None:
    golden(SCHEMA, described(options_by_name(), anew=bool(request.config.getoption("--regenerate"))))


def test_a_workload_that_is_added_is_valid_in_the_shipped_schema_as_it_is() -> None:
    class Options(BaseModel):
        """A new benchmark's."""

        depth: int = 1

    assert described({**options_by_name(), "new_bench": Options}) == SCHEMA.read_text()
    bed = {"name": "a", "nodes": {"n1": {"role": "client"}}, "workloads": [{"new_bench": {"depth": [1, 2]}}]}
    jsonschema.validate(bed, json.loads(SCHEMA.read_text()), jsonschema.Draft202012Validator)


def test_workloads_in_the_schema() -> None:
    class Inner(BaseModel):
        depth: int = 1

    class Options(BaseModel):
        """A benchmark's."""

        inner: Inner = Inner()

    described: dict[str, Any] = schema({"bench": Options})
    bed: dict[str, Any] = {"name": "a", "nodes": {"n1": {"role": "client"}}}
    jsonschema.validate(bed | {"workloads": [{"bench": {"inner": {"depth": 2}}}, {"bench": None}]}, described)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bed | {"workloads": [{"bench": {"inner": {"depth": "x"}}}]}, described)


@pytest.fixture(scope="module")
def shipped() -> dict[str, Topology]:
    return {path.stem: load(path) for path in SHIPPED}


def test_what_they_are(shipped: dict[str, Topology]) -> None:
    assert set(shipped) == {
        "burst-buffer", "ha-topology", "ha-two-hosts", "minimal", "oss-benchmark-two-hosts", "two-hop-routing",
        "two-hop-two-hosts",
        *PUBLISHED, *(f"{name}-small" for name in PUBLISHED),
    }  # fmt: skip
    assert list(shipped["ha-topology"].nodes) == ["mds1", "mds2", "oss1", "oss2", "client1"]
    assert all(len(target.servers) == 2 for target in shipped["ha-topology"].targets)
    ftas = {name: node for name, node in shipped["fta-sriov"].nodes.items() if "fta" in node.roles}
    assert list(ftas)[:: len(ftas) - 1] == ["fta01", "fta11"]
    assert {(n.cpus, str(n.memory), str(n.disk), n.fabrics["ib0"]) for n in ftas.values()} == {(1, "4GiB", "20GiB", 1)}
    oss = shipped["oss-benchmark"].nodes
    assert {(n.cpus, str(n.memory), sum(n.fabrics.values())) for n in oss.values()} == {(6, "12GiB", 2)}
    assert {n.roles for n in shipped["burst-buffer"].nodes.values()} == {("mds", "oss", "client")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_small_ones_are_the_large_ones_on_two_cores(shipped: dict[str, Topology], name: str) -> None:
    large, small = shipped[name], shipped[f"{name}-small"]
    assert small.fabrics.keys() == large.fabrics.keys()
    assert {fabric.attach for fabric in small.fabrics.values()} == {"virtio"}
    assert {(node.cpus, node.pin, node.numa.policy) for node in small.nodes.values()} == {(1, "shared", "none")}
    assert sum(node.memory for node in small.nodes.values()) <= Bytes.parse("5GiB")
    assert {target.kind for target in small.targets} == {target.kind for target in large.targets}
    assert {entry.name for entry in large.workloads} <= {entry.name for entry in small.workloads}
    assert bool(small.shapes) == bool(large.shapes)


@pytest.mark.parametrize(("name", "host"), PUBLISHED.items())
def test_the_published_ones_fit_the_hosts_that_they_are_for(shipped: dict[str, Topology], name: str, host: str) -> None:
    for bed, record in ((shipped[name], host), (shipped[f"{name}-small"], "two-cores")):
        for shape in (bed, *(shape.topology for shape in bed.shapes)):
            prepared = look_at_records(shape, [str(HOSTS / record)], progress=Silent())
            assert set(prepared.nodes) == set(shape.nodes)


def test_those_on_two_hosts_are_on_both_and_share_what_both_see(shipped: dict[str, Topology]) -> None:
    for name, record in (("ha-two-hosts", "two-cores"), ("two-hop-two-hosts", "two-cores")):
        prepared = look_at_records(
            shipped[name], [f"{host}={HOSTS / record}" for host in shipped[name].hosts], progress=Silent()
        )
        assert all(part.desired.nodes for part in prepared.parts.values())
    bed = shipped["oss-benchmark-two-hosts"]
    prepared = look_at_records(bed, [f"{host}={HOSTS / 'oss-x5670'}" for host in bed.hosts], progress=Silent())
    passed = [[len(node.functions) for node in part.desired.nodes.values()] for part in prepared.parts.values()]
    assert passed == [[2, 2], [2, 2]]
    ha = shipped["ha-two-hosts"]
    for target in ha.targets:
        assert len({ha.nodes[server].host for server in target.servers}) == len(target.servers) == 2
        # The disk of an MGT without one is MDT0000's.
        wanted = {target.device} - {None}
        assert all(wanted <= {disk.device for disk in ha.nodes[server].disks} for server in target.servers)


def test_what_the_papers_vary_is_varied(shipped: dict[str, Topology]) -> None:
    measured = {
        name: [(entry.name, len(points(workloads()[entry.name], entry.options))) for entry in shipped[name].workloads]
        for name in PUBLISHED
    }
    assert measured == {
        "kvm-rdma": [("rdma", 1)],  # all sizes in one
        "lnet-4x4": [("lnet_selftest", 18), ("lnet_selftest", 18)],
        "oss-benchmark": [("rdma", 1), ("lnet_selftest", 9), ("obdfilter_survey", 1)],
        "ior-7-clients": [("ior", 14)],
        "fta-sriov": [("rdma", 1), ("ior", 11)],
        "iozone-servers": [("iozone", 3), ("iozone", 3)],
        "fio-nodes": [("fio", 52), ("fio", 26), ("fio", 26), ("fio", 2)],
        "mpi-shapes": [("osu", 1), ("osu", 1)],
    }
    assert len(shipped["mpi-shapes"].shapes) == 8


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_their_workloads_fit_their_nodes(path: Path) -> None:
    bed = load(path)
    places = {
        name: [("mgmt", "management"), *((fabric, bed.fabrics[fabric].kind) for fabric in node.fabrics)]
        for name, node in bed.nodes.items()
    }
    places |= {
        name: [(fabric, bed.fabrics[fabric].kind) for fabric in machine.addresses]
        for name, machine in bed.externals.items()
    }
    nodes = [
        Node(name, node.roles, tuple(Endpoint(f, kind, IPv4Address("10.0.0.1"), f) for f, kind in places[name]))
        for name, node in (*bed.nodes.items(), *bed.externals.items())
    ]
    for entry in bed.workloads:
        workload = workloads()[entry.name]
        for point in points(workload, entry.options):
            assert workload.takes_part(point.options, nodes)


def test_the_two_hops(shipped: dict[str, Topology]) -> None:
    bed = shipped["two-hop-routing"]
    nets = {
        name: {net for fabric in node.fabrics if (net := bed.fabrics[fabric].lnet)} for name, node in bed.nodes.items()
    }
    found = routes(nets, bed.select("@router"))
    assert {(r.node, r.net, r.hops) for r in found if r.hops == 2} == {
        ("mds1", "o2ib1", 2), ("oss1", "o2ib1", 2), ("client1", "o2ib", 2),
    }  # fmt: skip
