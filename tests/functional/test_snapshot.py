"""Snapshots on libvirt's test driver, with real files where it has volumes: a failure and a kill at every effect.

The driver has no memory to save: a file says that a node had some, and a node with it begins paused.
"""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import libvirt
import pytest
from sshd import Sshd

from vmlab.domainxml.metadata import NodeMetadata
from vmlab.errors import HostError, UsageError, VmlabError
from vmlab.guest.keys import BedKeys
from vmlab.guest.ssh import Guest
from vmlab.lab.beds import as_new, boot, channel, put_back, settle, snapshot, snapshots, standing
from vmlab.lab.beds.down import down, planned_removal
from vmlab.lab.beds.power import power
from vmlab.lab.beds.up import up
from vmlab.lab.ground import bed_folder, kept
from vmlab.lab.ground import guests as ground_guests
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.hosts import Hosts, only
from vmlab.lab.ground.progress import Silent
from vmlab.lab.hosts import gc
from vmlab.plan.actions import Action, RemoveVolume
from vmlab.plan.snapshots import Reverting
from vmlab.report.plan import removal_lines
from vmlab.store.images import Files, Manifest, add
from vmlab.topology import Topology, loads
from vmlab.values import identity
from vmlab.values.size import Bytes
from vmlab.virt import perform as performing
from vmlab.virt import pool_files
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine
from vmlab.virt.observe import domain_state, observe
from vmlab.virt.perform import perform
from vmlab.virt.pool import IMAGES
from vmlab.virt.pool import folder as pool_folder
from vmlab.virt.pool_files import PoolFiles

BED = """
name: ha
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes: {"oss[1-3]": {role: [mds, oss, client], memory: 256MiB, fabrics: [eth]}}
filesystems:
  lustre:
    mgt: {servers: [oss1, oss2], size: 64MiB}
    mdts: [{servers: [oss1, oss2], size: 64MiB}]
    osts: [{servers: [oss2, oss1], size: 64MiB}]
"""
STATES = {"oss1": "running", "oss2": "paused", "oss3": "shut off"}


class Stop(VmlabError):
    """An effect that fails; after a kill nothing that follows is done, clean-up included."""


class Effects:
    """Counts all that is done to the host, and lets one be the last, or fail."""

    def __init__(self) -> None:
        self.at = -1
        self.kill = False
        self.done = 0
        self._dead = False
        self._guard = threading.Lock()

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            with self._guard:  # one after the other, so that a number always means the same
                if self._dead:
                    raise Stop("dead")
                number, self.done = self.done, self.done + 1
                if number == self.at:
                    self._dead = self.kill
                    raise Stop("failed here")
                return real(*given, **named)

        return counted

    def begin(self, at: int, *, kill: bool) -> None:
        self.at, self.kill, self.done, self._dead = at, kill, 0, False

    def end(self) -> None:
        self.begin(-1, kill=False)


@pytest.fixture
def effects() -> Effects:
    return Effects()


