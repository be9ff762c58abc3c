"""What a good file means."""

import dataclasses
import time
from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict

from vmlab.errors import TopologyError, UsageError
from vmlab.topology import DeviceSelector, Disk, HostSpec, Numa, Reserve, Topology, load, loads
from vmlab.values.pci import PciAddress
from vmlab.values.size import Bytes

EVERYTHING = Path(__file__).parents[2] / "golden" / "good" / "everything.yaml"


class RdmaOptions(BaseModel):
    """Stands for a workload's options."""

    model_config = ConfigDict(extra="forbid")

    verbs: list[Literal["write", "read"]] = ["write"]
    native: bool = False
    iterations: int = 1000


@pytest.fixture(scope="module")
def everything() -> Topology:
    return load(EVERYTHING, workloads={"rdma": RdmaOptions})


def test_nodes_are_unfolded_in_order(everything: Topology) -> None:
    assert list(everything.nodes) == ["mds1", "mds2", "oss1", "oss2", "client1"]
    mds = everything.nodes["mds2"]
    assert (mds.roles, mds.cpus, mds.memory, mds.disk) == (("mds",), 2, 2 << 30, 20 << 30)
    assert mds.disks == (Disk("scratch", Bytes.parse("1GiB")),)
    assert (mds.pin, mds.threads, mds.numa, mds.hugepages) == ("dedicated", "prefer", Numa("strict"), 1 << 30)
    assert (mds.host, mds.avoid, mds.template, mds.image) == ("local", ("oss1",), "server", "demo")


def test_defaults() -> None:
    topology = loads("name: a\nnodes: {n1: {role: client}}")
    node = topology.nodes["n1"]
    assert (node.cpus, str(node.memory), node.image, node.template, node.disk) == (1, "1GiB", "demo", "server", None)
    assert (node.pin, node.threads, node.numa, node.hugepages) == ("dedicated", "prefer", Numa("strict", None), None)
    assert (node.fabrics, node.disks, node.avoid, node.host) == ({}, (), (), None)
    assert topology.hosts == {"local": HostSpec("local", None, Reserve(None, None))}
    assert (topology.fabrics, topology.targets, topology.filesystems, topology.workloads) == ({}, (), {}, ())
    assert (topology.description, topology.file) == ("", "<string>")


def test_limits_are_rates_of_fabrics() -> None:
    text = (
        "name: a\nlimit: {ib0: 25GB/s, mgmt: 1Gbit/s}\nfabrics: {ib0: {kind: infiniband}}\nnodes: {n1: {role: client}}"
    )
    assert loads(text).limit == {"ib0": 25e9, "mgmt": 125e6}


@pytest.mark.parametrize(
    ("limit", "complaint"),
    [
        ("{ib1: 25GB/s}", "f.yaml:2:14: unknown fabric 'ib1' (did you mean `ib0`?)"),
        ("{ib0: 25}", "f.yaml:2:14: `ib0`: 25 is no rate"),
        ("{ib0: 25GB}", "f.yaml:2:14: `ib0`: '25GB' is no rate"),
    ],
)
def test_a_wrong_limit_is_refused(limit: str, complaint: str) -> None:
    with pytest.raises(TopologyError) as refused:
        loads(
            f"name: a\nlimit: {limit}\nfabrics: {{ib0: {{kind: infiniband}}}}\nnodes: {{n1: {{role: client}}}}",
            "f.yaml",
        )
    told = "\n".join([refused.value.message, *(cause.message for cause in refused.value.causes)])
    assert complaint in told


def test_references_are_a_file_below_the_topologys_folder() -> None:
    topology = loads("name: a\nreferences: refs/a.yaml\nnodes: {n1: {role: client}}", "/lab/a.yaml")
    assert topology.references == "refs/a.yaml"
    assert topology.path(topology.references) == Path("/lab/refs/a.yaml")
    assert loads("name: a\nnodes: {n1: {role: client}}").references is None


def test_fabrics(everything: Topology) -> None:
    ib0, xge = everything.fabrics.values()
    assert (ib0.kind, ib0.lnet, ib0.attach, ib0.mtu) == ("infiniband", "o2ib", "auto", 4092)
    assert ib0.subnet == IPv4Network("10.77.1.0/24")
    assert ib0.device == DeviceSelector(model="*ConnectX*")
    assert (xge.kind, xge.lnet, xge.attach, xge.bridges, xge.subnet) == (
        "ethernet",
        "tcp",
        "bridge",
        {"local": "br10g"},
        None,
    )


def test_device_selectors() -> None:
    text = """
name: a
fabrics:
  one: {kind: infiniband, device: {vendor: 0x15b3, product: "0x1017", address: 0000:41:00.1, pf: 0000:41:00.0}}
  two: {kind: infiniband, device: {address: ["0000:41:00.0", "0000:c1:00.0"], pf: mlx5_0}}
nodes: {n1: {role: client, fabrics: one}}
"""
    one, two = (fabric.device for fabric in loads(text).fabrics.values())
    assert one == DeviceSelector(
        0x15B3, 0x1017, address=(PciAddress(0, 0x41, 0, 1),), pf=PciAddress.parse("0000:41:00.0")
    )
    assert two is not None
    assert [str(address) for address in two.address] == ["0000:41:00.0", "0000:c1:00.0"]
    assert two.pf == "mlx5_0"


