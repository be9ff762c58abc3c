"""The stages of every shipped bed and of odd ones, as golden texts, and what holds for any bed."""

from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vmlab import steps
from vmlab.domainxml.metadata import Address
from vmlab.errors import HostError
from vmlab.lustre import lnetping
from vmlab.lustre.lnetconf import Lnet, import_text
from vmlab.lustre.target import Recovery
from vmlab.lustre.version import Version
from vmlab.plan import filesystems
from vmlab.plan.filesystems import Stage, Wishes, filesystem_stages, lnet_stages, members, unmount_stages
from vmlab.plan.lease import interface_name, ports
from vmlab.roles import _client, _lnet, _modules, _mount, _target
from vmlab.topology import Topology, load, loads
from vmlab.values import identity
from vmlab.values.nid import Nid

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "stages"
SHIPPED = sorted((ROOT / "topologies").glob("*.yaml"))
ODD = sorted(GOLDEN.glob("*.yaml"))
# With every command: a node of each kind, a router, memory as a backend. Of the others their order tells enough.
WHOLE = {"external", "single-node", "in-memory", "on-management", "two-hop-routing"}
NEW = Version(2, 17, 57)

SCRIPTS = {
    text: f"<{module.__name__.rpartition('.')[2].lstrip('_')}.{name.lstrip('_').lower()}>"
    for module in (steps, _client, _lnet, _modules, _target, _mount)
    for name, text in vars(module).items()
    if name.isupper() and isinstance(text, str)
} | {lnetping.PING: "<lnetping.ping>"}


def addresses(topology: Topology) -> dict[str, tuple[Address, ...]]:
    """As a lease of a host that has nothing else gives them."""
    fabrics = ["mgmt", *topology.fabrics]
    counters = dict.fromkeys(fabrics, 10)

    def places(node: str) -> Iterator[Address]:
        for fabric, index in ports(topology, node):
            counters[fabric] += 1
            kind = "management" if fabric == "mgmt" else topology.fabrics[fabric].kind
            ip = IPv4Interface(f"10.77.{fabrics.index(fabric)}.{counters[fabric]}/24")
            mac = identity.mac(topology.name, node, fabric, index)
            yield Address(fabric, kind, "virtio", interface_name(fabric, index), mac, ip)

    return {node: tuple(places(node)) for node in topology.nodes}


def staged(topology: Topology, wishes: Wishes | None = None, version: Version = NEW) -> tuple[Stage, ...]:
    configs = filesystems.lnet(topology, addresses(topology))
    found = members(topology, configs, dict.fromkeys(topology.nodes, version))
    return (*lnet_stages(topology, found), *filesystem_stages(topology, found, wishes or Wishes()))


def test_clients_of_what_is_gone_let_go_first_and_by_force() -> None:
    topology = load(GOLDEN / "in-memory.yaml")
    first, *others = staged(topology, Wishes(forgotten=frozenset({"lustre"})))[2:]
    assert (first.name, [track.node for track in first.tracks]) == ("unmount clients", ["client1"])
    assert first.tracks[0].steps[0].apply[0][-1] == "-f"
    names = [stage.name for stage in others]
    assert names == ["mount MGT", "mount MDT0000", "mount OSTs", "find OSTs", "mount clients"]


def unstaged(topology: Topology) -> tuple[Stage, ...]:
    configs = filesystems.lnet(topology, addresses(topology))
    return unmount_stages(topology, members(topology, configs, dict.fromkeys(topology.nodes, NEW)))


def shown(stages: tuple[Stage, ...], *, whole: bool) -> str:
    """Each track's steps by name; `whole`: with their commands, constant scripts by their names."""
    return "".join(f"{line}\n" for line in _shown(stages, whole=whole))


def _shown(stages: tuple[Stage, ...], *, whole: bool) -> Iterator[str]:
    for stage in stages:
        yield f"== {stage.name}"
        for track in stage.tracks:
            if not whole:
                yield f"{track.node} / {track.what}: {', '.join(step.name for step in track.steps)}"
                continue
            yield f"{track.node} / {track.what}"
            for step in track.steps:
                yield f"  {step.name}"
                yield from (f"    {' '.join(map(_word, command))}" for command in (step.check, *step.apply))


def _word(word: str) -> str:
    known = SCRIPTS.get(word, word)
    return repr(known) if "\n" in known or " " in known else known


@pytest.mark.parametrize("path", SHIPPED + ODD, ids=lambda path: path.stem)
def test_stages(path: Path, golden: Callable[[Path, str], None]) -> None:
    topology, whole = load(path), path.stem in WHOLE
    golden(GOLDEN / f"{path.stem}.txt", shown(staged(topology), whole=whole) + shown(unstaged(topology), whole=whole))


def test_there_is_a_golden_text_for_each_file_and_no_other() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {path.stem for path in SHIPPED + ODD}


def two_hops() -> Topology:
    return load(ROOT / "topologies" / "two-hop-routing.yaml")


def ha() -> Topology:
    return load(ROOT / "topologies" / "ha-topology.yaml")