@pytest.fixture
def bed() -> Topology:
    return loads(BED, "ha.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pool/beds"
    path.mkdir(parents=True)
    return path


def saved(_host: Host, domain: str, file: str, *, memory_kib: int) -> None:
    Path(file).write_text(f"{domain} {memory_kib}")


def restored(host: Host, domain: str, file: str, *, memory_kib: int) -> None:
    assert Path(file).read_text() == f"{domain} {memory_kib}"
    found = host.call(lambda connection: connection.lookupByName(domain))
    if not found.isActive():
        found.create()
        found.suspend()


@pytest.fixture
def hosts(host: Host, bed: Topology, folder: Path, effects: Effects, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """The bed: one node runs, one stands still, one is off; each disk says what it is."""

    def names(_host: Host, name: str) -> frozenset[str]:
        return frozenset(path.name for path in folder.iterdir() if path.name.startswith(f"{name}."))

    up(only(host), bed, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())
    for volume in observe(host).volumes:
        (folder / volume).write_text("new")
    monkeypatch.setattr(PoolFiles, "of", lambda *_: PoolFiles(Machine(), str(folder)))
    monkeypatch.setattr(kept, "names_of", names)
    monkeypatch.setattr(pool_files.PoolFiles, "_run", effects.wrap(PoolFiles._run))
    monkeypatch.setattr(snapshot, "save_memory", effects.wrap(saved))
    monkeypatch.setattr(put_back, "restore_memory", effects.wrap(restored))
    monkeypatch.setattr(standing, "pause", effects.wrap(standing.pause))
    monkeypatch.setattr(standing, "go_on", effects.wrap(standing.go_on))
    for module in (put_back, settle, snapshots):
        monkeypatch.setattr(module, "perform", effects.wrap(doing(folder)))
    set_states(host, STATES)
    return only(host)


def doing(folder: Path) -> Callable[[Host, Action], None]:
    """As `perform`, with the files that the driver's volumes do not have."""

    def done(host: Host, action: Action) -> None:
        perform(host, action)
        if isinstance(action, RemoveVolume):
            (folder / action.name).unlink(missing_ok=True)

    return done


def set_states(host: Host, states: dict[str, str]) -> None:
    for node, state in states.items():
        domain = host.call(lambda connection, node=node: connection.lookupByName(f"ha.{node}"))
        if domain.isActive() and state == "shut off":
            domain.destroy()
        if not domain.isActive() and state != "shut off":
            domain.create()
        if state == "paused" and domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
            domain.suspend()


def states(hosts: Hosts) -> dict[str, str]:
    return {node: domain_state(hosts.home, f"ha.{node}") for node in STATES}


def disks(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if identity.has_data(path.name)}


def write(folder: Path, text: str) -> None:
    for name in disks(folder):
        (folder / name).write_text(text)


def create(hosts: Hosts, name: str = "one") -> None:
    snapshot.create(hosts, "ha", name, Silent())


def revert(hosts: Hosts, name: str = "one") -> None:
    snapshot.revert(hosts, "ha", name, Silent())


def listed(hosts: Hosts) -> list[str]:
    return [line.name for line in snapshots.listed(hosts, "ha")]


def of_snapshots(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if identity.of_snapshot(path.name)}


def test_a_bed_comes_back_as_it_was(hosts: Hosts, folder: Path) -> None:
    create(hosts)
    assert states(hosts) == STATES
    (line,) = snapshots.listed(hosts, "ha")
    assert (line.name, line.running, line.nodes, line.memory, line.differs) == ("one", 2, 3, True, "")
    before = disks(folder)
    write(folder, "newer")
    set_states(hosts.home, {"oss3": "running", "oss1": "shut off"})
    revert(hosts)
    assert states(hosts) == STATES
    assert disks(folder) == before
    snapshots.delete(hosts, "ha", "one", Silent())
    assert of_snapshots(folder) == set()
    assert states(hosts) == STATES


def test_a_bed_that_is_off_has_disks_only(hosts: Hosts, folder: Path) -> None:
    set_states(hosts.home, dict.fromkeys(STATES, "shut off"))
    create(hosts)
    assert [line.memory for line in snapshots.listed(hosts, "ha")] == [False]
    set_states(hosts.home, dict.fromkeys(STATES, "running"))
    write(folder, "newer")
    revert(hosts)
    assert set(states(hosts).values()) == {"shut off"}
    assert set(disks(folder).values()) == {"new"}


def effects_of(act: Callable[[], None], effects: Effects) -> int:
    effects.begin(-1, kill=False)
    act()
    return effects.done


@pytest.mark.parametrize("kill", [True, False], ids=["kill", "failure"])
def test_create_is_whole_or_nothing_wherever_it_ends(
    hosts: Hosts, folder: Path, effects: Effects, *, kill: bool
) -> None:
    total = effects_of(lambda: create(hosts, "first"), effects)
    assert total > 15
    for at in range(total):
        effects.begin(at, kill=kill)
        with pytest.raises(VmlabError):
            create(hosts)
        effects.end()
        there = listed(hosts)
        assert there in (["first"], ["first", "one"]), at
        with locked(hosts, "ha"):
            settle.settle(hosts, "ha", Silent())
        assert (states(hosts), set(disks(folder).values())) == (STATES, {"new"}), at
        assert listed(hosts) == there, at
        if "one" in there:
            snapshots.delete(hosts, "ha", "one", Silent())
        assert {identity.snapshot_of(name) for name in of_snapshots(folder)} == {"first"}, at


@pytest.mark.parametrize("kill", [True, False], ids=["kill", "failure"])
def test_a_revert_that_ends_anywhere_is_none_or_is_gone_on_with(
    hosts: Hosts, folder: Path, effects: Effects, bed: Topology, *, kill: bool
) -> None:
    create(hosts)
    now = dict.fromkeys(STATES, "running")

    def newer() -> None:
        write(folder, "newer")
        set_states(hosts.home, dict.fromkeys(STATES, "shut off"))
        set_states(hosts.home, now)

    newer()
    total = effects_of(lambda: revert(hosts), effects)
    assert total > 15
    outcomes = set()
    for at in range(total):
        newer()
        effects.begin(at, kill=kill)
        with pytest.raises(VmlabError):
            revert(hosts)
        effects.end()
        half = kept.reverting(hosts, "ha") is not None
        if half:
            with pytest.raises(HostError, match="put back to its snapshot one in part only"):
                power(hosts, "ha", "*", "on", Silent())
        if at % 2:
            with locked(hosts, "ha"):
                settle.settle(hosts, "ha", Silent())
            assert states(hosts) == (STATES if set(disks(folder).values()) == {"new"} else now), at
        else:
            up(hosts, bed, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())
            assert states(hosts)["oss3"] == "running", at
        content = set(disks(folder).values())
        assert content in ({"new"}, {"newer"}), at
        outcomes.add((half, *content))
        assert content == {"new"} or not half, at
        assert listed(hosts) == ["one"], at
        assert {identity.snapshot_of(name) for name in of_snapshots(folder)} == {"one"}, at
    assert {(True, "new"), (False, "newer")} <= outcomes


def test_a_delete_that_ends_anywhere_leaves_all_or_what_gc_finds(hosts: Hosts, folder: Path, effects: Effects) -> None:
    create(hosts, "first")
    for at in range(effects_of(lambda: snapshots.delete(hosts, "ha", "first", Silent()), effects)):
        create(hosts)
        effects.begin(at, kill=True)
        with pytest.raises(VmlabError):
            snapshots.delete(hosts, "ha", "one", Silent())
        effects.end()
        assert listed(hosts) == (["one"] if at == 0 else []), at
        with locked(hosts, "ha"):
            settle.settle(hosts, "ha", Silent())
        assert bool(of_snapshots(folder)) == (at == 0), at
        if at == 0:
            snapshots.delete(hosts, "ha", "one", Silent())


def volume(host: Host, name: str) -> None:
    xml = f"<volume><name>{name}</name><capacity>1</capacity><target><format type='raw'/></target></volume>"
    host.call(lambda connection: connection.storagePoolLookupByName("vmlab").createXML(xml))


def test_gc_tells_what_was_cut_off_and_lets_nodes_go_on(hosts: Hosts, folder: Path, effects: Effects) -> None:
    effects.begin(10, kill=True)
    with pytest.raises(VmlabError):
        create(hosts)
    effects.end()
    assert states(hosts)["oss1"] == "paused"
    left = of_snapshots(folder)
    for name in left:
        volume(hosts.home, name)
    found = gc.leftovers(hosts.home, Path("/nowhere"))
    assert {item.name for item in found} == left
    assert {item.bed for item in found} == {"ha"}
    assert {item.name for item in gc.collect(hosts.home, found)} == left
    assert states(hosts)["oss1"] == "running"
    assert not any(map(identity.of_snapshot, observe(hosts.home).volumes))


def test_gc_leaves_what_a_revert_needs_that_is_not_over(hosts: Hosts, folder: Path, effects: Effects) -> None:
    create(hosts)
    effects.begin(14, kill=True)
    with pytest.raises(VmlabError):
        revert(hosts)
    effects.end()
    assert kept.reverting(hosts, "ha") == Reverting("one")
    for name in of_snapshots(folder):
        volume(hosts.home, name)
    assert gc.leftovers(hosts.home, Path("/nowhere")) == []


def test_down_tells_snapshots_and_takes_them_and_keeps_none_with_disks(hosts: Hosts, folder: Path) -> None:
    for name in ("one", "two"):
        create(hosts, name)
    for name in of_snapshots(folder):
        volume(hosts.home, name)
    lines = removal_lines("ha", planned_removal(hosts, "ha", keep_disks=False).values())
    assert "  snapshots: one, two" in lines
    assert not any("_snap" in line for line in lines)
    down(hosts, "ha", keep_disks=True, progress=Silent())
    left = observe(hosts.home).volumes
    assert not any(map(identity.of_snapshot, left))
    assert any(map(identity.has_data, left))


@pytest.mark.parametrize("verb", ["create", "revert"])
def test_a_full_file_system_changes_nothing(hosts: Hosts, folder: Path, verb: str) -> None:
    """A file system of 80 MiB: too small for the memory of a node, and for disks of 48 MiB a second time."""
    create(hosts)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "none", folder], check=False).returncode:
        pytest.skip("only root mounts")
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        for path in folder.glob("ha._snap.one.*.qcow2"):
            path.write_bytes(b"x" * (16 << 20))
        told = "a snapshot of ha takes up to" if verb == "create" else "a revert to one takes up to 49MiB, and"
        with pytest.raises(HostError, match=told):
            create(hosts, "two") if verb == "create" else revert(hosts)
        assert (states(hosts), listed(hosts)) == (STATES, ["one"])
        assert {path.name for path in folder.iterdir()} == set(files)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_names_that_are_not_there(hosts: Hosts) -> None:
    for act in (lambda: revert(hosts), lambda: snapshots.delete(hosts, "ha", "one", Silent())):
        with pytest.raises(UsageError, match=r"ha has no snapshot 'one' \(there are: none\)"):
            act()
    with pytest.raises(UsageError, match="there is no bed hb"):
        snapshots.listed(hosts, "hb")


