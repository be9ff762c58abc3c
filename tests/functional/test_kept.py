"""Secrets and kept disks: of which host, of which user, and what happens to those in the place of before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.guest.keys import BedKeys
from vmlab.lab.beds.down import down, refuse_of_another_host
from vmlab.lab.beds.status import beds
from vmlab.lab.ground import bed_folder
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.lab.hosts.gc import collect, leftovers
from vmlab.runtime.files import state_dir
from vmlab.topology import Topology, loads
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe

from .conftest import BED, EMPTY_HOST
from .test_up_down import Stop, assert_nothing_left, bring_up, kinds, stopping

NO_RUNS = Path("/nowhere")


@pytest.fixture
def other_host(tmp_path: Path, host: Host) -> Iterator[Host]:
    """Another host of the same user."""
    del host  # its environment
    description = tmp_path / "other.xml"
    description.write_text(EMPTY_HOST)
    other = Host(f"test://{description}")
    yield other
    other.close()


def take_down(host: Host, *, keep_disks: bool = False) -> None:
    down(only(host), "ha", keep_disks=keep_disks, progress=Silent())


def old_place() -> BedKeys:
    keys = BedKeys.fresh(state_dir() / "beds" / "ha")
    keys.write(["mds1"])
    return keys


def public_key(host: Host) -> str:
    return BedKeys.of(bed_folder.folder(host, "ha")).public_key


def test_beds_of_one_name_on_two_hosts_have_keys_of_their_own(host: Host, other_host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    bring_up(other_host, bed)
    assert public_key(host) != public_key(other_host)
    kept = public_key(host)
    take_down(other_host)
    assert public_key(host) == kept
    take_down(host)
    assert_nothing_left(host)


def test_down_on_the_wrong_host_says_where_the_bed_is_and_keeps_its_secret(
    host: Host, other_host: Host, bed: Topology
) -> None:
    bring_up(host, bed)
    with pytest.raises(HostError, match=f"its ssh secret is kept for {host.uri}") as raised:
        refuse_of_another_host(only(other_host), "ha")
    assert (raised.value.status, f"LIBVIRT_DEFAULT_URI={host.uri} vmlab down ha" in raised.value.hint) == (4, True)
    assert public_key(host)
    refuse_of_another_host(only(host), "ha")
    refuse_of_another_host(only(other_host), "ha-2")
    take_down(host)
    refuse_of_another_host(only(other_host), "ha")


@pytest.mark.parametrize(
    ("uri", "same"),
    [
        ("qemu:///system", True),
        ("qemu+unix:///system", True),
        ("qemu:///session", False),
        ("qemu+unix:///system?socket=/var/run/libvirt/libvirt-sock", True),
        ("qemu+unix:///system?socket=/run/libvirt/virtqemud-sock", True),
        ("qemu+unix:///session?socket=/run/libvirt/libvirt-sock", False),
        ("qemu+unix:///system?socket=/run/other", False),
        ("qemu+tls://kvm1/system?socket=/run/libvirt/libvirt-sock", False),
        ("qemu:///system-a", False),
        ("xen:///system", False),
    ],
)
def test_all_ways_to_one_libvirtd_are_one_host(uri: str, same: bool) -> None:
    def place(uri: str) -> Path:
        host = Host.__new__(Host)
        host.uri = uri
        return bed_folder.new_folder(host, "ha")

    assert (place(uri) == place("qemu:///system")) is same


def test_gc_never_tells_of_another_hosts_keys(host: Host, other_host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    assert leftovers(other_host, NO_RUNS) == []
    old_place()
    assert leftovers(other_host, NO_RUNS) == []


def test_gc_tells_of_this_hosts_keys_when_nothing_else_is_left(host: Host) -> None:
    folder = bed_folder.new_folder(host, "ha")
    BedKeys.fresh(folder).write([])
    (item,) = leftovers(host, NO_RUNS)
    assert (item.kind, item.name) == ("keys", str(folder))
    assert collect(host, [item]) == [item]
    assert not folder.exists()


def test_gc_of_another_user_leaves_kept_disks(
    host: Host, bed: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up(host, bed)
    take_down(host, keep_disks=True)
    kept = set(observe(host).volumes)
    assert identity.kept_volume("ha") in kept
    assert [(line.name, line.disks) for line in beds(host)] == [("ha", len(kept) - 1)]
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path / "of another user"))
    assert leftovers(host, NO_RUNS) == []
    assert collect(host, leftovers(host, NO_RUNS)) == []
    assert set(observe(host).volumes) == kept
    take_down(host)  # who names the bed means it
    assert dict(observe(host).volumes) == {}


def test_disks_are_marked_as_kept_before_anything_goes(
    host: Host, bed: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up(host, bed)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stopping(patch, at=1, after=False)
        take_down(host, keep_disks=True)
    assert identity.kept_volume("ha") in observe(host).volumes
    assert len(observe(host).bed("ha").nodes) == 5


def test_a_mark_without_disks_keeps_nothing(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    take_down(host, keep_disks=True)

    def lose(connection: object) -> None:
        pool = connection.storagePoolLookupByName("vmlab")  # type: ignore[attr-defined]
        for volume in pool.listAllVolumes():
            if identity.has_data(volume.name()):
                volume.delete()

    host.call(lose)
    bed_folder_of = bed_folder.new_folder(host, "ha")
    for path in bed_folder_of.iterdir():
        path.unlink()
    bed_folder_of.rmdir()
    assert [(item.kind, item.name) for item in leftovers(host, NO_RUNS)] == [("volume", "ha._kept")]


def test_a_secret_in_the_old_place_serves_the_bed_that_is_here(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    bed_folder.new_folder(host, "ha").rename(_made(state_dir() / "beds") / "ha")
    key = public_key(host)
    larger = loads(BED.replace("client1: {role: client, memory: 256MiB", "client1: {role: client, memory: 320MiB"))
    assert {action.node for action in bring_up(host, larger, restart=True).actions} == {"client1"}  # no other's seed
    assert public_key(host) == key
    take_down(host, keep_disks=True)
    assert not (state_dir() / "beds" / "ha").exists()
    assert "create-volume" not in kinds(bring_up(host, bed))
    assert public_key(host) == key
    take_down(host)
    assert_nothing_left(host)


def test_a_secret_in_the_old_place_is_not_taken_for_a_new_bed_nor_removed_with_it(host: Host, bed: Topology) -> None:
    """It may be that of a bed on another host."""
    key = old_place().public_key
    with pytest.raises(HostError, match="its ssh secret is kept for another host") as raised:
        refuse_of_another_host(only(host), "ha")
    assert f"rm -r {state_dir()}/beds/ha" in raised.value.hint
    bring_up(host, bed)
    assert public_key(host) != key
    take_down(host)
    assert BedKeys.of(state_dir() / "beds" / "ha").public_key == key


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
