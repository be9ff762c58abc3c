"""Snapshots of a bed over two hosts, as in test_snapshot: a failure and a kill at every effect, on either host."""

import json
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from vmlab.errors import HostError, VmlabError
from vmlab.lab.beds import keep_warm, put_back, settle, snapshot, snapshots, standing
from vmlab.lab.beds.up import up
from vmlab.lab.ground import kept
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.hosts import Hosts, only
from vmlab.lab.ground.progress import Silent
from vmlab.plan.actions import Action, RemoveVolume
from vmlab.plan.snapshots import Room, cut_off
from vmlab.topology import Topology, loads
from vmlab.values import identity
from vmlab.virt.connection import Away, Host
from vmlab.virt.machine import Machine
from vmlab.virt.observe import domain_state, observe
from vmlab.virt.perform import perform
from vmlab.virt.pool import BEDS, ensure_pool
from vmlab.virt.pool_files import PoolFiles

from .conftest import simulated_hosts
from .test_snapshot import Effects, restored, saved

BED = """
name: ha
hosts: {kvm1: {address: 10.1.0.1}, kvm2: {address: 10.1.0.2}}
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes:
  "oss[1-2]": {role: [mds, oss, client], memory: 256MiB, fabrics: [eth], host: kvm1}
  "oss[3-4]": {role: [mds, oss, client], memory: 256MiB, fabrics: [eth], host: kvm2}
filesystems:
  lustre:
    shared: export
    mgt: {servers: oss1, size: 64MiB}
    mdts: [{servers: oss3, size: 64MiB}]
    osts: [{servers: [oss3, oss1], size: 64MiB}]
"""
NODES = {"oss1": "kvm1", "oss2": "kvm1", "oss3": "kvm2", "oss4": "kvm2"}
STATES = {"oss1": "running", "oss2": "shut off", "oss3": "running", "oss4": "paused"}
RUN = dict.fromkeys(STATES, "running")


@pytest.fixture
def effects() -> Effects:
    return Effects()


class Folders:
    """What the test driver has no files for: those of each host's pool, and of saved memory."""

    def __init__(self, work: Path) -> None:
        self.work = work

    def of(self, host: Host) -> Path:
        return self.work / host.name / "beds"

    def names(self, host: Host, bed: str) -> frozenset[str]:
        return frozenset(path.name for path in self.of(host).iterdir() if path.name.startswith(f"{bed}."))

    def done(self, host: Host, action: Action) -> None:
        if action.kind != "end-export":  # nobody exports what the test driver has
            perform(host, action)
        if isinstance(action, RemoveVolume):
            (self.of(host) / action.name).unlink(missing_ok=True)

    def fill(self, host: Host, text: str) -> None:
        for volume in observe(host).volumes:
            (self.of(host) / volume).write_text(text)