def commands(stages: tuple[Stage, ...]) -> list[str]:
    return [
        " ".join(map(_word, command))
        for stage in stages
        for track in stage.tracks
        for step in track.steps
        for command in step.apply
    ]


def test_the_type_of_targets_is_what_the_version_knows() -> None:
    assert any("mount -t lustre_tgt /dev" in c for c in commands(staged(ha(), version=Version(2, 16, 0))))
    old = commands(staged(ha(), version=Version(2, 15, 6)))
    assert any("mount -t lustre /dev" in c for c in old)
    assert not any("lustre_tgt" in c for c in old)


def test_recovery_is_shortened_on_request_only() -> None:
    assert not any("recovery_time" in c for c in commands(staged(ha())))
    short = commands(staged(ha(), Wishes(recovery=Recovery(30, 60))))
    assert sum("-o recovery_time_soft=30,recovery_time_hard=60 /dev" in c for c in short) == 6


def test_nothing_is_erased_but_what_is_named() -> None:
    assert not any("target.erase" in c for c in commands(staged(ha())))
    assert not any("--reformat" in c for c in commands(staged(ha(), Wishes(reformat=frozenset(["lustre-OST0001"])))))
    again = [c for c in commands(staged(ha(), Wishes(reformat=frozenset(["lustre-OST0001"])))) if "target.erase" in c]
    assert again == ["sh -c <target.erase> vmlab /dev/disk/by-id/virtio-lustre-OST0001"]


def test_a_target_is_mounted_where_it_is() -> None:
    stages = staged(ha(), Wishes(active={"lustre-OST0000": "oss2"}))
    mounts = {t.what: t.node for stage in stages if stage.name == "mount OSTs" for t in stage.tracks}
    assert mounts["lustre-OST0000"] == "oss2"
    assert mounts["lustre-OST0001"] == "oss1"


def test_a_node_without_lustre_is_told_before_anything_is_done() -> None:
    topology = ha()
    configs = filesystems.lnet(topology, addresses(topology))
    versions = {name: NEW for name in topology.nodes if not name.startswith("oss")}
    with pytest.raises(HostError, match=r"oss\[1-2\] must serve or mount a file system, and the image has no Lustre"):
        members(topology, configs, versions)


def test_a_node_that_needs_no_lustre_need_not_have_it() -> None:
    topology = loads(
        "name: a\nfabrics: { ib0: { kind: infiniband, lnet: o2ib } }\nnodes: { oss1: { role: oss, fabrics: [ib0] } }\n"
    )
    configs = filesystems.lnet(topology, addresses(topology))
    assert lnet_stages(topology, members(topology, configs, {})) == ()


def test_memory_has_no_partner() -> None:
    text = (GOLDEN / "in-memory.yaml").read_text().replace("servers: oss1", "servers: [oss1, mds1]")
    topology = loads(text.replace("mds1: { role: mds", "mds1: { role: [mds, oss]"))
    configs = filesystems.lnet(topology, addresses(topology))
    with pytest.raises(HostError, match="lustre-OST0000 is in the memory of oss1"):
        members(topology, configs, dict.fromkeys(topology.nodes, NEW))


ROLES = ("mds", "oss", "client", "router")


@st.composite
def beds(draw: st.DrawFn) -> Topology:
    """Fabrics, some without LNet, and nodes with any number of ports; routers need two networks."""
    count = draw(st.integers(1, 4))
    nets = [draw(st.sampled_from(["", "tcp", "tcp1", "o2ib", "o2ib1"])) for _ in range(count)]
    fabrics = {f"f{i}": {"kind": "ethernet", "subnet": f"10.99.{i}.0/24"} for i in range(count)}
    for name, net in zip(fabrics, nets, strict=True):
        if net and net not in [fabric.get("lnet") for fabric in fabrics.values()]:
            fabrics[name]["lnet"] = net
    nodes = {}
    for number in range(draw(st.integers(1, 6))):
        on = draw(st.lists(st.sampled_from(sorted(fabrics)), unique=True, max_size=count))
        role = draw(st.sampled_from(ROLES))
        if role == "router" and sum("lnet" in fabrics[f] for f in on) < 2:
            role = "client"
        nodes[f"n{number}"] = {"role": role, "fabrics": {f: {"count": draw(st.integers(1, 2))} for f in on}}
    return loads(yaml.safe_dump({"name": "any", "fabrics": fabrics, "nodes": nodes}))


