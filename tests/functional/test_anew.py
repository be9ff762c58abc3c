"""Nodes made anew on libvirt's test driver: which disks go, which stay."""

from vmlab.lab.beds.anew import make_anew, own_disks, rebuild
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.topology import loads
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe

from .test_up_down import bring_up

BED = """
name: ha
nodes:
  "oss[1-2]": {role: oss, memory: 512MiB, disks: [{name: scratch, size: 16MiB}]}
"""


class Told(Silent):
    def __init__(self) -> None:
        self.stages: list[tuple[str, str]] = []

    def stage(self, node: str, stage: str) -> None:
        self.stages.append((node, stage))


def test_root_disks_are_cloned_again_and_other_disks_stay(host: Host) -> None:
    topology = loads(BED, "ha.yaml")
    bring_up(host, topology)
    before = observe(host).bed("ha")
    told = Told()
    make_anew(only(host), topology, accel="auto", timeout_s=60, progress=told)
    after = observe(host).bed("ha")
    assert {name: domain.facts.uuid for name, domain in after.nodes.items()} == {
        name: domain.facts.uuid for name, domain in before.nodes.items()
    }
    assert all(domain.running for domain in after.nodes.values())
    assert set(after.volumes) == set(before.volumes)
    for node in ("oss1", "oss2"):
        of_node = [stage for name, stage in told.stages if name == node]
        assert of_node[:3] == ["made anew", "create-volume", "start-domain"]
        assert identity.disk_volume("ha", node, "scratch") in after.volumes


def test_a_node_that_is_rebuilt_has_all_its_disks_anew_and_the_others_none(host: Host) -> None:
    topology = loads(BED, "ha.yaml")
    bring_up(host, topology)
    before = observe(host).bed("ha")
    assert own_disks(before, "oss1") == ["ha.oss1.disk-scratch.raw", "ha.oss1.root.qcow2"]
    told = Told()
    raised = rebuild(only(host), topology, ["oss1"], accel="auto", timeout_s=60, jobs=1, progress=told)
    assert [(action.kind, action.name) for action in raised.actions] == [
        ("create-volume", "ha.oss1.root.qcow2"),
        ("create-volume", "ha.oss1.disk-scratch.raw"),
        ("start-domain", "ha.oss1"),
    ]
    assert {stage for node, stage in told.stages if node == "oss2"} == {"started"}
    after = observe(host).bed("ha")
    assert set(after.volumes) == set(before.volumes)
    assert all(domain.running for domain in after.nodes.values())
