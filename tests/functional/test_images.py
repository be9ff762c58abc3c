"""Images that are about to be cloned, or needed otherwise, are not removed under whoever needs them."""

import threading
from pathlib import Path

import pytest

from vmlab.errors import BusyError, HostError
from vmlab.lab.beds import up as up_module
from vmlab.lab.beds.prepare import Images
from vmlab.lab.ground import image_store
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.hosts.gc import collect, leftovers
from vmlab.lab.images import images
from vmlab.plan.actions import Action, CreateVolume, StartDomain
from vmlab.store.images import find
from vmlab.topology import Topology
from vmlab.virt import perform as perform_module
from vmlab.virt.connection import Host
from vmlab.virt.deeds import Place, act
from vmlab.virt.pool import IMAGES, folder

from .test_ownership import put, with_disk
from .test_up_down import bring_up

NO_RUNS = Path("/nowhere")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_PATIENCE_S", 0.0)


def test_from_the_choice_to_the_clone_an_image_is_not_removed(
    host: Host, bed: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = folder(IMAGES)
    disk = store / find(store, "demo").files.disk
    seen: list[str] = []

    def attack(when: str) -> None:
        seen.append(when)
        with pytest.raises(BusyError, match="the image store is in use by"):
            images.remove(host, "demo")
        manifest = (store / "demo.json").rename(store / ".hidden")
        unused = leftovers(host, NO_RUNS)
        assert [item.name for item in unused] == ([str(disk)] if when == "chosen" else [])
        assert collect(host, unused) == []
        manifest.rename(store / "demo.json")
        assert disk.exists()

    def chosen(hosts: Hosts, topology: Topology) -> Images:
        found = images_of(hosts, topology)
        attack("chosen")
        return found

    def cloned(action: Action, place: Place) -> None:
        with one_by_one:
            act(action, place)
            if isinstance(action, CreateVolume) and action.volume.backing and "cloned" not in seen:
                attack("cloned")
            if isinstance(action, StartDomain) and "started" not in seen:
                seen.append("started")
                with pytest.raises(HostError, match="the image demo is in use"):
                    images.remove(host, "demo")

    one_by_one = threading.Lock()
    images_of = up_module.images_of
    monkeypatch.setattr(up_module, "images_of", chosen)
    monkeypatch.setattr(perform_module, "act", cloned)
    bring_up(host, bed)
    assert seen == ["chosen", "cloned", "started"]


def test_two_may_clone_at_once_and_a_removal_waits_for_both(host: Host) -> None:
    del host  # its environment
    with image_store.cloning():
        with image_store.cloning(), pytest.raises(BusyError), image_store.removing():
            pass
        with pytest.raises(BusyError), image_store.removing():
            pass
    with image_store.removing(), pytest.raises(BusyError), image_store.changing():
        pass
    with image_store.removing():
        pass


def test_an_image_below_somebody_s_disk_is_not_removed(host: Host) -> None:
    store = folder(IMAGES)
    disk = store / find(store, "demo").files.disk
    pool = "<pool type='dir'><name>default-pool</name><target><path>/default-pool</path></target></pool>"
    host.call(lambda connection: connection.storagePoolDefineXML(pool).create())
    top = put(host, "top.qcow2", pool="default-pool", backing=str(disk))
    other = with_disk(f"file='{top}'")
    host.call(lambda connection: connection.defineXML(other))
    with pytest.raises(HostError, match=r"the image demo is in use: .* other"):
        images.removable(host, "demo")
    (store / "demo.json").unlink()
    assert collect(host, leftovers(host, NO_RUNS)) == []
    assert disk.exists()


def test_a_kernel_that_somebody_s_domain_boots_is_not_removed(host: Host) -> None:
    store = folder(IMAGES)
    kernel = (store / find(store, "demo").files.disk).with_suffix(".vmlinuz")
    kernel.touch()
    boots = f"<os><type>hvm</type><kernel>{kernel}</kernel></os>"
    host.call(
        lambda connection: connection.defineXML(
            f"<domain type='test'><name>copy</name><memory>1024</memory>{boots}</domain>"
        )
    )
    with pytest.raises(HostError, match=r"the image demo is in use: .* copy"):
        images.removable(host, "demo")