@pytest.fixture
def hosts(host: Host, tmp_path: Path, effects: Effects, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """The bed; `host` is there for the environment and the image. Each host's folder has its own volumes as files."""
    del host
    folders = Folders(tmp_path)
    with simulated_hosts(tmp_path, "kvm1", "kvm2") as hosts:
        for one in hosts.values():
            folders.of(one).mkdir(parents=True)
            with monkeypatch.context() as here:
                here.setenv("VMLAB_POOL_DIR", str(tmp_path / one.name))
                ensure_pool(one, BEDS)
        bring_up(hosts, loads(BED, "ha.yaml"))
        for one in hosts.values():
            folders.fill(one, "new")
        monkeypatch.setattr(PoolFiles, "of", lambda host, _: PoolFiles(Machine(), str(folders.of(host))))
        monkeypatch.setattr(kept, "names_of", folders.names)
        monkeypatch.setattr(PoolFiles, "_run", effects.wrap(PoolFiles._run))
        monkeypatch.setattr(snapshot, "save_memory", effects.wrap(saved))
        monkeypatch.setattr(put_back, "restore_memory", effects.wrap(restored))
        monkeypatch.setattr(standing, "pause", effects.wrap(standing.pause))
        monkeypatch.setattr(standing, "go_on", effects.wrap(standing.go_on))
        for module in (put_back, settle, snapshots):
            monkeypatch.setattr(module, "perform", effects.wrap(folders.done))
        set_states(hosts, STATES)
        yield hosts


def bring_up(hosts: Hosts, topology: Topology) -> None:
    up(hosts, topology, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())


def set_states(hosts: Hosts, states: dict[str, str]) -> None:
    for node, state in states.items():
        domain = hosts[NODES[node]].call(lambda connection, node=node: connection.lookupByName(f"ha.{node}"))
        if domain.isActive() and state == "shut off":
            domain.destroy()
        if not domain.isActive() and state != "shut off":
            domain.create()
        if domain.isActive() and (domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED) != (state == "paused"):
            domain.suspend() if state == "paused" else domain.resume()


def states(hosts: Hosts) -> dict[str, str]:
    return {node: domain_state(hosts[host], f"ha.{node}") for node, host in NODES.items()}


def files(tmp_path: Path) -> list[Path]:
    return [path for name in ("kvm1", "kvm2") for path in (tmp_path / name / "beds").iterdir()]


def contents(tmp_path: Path) -> set[str]:
    return {path.read_text() for path in files(tmp_path) if identity.has_data(path.name)}


def write(tmp_path: Path, text: str) -> None:
    for path in files(tmp_path):
        if identity.has_data(path.name):
            path.write_text(text)


def kept_of(tmp_path: Path) -> set[str | None]:
    return {identity.snapshot_of(path.name) for path in files(tmp_path) if identity.of_snapshot(path.name)}


def create(hosts: Hosts, name: str = "one") -> None:
    snapshot.create(hosts, "ha", name, Silent())


def revert(hosts: Hosts) -> None:
    snapshot.revert(hosts, "ha", "one", Silent())


def listed(hosts: Hosts) -> list[str]:
    return [line.name for line in snapshots.listed(hosts, "ha")]


def doomed(hosts: Hosts) -> list[str]:
    """What `gc` on either host would remove, where nothing is known of the other."""
    found: list[str] = []
    for host in map(only, hosts.values()):
        (names,) = kept.file_names(host, "ha").values()
        found += cut_off(names, kept.snapshots_of(host, "ha"), reverting=identity.reverting("ha") in names)
    return found


def settled(hosts: Hosts) -> None:
    with locked(hosts, "ha"):
        settle.settle(hosts, "ha", Silent())


def test_each_host_keeps_its_own_part_and_the_bed_comes_back(hosts: Hosts, tmp_path: Path) -> None:
    create(hosts)
    assert states(hosts) == STATES
    (line,) = snapshots.listed(hosts, "ha")
    assert (line.name, line.running, line.nodes, line.differs) == ("one", 3, 4, "")
    told = {host: json.loads((tmp_path / host / "beds/ha._snap.one.json").read_text()) for host in ("kvm1", "kvm2")}
    assert {host: [node["name"] for node in part["nodes"]] for host, part in told.items()} == {
        "kvm1": ["oss1", "oss2"],
        "kvm2": ["oss3", "oss4"],
    }
    disks = [disk["volume"] for part in told.values() for disk in part["disks"]]
    assert sorted(disks) == sorted(set(disks))
    assert "ha._lustre-OST0000.raw" in [disk["volume"] for disk in told["kvm1"]["disks"]]  # which exports it
    write(tmp_path, "newer")
    set_states(hosts, RUN)
    revert(hosts)
    assert (states(hosts), contents(tmp_path)) == (STATES, {"new"})
    snapshots.delete(hosts, "ha", "one", Silent())
    assert kept_of(tmp_path) == set()


@pytest.mark.parametrize("kill", [True, False], ids=["kill", "failure"])
def test_create_is_whole_or_nothing_wherever_it_ends(
    hosts: Hosts, tmp_path: Path, effects: Effects, *, kill: bool
) -> None:
    effects.begin(-1, kill=False)
    create(hosts, "first")
    total = effects.done
    assert total > 25
    for at in range(total):
        effects.begin(at, kill=kill)
        with pytest.raises(VmlabError):
            create(hosts)
        effects.end()
        there = listed(hosts)
        assert there in (["first"], ["first", "one"]), at
        assert "first" not in set(map(identity.snapshot_of, doomed(hosts))), at
        settled(hosts)
        assert (states(hosts), contents(tmp_path), listed(hosts)) == (STATES, {"new"}, there), at
        if "one" in there:
            snapshots.delete(hosts, "ha", "one", Silent())
        assert kept_of(tmp_path) == {"first"}, at


@pytest.mark.parametrize("kill", [True, False], ids=["kill", "failure"])
def test_a_revert_that_ends_anywhere_is_none_or_is_gone_on_with(
    hosts: Hosts, tmp_path: Path, effects: Effects, *, kill: bool
) -> None:
    create(hosts)

    def newer() -> None:
        write(tmp_path, "newer")
        set_states(hosts, dict.fromkeys(STATES, "shut off"))
        set_states(hosts, RUN)

    newer()
    effects.begin(-1, kill=False)
    revert(hosts)
    total = effects.done
    assert total > 25
    outcomes = set()
    for at in range(total):
        newer()
        effects.begin(at, kill=kill)
        with pytest.raises(VmlabError):
            revert(hosts)
        effects.end()
        half = kept.reverting(hosts, "ha") is not None
        assert not half or doomed(hosts) == [], at
        settled(hosts)
        content = contents(tmp_path)
        assert (states(hosts), content) in ((STATES, {"new"}), (RUN, {"newer"})), at
        outcomes.add((half, *content))
        assert content == {"new"} or not half, at
        assert (listed(hosts), kept_of(tmp_path)) == (["one"], {"one"}), at
    assert {(True, "new"), (False, "newer")} <= outcomes


def test_one_host_alone_goes_back_to_nothing(hosts: Hosts, tmp_path: Path) -> None:
    create(hosts)
    write(tmp_path, "newer")
    for host in hosts.values():
        for act in (snapshot.revert, snapshots.delete):
            with pytest.raises(HostError, match="ha is on 2 hosts, and this is the part of one on one of them"):
                act(only(host), "ha", "one", Silent())
        settled(only(host))
    assert (listed(hosts), contents(tmp_path)) == (["one"], {"newer"})


def test_without_a_host_nothing_is_kept_and_nothing_that_was_is_taken_for_a_rest(hosts: Hosts, tmp_path: Path) -> None:
    create(hosts)
    for name in hosts:
        here = {other: host for other, host in hosts.items() if other != name}
        without = Hosts(here, {name: Away(name, hosts[name].uri, HostError(f"{name} is away"))}, "kvm1")
        with pytest.raises(HostError, match=f"the memory of ha is kept on all of its hosts, or none: {name} is away"):
            keep_warm.keep_warm(without, "ha", Silent())
        settled(without)
    assert (listed(hosts), kept_of(tmp_path)) == (["one"], {"one"})


def test_room_is_asked_for_on_each_host(hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def room(files: PoolFiles, *_: object, **__: object) -> Room:
        return Room(1 << 40 if "kvm1" in files.folder else 1 << 20, shares=False, taken={})

    monkeypatch.setattr(PoolFiles, "room", room)
    with pytest.raises(HostError, match="a snapshot of ha on kvm2 takes up to 512MiB, and 1MiB are free"):
        create(hosts)
    assert (states(hosts), kept_of(tmp_path)) == (STATES, set())
