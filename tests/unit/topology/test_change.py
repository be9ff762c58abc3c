"""`--set`: a file's values, changed."""

import pytest

from vmlab.errors import TopologyError, UsageError
from vmlab.topology import Topology, loads
from vmlab.values.size import Bytes

BED = """
name: a
image: demo
fabrics:
  ib0.8001: {kind: infiniband, lnet: o2ib}
  eth: {kind: ethernet, lnet: tcp}
nodes:
  "oss[1-4]": &server
    role: oss
    memory: 2GiB
    fabrics: {ib0.8001: {count: 1}}
  "oss[8-9]": *server
  mds1-old: {role: [mds, oss], fabrics: [ib0.8001]}
filesystems:
  lustre:
    mdts: [{servers: mds1-old, size: 1GiB}]
    osts: [{servers: oss1, size: 1GiB}, {servers: oss2, size: 1GiB}]
    mgt: {servers: mds1-old, size: 128MiB}
"""


def changed(*settings: str, text: str = BED) -> Topology:
    return loads(text, "a.yaml", settings=settings)


def memory(topology: Topology) -> dict[str, str]:
    return {name: str(node.memory) for name, node in topology.nodes.items()}


def test_a_folded_key_is_split_where_it_must_be_and_the_nodes_keep_their_order() -> None:
    before = changed()
    after = changed("nodes.oss[2-3],oss9.memory=4GiB")
    assert list(after.nodes) == list(before.nodes)
    told = {"oss2": "4GiB", "oss3": "4GiB", "oss9": "4GiB"}
    assert memory(after) == memory(before) | told


def test_what_an_alias_stands_for_is_not_changed_elsewhere() -> None:
    assert memory(changed("nodes.oss[1-4].memory=3GiB"))["oss8"] == "2GiB"


@pytest.mark.parametrize(
    ("nodes", "meant"),
    [
        ("@mds", {"mds1-old"}),
        ("@oss", {"oss1", "oss2", "oss3", "oss4", "oss8", "oss9", "mds1-old"}),
        ("*", {"oss1", "oss2", "oss3", "oss4", "oss8", "oss9", "mds1-old"}),
        ("oss?", {"oss1", "oss2", "oss3", "oss4", "oss8", "oss9"}),
    ],
)
def test_nodes_are_chosen_as_everywhere(nodes: str, meant: set[str]) -> None:
    after = changed(f"nodes.{nodes}.cpus=7")
    assert {name for name, node in after.nodes.items() if node.cpus == 7} == meant


def test_keys_lead_anywhere_and_the_last_one_counts() -> None:
    after = changed(
        "image=rocky9",
        "fabrics.ib0.8001.mtu=2044",
        "nodes.oss1.fabrics.ib0.8001.count=2",
        "nodes.oss1.disks=[{name: d, size: 1GiB}]",
        "filesystems.lustre.osts.1.size=2GiB",
        "filesystems.lustre.backend=zfs",
        "filesystems.lustre.backend=wbcfs",
        "hosts.local.reserve.cpus=0",
    )
    assert {node.image for node in after.nodes.values()} == {"rocky9"}
    assert after.fabrics["ib0.8001"].mtu == 2044
    assert after.nodes["oss1"].fabrics == {"ib0.8001": 2}
    assert [disk.name for disk in after.nodes["oss1"].disks] == ["d"]
    assert [t.size for t in after.targets if t.kind == "OST"] == [Bytes.parse("1GiB"), Bytes.parse("2GiB")]
    assert after.filesystems["lustre"].backend == "wbcfs"
    assert after.hosts["local"].reserve.cpus == 0


def test_what_is_wrong_is_told_where_it_was_said() -> None:
    with pytest.raises(TopologyError) as caught:
        changed("nodes.oss1.memory=4GB", "nodes.oss2.cups=2", text=BED.replace("name: a", "name: A"))
    first, *others = sorted(map(str, caught.value.problems))
    assert first.startswith("--set nodes.oss1.memory=4GB:1:19: `memory`: ")
    assert others[0].startswith(
        "--set nodes.oss2.cups=2:1:17: unknown key 'cups' in node 'oss2' (did you mean `cpus`? "
    )
    assert others[1].startswith("a.yaml:2:7: ")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("image", "expected KEY=VALUE"),
        ("=x", "expected KEY=VALUE"),
        ("nodes..cpus=1", "expected KEY=VALUE"),
        ("nodes.oss1=1", "expected nodes.NODES.KEY=VALUE"),
        ("nodes.oss7.cpus=1", "no node is called `oss7`"),
        ("nodes.@client.cpus=1", "no node has the role `client`"),
        ("nodes.oss[.cpus=1", "is no node set"),
        ("filesystems.lustre.osts.2.size=1GiB", "no item '2' .expected 0 to 1"),
        ("filesystems.lustre.osts.x.size=1GiB", "no item 'x'"),
        ("image.size=1", "'size' is below 'demo', which has no keys"),
        ("image={", "not YAML"),
    ],
)
def test_keys_that_lead_nowhere(setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        changed(setting)
