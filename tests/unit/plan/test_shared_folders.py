"""Disks in a folder that several hosts mount: where it is, who makes it, and what is done about it."""

from dataclasses import replace

import pytest

from vmlab.domainxml.read import VolumeFacts
from vmlab.errors import HostError
from vmlab.plan.actions import CreateFolder, CreateVolume, RemoveFolder, RemoveVolume
from vmlab.plan.desired import Desired, desired_targets
from vmlab.plan.diff import diff, removal
from vmlab.plan.observed import Observed, ObservedFolder
from vmlab.plan.shared import SharedFolder, folders
from vmlab.topology import Topology, loads
from vmlab.values import identity

BED = """
name: wide
hosts: {kvm1: {}, kvm2: {}}
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes:
  s1: {role: [mds, oss], fabrics: [eth]}
  s2: {role: oss, fabrics: [eth]}
  c1: {role: client, fabrics: [eth]}
filesystems:
  lustre:
    shared: /srv/lustre
    mgt: {servers: s1}
    mdts: [{servers: s1, size: 64MiB}]
    osts: [{servers: [s2, s1], size: 64MiB}, {servers: s2, device: /dev/sdx}]
"""
MDT, OST = "wide._lustre-MDT0000.raw", "wide._lustre-OST0000.raw"
NOTHING = Observed({}, {}, {})
THERE = ObservedFolder("wide", "lustre", "/srv/lustre/wide.lustre-aa", whole=True, active=True)


@pytest.fixture
def bed() -> Topology:
    return loads(BED, "wide.yaml")


def looks(**found: Observed) -> dict[str, Observed]:
    return {host: found.get(host, NOTHING) for host in ("kvm1", "kvm2")}


def facts(name: str, folder: str = "wide.lustre", size: int = 64 << 20) -> VolumeFacts:
    xml = f"<volume type='file'><name>{name}</name><capacity unit='bytes'>{size}</capacity></volume>"
    return VolumeFacts(name, f"/srv/lustre/wide.lustre-aa/{name}", xml, folder)


def test_a_new_folder_is_drawn_and_one_that_is_there_stays(bed: Topology) -> None:
    assert folders(bed, looks(), lambda: "bb") == {
        "lustre": SharedFolder("wide", "lustre", "/srv/lustre/wide.lustre-bb")
    }
    there = looks(kvm2=replace(NOTHING, folders=(THERE,)))
    assert folders(bed, there, lambda: "bb") == {"lustre": SharedFolder("wide", "lustre", THERE.path, "kvm2")}
    # Another bed's is nobody's business, and without the word, or without disks of ours, there is none.
    other = looks(kvm1=replace(NOTHING, folders=(replace(THERE, bed="wider"),)))
    assert folders(bed, other, lambda: "bb")["lustre"].path.endswith("-bb")
    assert folders(loads(BED.replace("    shared: /srv/lustre\n", ""), "wide.yaml"), looks(), lambda: "bb") == {}
    devices = BED.replace("size: 64MiB", "device: /dev/sdy", 1).replace("size: 64MiB", "device: /dev/sdz")
    assert folders(loads(devices, "wide.yaml"), looks(), lambda: "bb") == {}


def test_disks_that_are_elsewhere_than_the_file_says_are_not_left_behind(bed: Topology) -> None:
    there = looks(kvm1=replace(NOTHING, folders=(THERE,), volumes={OST: facts(OST)}))
    moved = loads(BED.replace("/srv/lustre", "/srv/new"), "wide.yaml")
    with pytest.raises(
        HostError, match=r"the disks of lustre are in /srv/lustre/wide.lustre-aa, .* in /srv/new"
    ) as said:
        folders(moved, there, lambda: "bb")
    assert "vmlab rebuild wide" in said.value.hint
    within = loads(BED.replace("    shared: /srv/lustre\n", ""), "wide.yaml")
    with pytest.raises(HostError, match=f"{OST} is there, and the topology has it in its host's pool"):
        folders(within, there, lambda: "bb")
    pool = looks(kvm1=replace(NOTHING, volumes={OST: VolumeFacts(OST, f"/pool/{OST}", "")}))
    with pytest.raises(HostError, match=f"/pool/{OST} is there, and the topology has it in /srv/lustre/wide"):
        folders(bed, pool, lambda: "bb")


def test_who_makes_it_makes_all_that_is_in_it(bed: Topology) -> None:
    folder = SharedFolder("wide", "lustre", THERE.path, "kvm1")
    assert folder.servers(bed) == ["s1", "s2"]
    # Whoever has nothing in it need not mount it, and does not make it.
    assert folder.servers(loads(BED.replace("servers: [s2, s1]", "servers: s1"), "wide.yaml")) == ["s1"]
    assert [volume.name for volume in folder.volumes(bed)] == [MDT, OST]
    found = {"lustre": folder}
    assert {v.name: v.folder for v in desired_targets(bed, {"s1"}, host="kvm1", folders=found)} == {
        MDT: "wide.lustre",
        OST: "wide.lustre",
    }
    assert desired_targets(bed, {"s2"}, host="kvm2", folders=found) == ()


def test_it_is_made_before_what_is_in_it_and_goes_after_that(bed: Topology) -> None:
    folder = SharedFolder("wide", "lustre", THERE.path, "kvm1")
    desired = Desired("wide", (), folder.volumes(bed), {}, {}, folders=(folder,))
    plan = diff(desired, NOTHING, restart=False)
    assert [(type(action), action.name) for action in plan.actions] == [
        (CreateFolder, "wide.lustre"),
        (CreateVolume, MDT),
        (CreateVolume, OST),
    ]
    cut_off = replace(NOTHING, folders=(replace(THERE, whole=False, active=False),))
    assert [action.reason for action in diff(desired, cut_off, restart=False).folders] == ["its creation was cut off"]
    # Nobody sees what is in one that libvirt did not start with its host: it is there all the same.
    off = replace(NOTHING, folders=(replace(THERE, active=False),))
    assert diff(desired, off, restart=False).actions == ()
    there = replace(NOTHING, folders=(THERE,), volumes={name: facts(name) for name in (MDT, OST)})
    assert diff(desired, there, restart=False).actions == ()
    gone = removal(there.bed("wide"), there, keep_disks=False)
    assert [type(action) for action in gone.volumes] == [RemoveVolume, RemoveVolume]
    assert [type(action) for action in gone.folders] == [RemoveFolder]
    kept = removal(there.bed("wide"), there, keep_disks=True)
    assert (kept.volumes, kept.folders) == ((), ())
    with pytest.raises(HostError, match=r"a storage pool named wide\.lustre exists on the host and is not vmlab's"):
        diff(desired, replace(NOTHING, other_pools=frozenset({"wide.lustre"})), restart=False)


@pytest.mark.parametrize(
    ("name", "filesystem"),
    [
        (MDT, "lustre"),
        ("wide._my-fs-OST000a.raw", "my-fs"),
        ("wide._scratch-MGS.raw", "scratch"),
        ("wide._revert._lustre-OST0000.raw", "lustre"),
        ("wide._snap.s1._lustre-OST0000.raw", None),
        ("wide.n1.disk-lustre-OST0000.raw", None),
        ("wide.n1.root.qcow2", None),
    ],
)
def test_what_is_of_a_target_is_known_by_its_name(name: str, filesystem: str | None) -> None:
    assert identity.filesystem_of(name) == filesystem