def test_a_changed_node_is_no_bed_to_go_back_to(hosts: Hosts) -> None:
    create(hosts)
    grown = loads(BED.replace("256MiB", "512MiB"), "ha.yaml")
    up(hosts, grown, accel="auto", restart=True, timeout_s=60, jobs=1, wait=False, progress=Silent())
    with pytest.raises(HostError, match=r"oss\[1-3\] was changed"):
        revert(hosts)
    assert [line.differs for line in snapshots.listed(hosts, "ha")] == ["oss[1-3] was changed"]
    assert set(states(hosts).values()) == {"running"}


def test_files_are_copied_as_they_lie(tmp_path: Path) -> None:
    files = PoolFiles(Machine(), str(tmp_path))
    source = tmp_path / "ha.oss1.root.qcow2"
    with source.open("wb") as file:
        file.write(b"begin")
        file.truncate(64 << 20)
    source.chmod(0o600)
    files.copy(source.name, "copy")
    copy = tmp_path / "copy"
    assert copy.read_bytes()[:5] == b"begin"
    assert (copy.stat().st_size, copy.stat().st_mode) == (64 << 20, source.stat().st_mode)
    assert copy.stat().st_blocks < 1000
    room = files.room("ha", [source.name])
    assert room.free > 1 << 20
    assert 0 < room.taken[source.name] < 1 << 20
    assert not of_snapshots(tmp_path)
    with pytest.raises(HostError, match="No such file"):
        files.copy("none", "other")