def test_targets(everything: Topology) -> None:
    assert [(target.label, target.servers) for target in everything.targets] == [
        ("lustre-MGS", ("mds1", "mds2")),
        ("lustre-MDT0000", ("mds1", "mds2")),
        ("lustre-OST0000", ("oss1", "oss2")),
        ("lustre-OST0001", ("oss1", "oss2")),
        ("lustre-OST0002", ("oss2", "oss1")),
        ("lustre-OST0003", ("oss1",)),
    ]
    assert everything.targets[-1].device == "/dev/disk/by-id/scsi-3600"
    assert everything.targets[-1].size is None
    filesystem = everything.filesystems["lustre"]
    assert (filesystem.mount, filesystem.mount_options, filesystem.clients) == ("/mnt/lustre", "flock", ("client1",))


def filesystem(osts: str, clients: str = "") -> Topology:
    return loads(f"""
name: a
fabrics: {{ib0: {{kind: infiniband, lnet: o2ib}}}}
nodes:
  s[1-3]: {{role: [mds, oss], fabrics: [ib0]}}
  c[1-2]: {{role: client, fabrics: [ib0]}}
  fta01: {{role: fta, fabrics: [ib0]}}
filesystems:
  fs:
    mgt: {{servers: s1, size: 1GiB}}
    mdts: [{{servers: s1, size: 1GiB}}]
    osts: {osts}
    {clients}
""")


def test_indices_fill_the_gaps_between_written_ones() -> None:
    topology = filesystem(
        "[{servers: s1, size: 1GiB, count: 2}, {servers: s2, size: 1GiB, index: 1}, "
        "{servers: s3, size: 1GiB, index: 0x10}]".replace("0x10", "16")
    )
    assert [t.label for t in topology.targets if t.kind == "OST"] == [
        "fs-OST0000", "fs-OST0002", "fs-OST0001", "fs-OST0010",
    ]  # fmt: skip


def test_the_written_order_of_servers_is_kept() -> None:
    topology = filesystem('[{servers: "s3,s[1-2]", size: 1GiB}, {servers: "s[2,1]", size: 1GiB}]')
    assert [t.servers for t in topology.targets if t.kind == "OST"] == [("s3", "s1", "s2"), ("s2", "s1")]


def test_clients() -> None:
    osts = "[{servers: s1, size: 1GiB}]"
    assert filesystem(osts).filesystems["fs"].clients == ("c1", "c2", "fta01")
    assert filesystem(osts, "clients: c2").filesystems["fs"].clients == ("c2",)
    assert filesystem(osts, 'clients: ["@fta", "c*"]').filesystems["fs"].clients == ("fta01", "c1", "c2")


def test_one_mgs_may_serve_two_file_systems() -> None:
    text = """
name: a
fabrics: {ib0: {kind: infiniband, lnet: o2ib}}
nodes: {s1: {role: [mds, oss, client], fabrics: [ib0]}}
filesystems:
  one: {mgt: {servers: s1, size: 1GiB}, mdts: [{servers: s1, size: 1GiB}], osts: [{servers: s1, size: 1GiB}]}
  two: {mdts: [{servers: s1, size: 1GiB}], osts: [{servers: s1, size: 1GiB}], mount: /mnt/two}
"""
    assert [t.label for t in loads(text).targets if t.fsname == "two"] == ["two-MDT0000", "two-OST0000"]


def test_routers_make_a_path() -> None:
    text = """
name: a
fabrics:
  ib0: {kind: infiniband, lnet: o2ib}
  eth: {kind: ethernet, lnet: tcp}
nodes:
  s1: {role: [mds, oss], fabrics: [ib0]}
  c1: {role: client, fabrics: [eth]}
  r1: {role: ROLE, fabrics: [ib0, eth]}
filesystems:
  fs: {mgt: {servers: s1, size: 1GiB}, mdts: [{servers: s1, size: 1GiB}], osts: [{servers: s1, size: 1GiB}]}
"""
    loads(text.replace("ROLE", "router"))
    with pytest.raises(TopologyError, match="no LNet path"):
        loads(text.replace("ROLE", "build"))


def test_equal_subnets_of_one_lnet_network() -> None:
    text = "name: a\nfabrics:\n  a: {kind: ethernet, lnet: tcp, subnet: 10.1.0.0/24}\n"
    loads(text + "  b: {kind: ethernet, lnet: tcp0, subnet: 10.1.0.0/24}\nnodes: {n1: {role: client}}")