@given(beds())
def test_what_holds_for_the_lnet_of_any_bed(topology: Topology) -> None:
    found = addresses(topology)
    configs = filesystems.lnet(topology, found)
    management = {a.ip.ip for on in found.values() for a in on if a.kind == "management"}
    owner = {nid: node for node, config in configs.items() for nid in config.nids}
    for node, config in configs.items():
        assert not management & {nid.address for nid in config.nids}
        for route in config.routes:
            assert route.net not in config.nets
            assert route.gateway.net in config.nets
            gateway = configs[owner[route.gateway]]
            assert gateway.forwarding
            assert (route.hops == 1) == (route.net in gateway.nets)
        gateways = [(route.net, owner[route.gateway], route.gateway.net) for route in config.routes]
        assert len(set(gateways)) == len(gateways), "LNet takes all NIDs of a router for one gateway"
        content = yaml.safe_load(import_text(config))
        names = [ni["interfaces"][0] for net in content["net"] for ni in net["local NI(s)"]]
        assert names == [i.name for on in config.nets.values() for i in on]
        assert len(content.get("route", ())) == len(config.routes)
        assert ("routing" in content) == config.forwarding == ("router" in topology.nodes[node].roles)


def hops(configs: Mapping[str, Lnet], node: str, nid: Nid, left: int) -> bool:
    """Whether a message for `nid` that `node` has gets there, whichever routers LNet takes."""
    config = configs[node]
    if nid.net in config.nets:
        return True
    if nid in config.nids or left == 0:
        return False
    gateways = [route.gateway for route in config.routes if route.net == nid.net]
    return bool(gateways) and forwarded(configs, gateways, nid, left - 1)


def forwarded(configs: Mapping[str, Lnet], gateways: Collection[Nid], nid: Nid, left: int) -> bool:
    """By each of them. A router that has the NID on another network than the message came from drops it."""
    owner = {nid: node for node, config in configs.items() for nid in config.nids}
    return all(owner[gateway] != owner[nid] and hops(configs, owner[gateway], nid, left) for gateway in gateways)


@given(beds())
def test_paths_go_there_and_back(topology: Topology) -> None:
    configs = filesystems.lnet(topology, addresses(topology))
    pings = filesystems.lnetconf.pings(configs)
    for node, others in pings.items():
        config = configs[node]
        for other, paths in others.items():
            back = {(path.nid, path.source): path for path in pings[other][node]}
            assert len(back) == len(paths)
            for path in paths:
                assert path.source in config.nids
                assert path.nid in configs[other].nids
                assert (path.source, path.nid) in back
                assert bool(path.gateways) == (path.source.net != path.nid.net)
                assert {gateway.net for gateway in path.gateways} <= {path.source.net}
                # Asked from a NID, LNet takes a router on that NID's network, and not any that it knows.
                if path.gateways:
                    assert forwarded(configs, path.gateways, path.nid, len(configs))
                else:
                    assert hops(configs, node, path.nid, len(configs))


@given(beds())
def test_who_can_talk_has_a_path(topology: Topology) -> None:
    configs = filesystems.lnet(topology, addresses(topology))
    pings = filesystems.lnetconf.pings(configs)
    for node, config in configs.items():
        for other, theirs in configs.items():
            reached = node != other and any(config.reaches(nid) for nid in theirs.nids)
            assert (other in pings[node]) == reached


def test_every_rail_and_every_router_is_a_path() -> None:
    rails = {"net0": {"count": 2}}, {"net1": {"count": 2}}
    routers = {"role": "router", "fabrics": ["net0", "net1"]}
    topology = loads(
        yaml.safe_dump(
            {
                "name": "rails",
                "fabrics": {f"net{i}": {"kind": "ethernet", "lnet": f"tcp{i}"} for i in range(2)},
                "nodes": {
                    "oss1": {"role": "oss", "fabrics": rails[0]},
                    "router[1-2]": routers,
                    "client1": {"role": "client", "fabrics": rails[1]},
                },
            }
        )
    )
    configs = filesystems.lnet(topology, addresses(topology))
    pings = filesystems.lnetconf.pings(configs, servers=["oss1"])
    assert {
        (node, other): sum(len(p.gateways) or 1 for p in paths)
        for node in pings
        for other, paths in pings[node].items()
    } == {
        ("oss1", "router1"): 2,
        ("oss1", "router2"): 2,
        ("oss1", "client1"): 2 * 2 * 2,
        ("router1", "oss1"): 2,
        ("router1", "router2"): 2,
        ("router1", "client1"): 2,
        ("router2", "oss1"): 2,
        ("router2", "router1"): 2,
        ("router2", "client1"): 2,
        ("client1", "oss1"): 2 * 2 * 2,
        ("client1", "router1"): 2,
        ("client1", "router2"): 2,
    }


def test_clients_do_not_ping_clients_but_routers_do() -> None:
    topology = two_hops()
    pings = filesystems.lnetconf.pings(filesystems.lnet(topology, addresses(topology)), servers=["mds1", "oss1"])
    assert pings["client1"].keys() == {"mds1", "oss1", "router1", "router2"}
    # The far side of a router is not asked: LNet drops what comes for it over the near one.
    assert [str(path.nid) for path in pings["client1"]["router1"]] == ["10.77.2.11@tcp"]


@given(beds())
def test_every_step_is_a_constant_script_or_a_plain_command(topology: Topology) -> None:
    for stage in staged(topology):
        for track in stage.tracks:
            for step in track.steps:
                for command in (step.check, *step.apply):
                    assert command[:2] != ("sh", "-c") or command[2] in SCRIPTS