def test_disks_on_storage_that_hosts_share_are_kept_in_the_pool_and_come_back_beside_themselves(tmp_path: Path) -> None:
    pool, folder = tmp_path / "pool", tmp_path / "shared"
    files = PoolFiles(Machine(), str(pool), {"lustre": str(folder)})
    disk = identity.target_volume("ha", "lustre-OST0000")
    kept_disk, ready = identity.snapshot_disk("ha", "then", disk), identity.reverting_disk("ha", disk)
    for place in (pool, folder):
        place.mkdir()
    (folder / disk).write_text("then" * 4096)
    ((room, needed),) = files.needed("ha", {disk: kept_disk})
    assert (room.place, needed) == ("vmlab's pool", (folder / disk).stat().st_blocks * 512)
    files.copy(disk, kept_disk)
    (folder / disk).write_text("later")
    back = {room.place: needed for room, needed in files.needed("ha", {kept_disk: ready})}
    assert back == {"vmlab's pool": 0, str(folder): (pool / kept_disk).stat().st_blocks * 512}
    files.copy(kept_disk, ready)
    files.flush((ready,))
    files.put_back({ready: disk})
    assert (folder / disk).read_text() == "then" * 4096
    assert [path.name for path in (*pool.iterdir(), *folder.iterdir())] == [kept_disk, disk]