def test_avoid_and_numa_cells() -> None:
    nodes = loads('name: a\nnodes: {"n[1-3]": {role: client, cpus: 4, numa: {cells: 2}, avoid: "n[1-2]"}}').nodes
    assert [node.avoid for node in nodes.values()] == [("n2",), ("n1",), ("n1", "n2")]
    assert nodes["n1"].numa == Numa("strict", 2)


def test_fabric_forms() -> None:
    text = "name: a\nfabrics: {ib0: {kind: infiniband}}\nnodes: {n1: {role: client, fabrics: FORM}}"
    for form, count in (("[ib0]", 1), ("ib0", 1), ("{ib0: {count: 2}}", 2), ("{ib0: }", 1), ("{ib0: {}}", 1)):
        assert loads(text.replace("FORM", form)).nodes["n1"].fabrics == {"ib0": count}


def test_plain_scalars_stay_what_was_written() -> None:
    text = "name: no\ndescription: 2024-01-01\nimage: 12:30:45\nnodes: {n1: {role: client, template: on}}"
    topology = loads(text)
    assert (topology.name, topology.description) == ("no", "2024-01-01")
    assert (topology.nodes["n1"].image, topology.nodes["n1"].template) == ("12:30:45", "on")


def test_anchors_and_merge_keys() -> None:
    text = """
name: a
nodes:
  n1: &small {role: client, cpus: 2, memory: 512MiB}
  n2: {<<: *small, cpus: 4}
  n3: *small
  n4: {<<: [*small], role: oss}
"""
    nodes = loads(text).nodes
    assert [(n.roles[0], n.cpus, n.memory.kib >> 10) for n in nodes.values()] == [
        ("client", 2, 512), ("client", 4, 512), ("client", 2, 512), ("oss", 2, 512),
    ]  # fmt: skip


def test_byte_order_mark_and_line_ends() -> None:
    assert loads("\ufeffname: a\r\nnodes:\r\n  n1: {role: client}\r\n").name == "a"


def test_name_can_be_given_from_outside() -> None:
    assert loads("name: a\nnodes: {n1: {role: client}}", name="b").name == "b"
    assert loads("nodes: {n1: {role: client}}", name="b").name == "b"
    with pytest.raises(UsageError, match="'B' is no bed's name"):
        loads("nodes: {n1: {role: client}}", name="B")


def test_workload_options_are_checked_with_positions() -> None:
    text = "name: a\nnodes: {n1: {role: client}}\nworkloads:\n  - {rdma: {verb: [write], native: true}}\n"
    text += "  - {rdma: {verbs: [write, send]}}\n  - rdma:\n      iterations: many\n  - rdma:\n  - other: {x: 1}\n"
    with pytest.raises(TopologyError) as caught:
        loads(text, "bed.yaml", workloads={"rdma": RdmaOptions})
    first, *others = str(caught.value).splitlines()
    keys = ", ".join(RdmaOptions.model_fields)
    assert first == f"bed.yaml:4:13: unknown key 'verb' in workload `rdma` (did you mean `verbs`? One of {keys})"
    assert others == [
        "bed.yaml:5:28: `verbs` is 'send' (expected one of write, read)",
        "bed.yaml:7:19: `iterations` is 'many' (expected a whole number)",
    ]
    assert [w.name for w in loads(text).workloads] == ["rdma", "rdma", "rdma", "rdma", "other"][:5]


def test_workloads_of_the_example(everything: Topology) -> None:
    assert [workload.name for workload in everything.workloads] == ["rdma", "lnet_selftest", "ior"]
    assert everything.workloads[0].options == {"verbs": ["write", "read"], "native": True}
    assert everything.workloads[1].options["size"] == "1MiB"


def test_frozen(everything: Topology) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        everything.name = "b"  # type: ignore[misc]


def test_an_aliased_problem_is_reported_once() -> None:
    with pytest.raises(TopologyError) as caught:
        loads("name: a\nnodes: {n1: &n {role: client, cpus: 0}, n2: *n, n3: *n}")
    assert [problem.message for problem in caught.value.problems] == ["`cpus` is 0 (expected at least 1)"]


def test_a_thousand_nodes_load_in_time() -> None:
    """A guard against quadratic behaviour, not a benchmark: generous, for a busy machine."""
    text = "name: a\nfabrics: {ib0: {kind: infiniband, lnet: o2ib}}\nnodes:\n" + "".join(
        f"  n{i}: {{role: [mds, oss, client], memory: 1GiB, fabrics: [ib0]}}\n" for i in range(1000)
    )
    text += (
        "filesystems:\n  fs:\n    mgt: {servers: n0, size: 1GiB}\n    mdts: [{servers: n0, size: 1GiB}]\n    osts:\n"
    )
    text += "".join(f"      - {{servers: [n{i}, n{i + 1}], size: 1GiB}}\n" for i in range(999))
    start = time.process_time()
    topology = loads(text)
    assert len(topology.nodes) == 1000
    assert time.process_time() - start < 3
