"""Which way a node becomes itself: what its image can, what the file wants, and what an older vmlab did."""

from pathlib import Path

import pytest

from vmlab.lab.beds import decide
from vmlab.lab.beds.up import Raised, up
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.plan.actions import WriteSeed
from vmlab.report.plan import document
from vmlab.store.images import FIRST_BOOT, Files, Manifest, add
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe
from vmlab.virt.pool import IMAGES, folder

BED = """
name: ha
nodes:
  n1: {role: client, memory: 256MiB}
  n2: {role: client, memory: 256MiB, first_boot: cloud-init}
"""


@pytest.fixture
def lean(host: Host, disk: Path) -> Host:
    """A host whose image has vmlab's unit."""
    add(folder(IMAGES), Manifest(name="demo", carries={FIRST_BOOT: "1"}, files=Files(disk=disk.name)), disk.parent)
    return host


def bring_up(host: Host, text: str, *, restart: bool = False) -> Raised:
    bed: Topology = loads(text, "ha.yaml")
    return up(only(host), bed, accel="auto", restart=restart, timeout_s=60, jobs=1, wait=False, progress=Silent())


def ways(host: Host) -> dict[str, str]:
    found = (domain.facts.metadata for domain in observe(host).domains.values())
    return {metadata.node: metadata.first_boot for metadata in found if metadata is not None}


def test_the_image_decides_and_a_node_may_object(lean: Host) -> None:
    raised = bring_up(lean, BED)
    assert ways(lean) == {"n1": "lean", "n2": "cloud-init"}
    seeds = {action.node: action for action in raised.actions if isinstance(action, WriteSeed)}
    assert {node: bool(action.archive) for node, action in seeds.items()} == {"n1": True, "n2": False}
    assert all("user-data" in action.documents for action in seeds.values())
    told = {node["name"]: node["first_boot"] for node in document(raised.prepared)["nodes"]}
    assert told == {"n1": "lean", "n2": "cloud-init"}


def test_a_bed_may_object_and_a_node_in_it_agree(lean: Host) -> None:
    bring_up(lean, BED.replace("first_boot: cloud-init", "first_boot: auto") + "first_boot: cloud-init\n")
    assert ways(lean) == {"n1": "cloud-init", "n2": "lean"}


def test_another_way_is_a_change_that_waits_for_leave(lean: Host) -> None:
    bring_up(lean, BED)
    plan = bring_up(lean, BED + "first_boot: cloud-init\n").prepared.plan
    assert {(action.node, action.reason) for action in plan.pending} == {("n1", "changed: first boot")}
    assert plan.actions == ()


def test_an_image_that_does_not_say_so_has_cloud_init(host: Host) -> None:
    raised = bring_up(host, BED)
    assert ways(host) == {"n1": "cloud-init", "n2": "cloud-init"}
    assert not any(action.archive for action in raised.actions if isinstance(action, WriteSeed))


def test_what_an_older_vmlab_started_is_no_other_for_that(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(decide, "_first_boot", lambda *_: "")
        bring_up(host, BED)
    assert ways(host) == {"n1": "", "n2": ""}
    raised = bring_up(host, BED)
    assert (raised.actions, raised.prepared.plan.pending) == ((), ())
    host.call(lambda connection: connection.lookupByName("ha.n1").destroy())
    bring_up(host, BED)
    assert ways(host) == {"n1": "cloud-init", "n2": ""}


def test_a_larger_disk_than_the_images_grows(lean: Host) -> None:
    seeds = {
        size: next(
            action.archive
            for action in bring_up(lean, replaced).actions
            if isinstance(action, WriteSeed) and action.node == "n1"
        )
        for size, replaced in (("same", BED), ("larger", BED.replace("n1: {", "n1: {disk: 2GiB, ").replace("ha", "hb")))
    }
    assert b"run/vmlab/grow" in seeds["larger"]
    assert b"run/vmlab/grow" not in seeds["same"]