def test_a_file_takes_its_place_once(tmp_path: Path) -> None:
    files = PoolFiles(Machine(), str(tmp_path))
    for name in ("ready", "place", "other"):
        (tmp_path / name).write_text(name)
    for _ in range(2):
        files.put_back({"ready": "place", "gone": "other"})
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"place": "ready", "other": "other"}
    files.write("told", "text\n")
    files.write("told", "other text\n")
    assert (tmp_path / "told").read_text() == "other text\n"
    files.remove(("told", "never"))
    assert not (tmp_path / "told").exists()


def test_libvirts_test_driver_keeps_nothing(host: Host, bed: Topology) -> None:
    up(only(host), bed, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())
    with pytest.raises(HostError, match="has no files behind its volumes"):
        create(only(host))


def rebuild(hosts: Hosts, topology: Topology, *, keep: bool = False) -> str:
    return as_new.rebuild(hosts, topology, accel="auto", timeout_s=60, jobs=1, keep=keep, progress=Silent()).reverted


@pytest.fixture
def gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of snapshots are no volumes of the test driver: whoever takes the bed down takes them, too."""

    def taken(*given: Any, **named: Any) -> Any:
        done = down(*given, **named)
        for name in of_snapshots(folder):
            (folder / name).unlink()
        return done

    monkeypatch.setattr(as_new, "down", taken)


@pytest.mark.usefixtures("gone")
@pytest.mark.parametrize("back", [False, True], ids=["anew", "back"])
def test_a_rebuild_that_is_killed_anywhere_is_brought_to_its_end_by_the_next(
    hosts: Hosts, folder: Path, effects: Effects, bed: Topology, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    """Of three kills that follow each other one is tried: in `down`, `up`, the snapshot, and on the way back to it."""
    monkeypatch.setattr(performing, "act", effects.wrap(performing.act))
    for module in (put_back, settle, snapshots):
        monkeypatch.setattr(module, "perform", doing(folder))  # which comes to `act`

    def begin() -> None:
        if back and not listed(hosts):
            rebuild(hosts, bed, keep=True)
        if not back and listed(hosts):
            snapshots.delete(hosts, "ha", "new", Silent())
        write(folder, "newer")

    begin()
    total = effects_of(lambda: rebuild(hosts, bed, keep=True), effects)
    assert total > 20
    left = set()
    for at in range(0, total, 3):
        begin()
        effects.begin(at, kill=True)
        with contextlib.suppress(VmlabError):  # as the snapshot's failure would be, a bed is new without it
            rebuild(hosts, bed, keep=True)
        effects.end()
        there = listed(hosts) if observe(hosts.home).bed("ha").nodes else []
        left.add((bool(there), kept.reverting(hosts, "ha") is not None))
        assert there in ([], ["new"]), at
        if at % 2:
            up(hosts, bed, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())
            assert set(states(hosts).values()) == {"running"}, at
        rebuild(hosts, bed, keep=True)
        assert set(states(hosts).values()) == {"running"}, at
        assert listed(hosts) == ["new"], at
        assert {identity.snapshot_of(name) for name in of_snapshots(folder)} == {"new"}, at
    assert left >= ({(True, False), (True, True)} if back else {(False, False)})


@pytest.mark.usefixtures("gone")
def test_a_rebuild_goes_back_to_what_a_rebuild_kept_as_long_as_it_would_be_the_same(
    hosts: Hosts, bed: Topology, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(hosts)
    assert rebuild(hosts, bed) == ""
    assert listed(hosts) == []
    assert rebuild(hosts, bed, keep=True) == ""
    assert listed(hosts) == ["new"]
    write(folder, "newer")
    other = replace(bed, description="other words", warm="only", file="elsewhere.yaml")
    (kept_then,) = snapshots.listed(hosts, "ha")
    assert rebuild(hosts, other) == kept_then.created
    assert set(disks(folder).values()) == {"new"}
    assert all(state == "running" for state in states(hosts).values())
    for differs in (
        replace(bed, warm="never"),
        replace(bed, management_lnet="tcp9"),
        replace(bed, nodes=bed.nodes | {"oss3": replace(bed.nodes["oss3"], memory=Bytes(384 << 20))}),
    ):
        write(folder, "newer")
        assert rebuild(hosts, differs) == ""
        assert set(disks(folder).values()) == {"newer"}  # the test driver makes no files
        assert listed(hosts) == ["new"]
    assert rebuild(hosts, differs) != ""
    monkeypatch.setattr(as_new, "_qemu", lambda _: 1)
    assert rebuild(hosts, differs) == ""


Visits = Callable[[], dict[str, tuple[int, ...]]]
"""By node, how often somebody logged in, and how often somebody only knocked."""


@pytest.fixture
def visits(hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visits]:
    """A real sshd in the place of each node's, from now on."""
    keys = BedKeys.of(bed_folder.folder(hosts.keeper, "ha"))
    doors = {node: Sshd(tmp_path / f"sshd-{node}", keys, node) for node in STATES}
    for sshd in doors.values():
        sshd.start()

    def guest(metadata: NodeMetadata, secret: Path, through: str) -> Guest:
        place = IPv4Address("127.0.0.1")
        return Guest("ha", metadata.node, place, "root", secret, port=doors[metadata.node].port, through=through)

    def clock(guest: Guest, _node: str) -> bool:
        return not guest.run(("true",), deadline_s=60).ok  # the clock is this machine's

    monkeypatch.setattr(ground_guests, "_guest", guest)
    monkeypatch.setattr(Host, "has_guests", property(lambda _: True))
    monkeypatch.setattr(standing, "set_or_be_patient", clock)
    monkeypatch.setattr(boot, "satisfy", lambda guest, *_, **__: guest.run(("true",), deadline_s=60))
    for verb in ("begin", "ensure"):
        monkeypatch.setattr(channel, verb, lambda *_, **__: False)
    words = ("Accepted publickey", "kex_exchange_identification")
    yield lambda: {
        node: tuple((sshd.folder / "log").read_text().count(word) for word in words) for node, sshd in doors.items()
    }
    for sshd in doors.values():
        sshd.stop()


