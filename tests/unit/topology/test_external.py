"""Nodes that are no guests: what a good file means, and what `--set` and node sets make of them."""

from ipaddress import IPv4Address

import pytest

from vmlab.errors import TopologyError, UsageError
from vmlab.topology import External, loads

BED = """
name: mixed
fabrics:
  ib0: {kind: infiniband, lnet: o2ib, subnet: 10.1.0.0/24}
nodes:
  oss1: {role: oss, fabrics: [ib0]}
  client1: {role: client, fabrics: [ib0]}
  cn1: {external: "ssh://root@cn1:2222", role: client, fabrics: {ib0: {address: 10.1.0.7}}}
  "bn[1-3]": {external: "ssh://bn[1-3].site", role: [fta, client], fabrics: {ib0: {address: SEVERAL}}}
filesystems:
  fs:
    mgt: {servers: oss1, size: 1GiB}
    mdts: [{servers: oss1, size: 1GiB}]
    osts: [{servers: oss1, size: 1GiB}]
""".replace("role: oss", "role: [mds, oss]")
SETS = {'"10.1.0.[20-22]"', "10.1.0.20-10.1.0.22", '"10.1.0.20,10.1.0.[21-22]"'}


@pytest.mark.parametrize("written", sorted(SETS))
def test_machines_are_no_nodes(written: str) -> None:
    bed = loads(BED.replace("SEVERAL", written))
    assert list(bed.nodes) == ["oss1", "client1"]
    assert list(bed.externals) == ["cn1", "bn1", "bn2", "bn3"]
    assert bed.externals["cn1"] == External("cn1", ("client",), "root", "cn1", 2222, {"ib0": IPv4Address("10.1.0.7")})
    assert bed.externals["bn2"] == External(
        "bn2", ("fta", "client"), "", "bn2.site", None, {"ib0": IPv4Address("10.1.0.21")}
    )
    assert [bed.externals[name].uri for name in ("cn1", "bn1")] == ["ssh://root@cn1:2222", "ssh://bn1.site"]


def test_they_are_chosen_as_nodes_are_and_mount_nothing() -> None:
    bed = loads(BED.replace("SEVERAL", "10.1.0.20-10.1.0.22"))
    assert bed.select("@client") == ("client1", "cn1", "bn1", "bn2", "bn3")
    assert bed.select("cn1,oss1,bn[2-3]") == ("cn1", "oss1", "bn2", "bn3")
    assert bed.filesystems["fs"].clients == ("client1",)


def test_without_fabrics_a_machine_is_only_logged_in_to() -> None:
    bed = loads("name: a\nnodes:\n  n1: {role: client}\n  cn1: {external: ssh://10.0.0.1, role: build}")
    assert bed.externals["cn1"] == External("cn1", ("build",), "", "10.0.0.1", None, {})


def test_set_changes_all_guests_and_names_machines_that_have_no_such_key() -> None:
    text = BED.replace("SEVERAL", "10.1.0.20-10.1.0.22")
    bed = loads(text, settings=["nodes.*.memory=4GiB", "nodes.@client.cpus=3"])
    assert {str(node.memory) for node in bed.nodes.values()} == {"4GiB"}
    assert bed.nodes["client1"].cpus == 3
    with pytest.raises(UsageError, match="cn1 is no guest"):
        loads(text, settings=["nodes.cn1.memory=4GiB"])


def test_set_splits_a_set_of_machines_only_with_what_is_theirs() -> None:
    with pytest.raises(TopologyError, match="3 machines for 1 node"):
        loads(BED.replace("SEVERAL", "10.1.0.20-10.1.0.22"), settings=["nodes.bn2.role=client"])


SITE = """
name: tenant
fabrics:
  ib0:
    {kind: infiniband, lnet: o2ib, attach: vf, addresses: 10.1.0.50-10.1.0.99, routers: {tcp0: ["10.1.0.1@o2ib"]}}
nodes:
  "fta[1-2]": {role: fta, fabrics: [ib0]}
filesystems:
  scratch: {external: ["10.1.0.11@o2ib:10.1.0.12@o2ib", "10.8.0.1@tcp"], clients: "@fta", mount: /mnt/scratch}
"""


def test_a_file_system_that_exists_has_no_targets() -> None:
    bed = loads(SITE)
    assert bed.targets == ()
    filesystem = bed.filesystems["scratch"]
    assert [str(nid) for nid in filesystem.external] == ["10.1.0.11@o2ib", "10.1.0.12@o2ib", "10.8.0.1@tcp"]
    assert (filesystem.clients, filesystem.mount) == (("fta1", "fta2"), "/mnt/scratch")
    assert loads(BED.replace("SEVERAL", "10.1.0.20-10.1.0.22")).filesystems["fs"].external == ()


def test_a_network_of_the_site() -> None:
    bed = loads(SITE)
    fabric = bed.fabrics["ib0"]
    assert (str(fabric.addresses), str(fabric.subnet)) == ("10.1.0.50-10.1.0.99", "10.1.0.0/24")
    assert {net: [str(nid) for nid in nids] for net, nids in fabric.routers.items()} == {"tcp": ["10.1.0.1@o2ib"]}
    assert {str(nid): beyond for nid, beyond in bed.site_routers.items()} == {"10.1.0.1@o2ib": {"tcp"}}
    wide = loads(SITE.replace("attach: vf,", "attach: vf, subnet: 10.1.0.0/16,"))
    assert str(wide.fabrics["ib0"].subnet) == "10.1.0.0/16"