@pytest.mark.usefixtures("gone")
@pytest.mark.skipif(os.geteuid() != 0, reason="somebody logs in as root")
def test_the_way_back_logs_in_once(hosts: Hosts, bed: Topology, request: pytest.FixtureRequest) -> None:
    """For the clock, for the steps, and to ask for Lustre."""
    rebuild(hosts, bed, keep=True)
    visits: Visits = request.getfixturevalue("visits")
    raised = as_new.rebuild(hosts, bed, accel="auto", timeout_s=60, jobs=3, keep=False, progress=Silent())
    assert raised.reverted
    assert visits() == dict.fromkeys(STATES, (1, 0))


def test_an_image_that_was_built_anew_is_no_way_back(hosts: Hosts, bed: Topology, tmp_path: Path) -> None:
    rebuild(hosts, bed, keep=True)
    disk = tmp_path / "demo.qcow2"
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(disk), "2G"), check=True)
    add(pool_folder(IMAGES), Manifest(name="demo", files=Files(disk=disk.name)), tmp_path)
    assert rebuild(hosts, bed) == ""


def test_a_bed_that_cannot_be_kept_as_new_is_new_all_the_same(
    hosts: Hosts, bed: Topology, effects: Effects, folder: Path
) -> None:
    effects.begin(0, kill=False)
    assert rebuild(hosts, bed, keep=True) == ""
    effects.end()
    assert listed(hosts) == []
    assert of_snapshots(folder) == set()
