"""Snapshots: what one keeps, what is refused and why, and what is left of one that was cut off."""

from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from vmlab.domainxml.metadata import Address, NodeMetadata, node_element
from vmlab.domainxml.read import VolumeFacts, read_domain
from vmlab.domainxml.snapshot import add_generation, memory_snapshot_xml, why_unsavable, written_disks
from vmlab.errors import HostError, UsageError
from vmlab.plan.observed import ObservedBed, ObservedDomain
from vmlab.plan.snapshots import (
    SPARE,
    KeptDisk,
    KeptNode,
    Reverting,
    Room,
    Snapshot,
    complete,
    cut_off,
    find,
    losses,
    memory_of,
    read_reverting,
    read_snapshot,
    refuse_misfit,
    refuse_name,
    refuse_short,
    wanted,
    why_not,
)
from vmlab.values import identity

POOL = PurePath("/pool/beds")
MOMENT = "2026-11-29T07:00:00+00:00"
SHARED = identity.target_volume("ha", "lustre-OST0000")
NODES = ("oss1", "oss2")


def domain(node: str, state: str = "running", more: str = "", saved: str = "") -> ObservedDomain:
    address = Address("mgmt", "management", "virtio", "mgmt", "52:54:00:00:00:01", IPv4Interface("10.77.0.11/24"))
    metadata = NodeMetadata("ha", node, ("oss",), "demo", "root", f"digest-{node}", (address,))
    disks = [identity.root_volume("ha", node), SHARED]
    sources = "".join(
        f"<disk type='file' device='disk'><source file='{POOL / disk}'/><target dev='vd{letter}' bus='virtio'/></disk>"
        for disk, letter in zip(disks, "ab", strict=True)
    )
    seed = "<disk type='file'><source file='/elsewhere/seed'/><target dev='vdc' bus='virtio'/><readonly/></disk>"
    told = etree.tostring(node_element(metadata), encoding="unicode")
    xml = (
        f"<domain type='qemu'><name>ha.{node}</name><uuid>{identity.domain_uuid('ha', node)}</uuid>"
        f"<metadata>{told}</metadata><memory unit='MiB'>512</memory><vcpu>1</vcpu>"
        f"<devices>{sources}{seed}{more}</devices></domain>"
    )
    return ObservedDomain(read_domain(xml), state, frozenset(), saved=saved)


def bed(**nodes: ObservedDomain) -> ObservedBed:
    found = {node: domain(node) for node in NODES} | nodes
    names = [*(identity.root_volume("ha", node) for node in found), SHARED, identity.seed_volume("ha", "oss1")]
    names += [identity.console_volume("ha", "oss1"), identity.snapshot_disk("ha", "old", SHARED)]
    volumes = {name: VolumeFacts(name, str(POOL / name), "<volume/>") for name in names}
    return ObservedBed("ha", found, {}, volumes)


def test_a_disk_that_nodes_share_is_kept_once_and_seeds_and_other_snapshots_are_not() -> None:
    kept = wanted(bed(), "one", MOMENT)
    assert [disk.volume for disk in kept.disks] == [SHARED, "ha.oss1.root.qcow2", "ha.oss2.root.qcow2"]
    assert kept.disks[0].file == "ha._snap.one._lustre-OST0000.raw"
    assert [node.memory for node in kept.nodes] == ["ha._snap.one.oss1.memory", "ha._snap.one.oss2.memory"]
    assert all(identity.snapshot_of(file) == "one" for file in kept.files)


def test_states_are_kept_and_only_what_runs_has_memory() -> None:
    kept = wanted(bed(oss1=domain("oss1", "shut off"), oss2=domain("oss2", "paused")), "one", MOMENT)
    assert [(node.state, bool(node.memory)) for node in kept.nodes] == [("off", False), ("paused", True)]


PCI = "<hostdev type='pci'><source><address domain='0' bus='1' slot='0' function='0'/></source></hostdev>"
VIRTIOFS = "<filesystem type='mount'><driver type='virtiofs'/><source dir='/src'/><target dir='t'/></filesystem>"
NVME = "<disk type='file'><source file='/pool/beds/ha.oss1.root.qcow2'/><target dev='nvme0' bus='nvme'/></disk>"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (PCI, "oss1 has a PCI function of the host"),
        (VIRTIOFS, "oss1 shares a folder with the host (virtiofs)"),
        (VIRTIOFS.replace("virtiofs", "path"), "oss1 shares a folder with the host (9p)"),
        (NVME, "oss1 has an emulated NVMe disk"),
    ],
)
def test_what_qemu_cannot_save_is_refused_while_it_runs_and_not_when_it_is_off(more: str, told: str) -> None:
    with pytest.raises(HostError) as refused:
        wanted(bed(oss1=domain("oss1", more=more)), "one", MOMENT)
    assert told in refused.value.message
    assert "poweroff" in refused.value.hint
    assert wanted(bed(oss1=domain("oss1", "shut off", more)), "one", MOMENT).nodes[0].state == "off"


def test_nvme_on_qemus_command_line_is_seen() -> None:
    xml = (
        "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<qemu:commandline><qemu:arg value='-device'/><qemu:arg value='nvme,serial=1'/></qemu:commandline></domain>"
    )
    assert why_unsavable(xml) == ("has an emulated NVMe disk",)


@pytest.mark.parametrize(
    ("node", "told", "hint"),
    [
        (domain("oss1", "crashed"), "the kernel of oss1 crashed", "vmlab power cycle ha oss1"),
        (domain("oss1", "shut off", saved="libvirt"), "memory of oss1, off now, was saved", "vmlab power on ha oss1"),
        (domain("oss1", more="<disk><source dev='/dev/sdb'/></disk>"), "oss1 writes to /dev/sdb", "a topology without"),
    ],
)
def test_what_a_snapshot_would_lack_is_refused(node: ObservedDomain, told: str, hint: str) -> None:
    with pytest.raises(HostError) as refused:
        wanted(bed(oss1=node), "one", MOMENT)
    assert told in refused.value.message
    assert hint in refused.value.hint


def test_a_description_says_all_and_another_versions_says_nothing() -> None:
    kept = replace(wanted(bed(), "one", MOMENT), size=77)
    assert read_snapshot(kept.text()) == kept
    assert read_snapshot(kept.text().replace('"version": 1', '"version": 2')) is None
    assert read_reverting(Reverting("one", resumed=True).text()) == Reverting("one", resumed=True)


@given(st.text() | st.sampled_from(["[]", "{}", '{"version": 1}', '{"version": 1, "nodes": [1], "disks": []}', "null"]))
def test_what_is_no_description_is_none(text: str) -> None:
    assert read_snapshot(text) is None
    assert read_reverting(text) is None


def test_a_snapshot_lacking_a_file_is_not_whole() -> None:
    kept = wanted(bed(), "one", MOMENT)
    assert complete(kept, frozenset(kept.files))
    assert not any(complete(kept, frozenset(kept.files) - {file}) for file in kept.files)


def test_what_no_whole_snapshot_has_is_left_over() -> None:
    kept = wanted(bed(), "one", MOMENT)
    mine = {*kept.files, identity.snapshot_description("ha", "one")}
    left = {
        "ha._snap.two.oss1.memory",
        "ha._snap.two.json.partial",
        identity.snapshot_begun("ha", "one"),
        identity.snapshot_begun("ha", "two"),
    }
    way = {identity.reverting("ha"), identity.reverting_disk("ha", SHARED)}
    others = {SHARED, "ha.oss1.root.qcow2", "ha.oss1.console.log", "ha._kept"}
    assert set(cut_off(mine | left | way | others, [kept], reverting=True)) == left
    assert set(cut_off(mine | left | way | others, [kept], reverting=False)) == left | way
    assert set(cut_off(mine, [], reverting=False)) == mine


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({}, ""),
        ({"new1": domain("new1")}, "new1 is new"),
        ({"oss1": domain("oss1", more="<x/>")}, ""),
    ],
)
def test_whether_the_bed_is_the_same(now: dict[str, ObservedDomain], told: str) -> None:
    assert why_not(wanted(bed(), "one", MOMENT), bed(**now)) == told


def test_another_digest_image_or_number_of_nodes_is_no_bed_to_go_back_to() -> None:
    kept = wanted(bed(), "one", MOMENT)
    first, second = kept.nodes
    assert why_not(replace(kept, nodes=(replace(first, digest="x"), second)), bed()) == "oss1 was changed"
    assert why_not(replace(kept, nodes=(replace(first, image="x"), second)), bed()) == "oss1 has another image"
    gone = replace(kept, nodes=(*kept.nodes, replace(first, name="oss3")))
    assert why_not(gone, bed()) == "oss3 is no more"
    with pytest.raises(HostError, match="not the bed any more of which one was taken: oss3 is no more"):
        refuse_misfit(gone, bed())
    assert kept.topology != gone.topology


def test_names() -> None:
    kept = wanted(bed(), "one", MOMENT)
    refuse_name("two", [kept], "ha")
    with pytest.raises(UsageError, match="ha has a snapshot one already"):
        refuse_name("one", [kept], "ha")
    for bad in ("", "a.b", "-x", "x" * 32, "a/b", "json."):
        with pytest.raises(UsageError, match="is no name for a snapshot"):
            refuse_name(bad, [], "ha")
    with pytest.raises(UsageError, match="is what `vmlab down ha --keep-warm` does"):
        refuse_name("keep-warm", [], "ha")
    with pytest.raises(UsageError, match="is what `vmlab rebuild ha --keep-new` does"):
        refuse_name("new", [], "ha")
    with pytest.raises(UsageError, match=r"no snapshot 'two' \(there are: one\)"):
        find([kept], "ha", "two")


def test_space_is_what_memory_takes_at_most_and_disks_that_cannot_share() -> None:
    there = bed()
    assert memory_of(there, NODES) == 1 << 30
    room = Room(free=1 << 30, shares=False, taken={SHARED: 5 << 20, "x": 1 << 20})
    assert room.copied([SHARED]) == 5 << 20
    assert replace(room, shares=True).copied([SHARED]) == 0
    refuse_short("a snapshot", (1 << 30) - SPARE, room, "ha")
    with pytest.raises(HostError, match="a snapshot takes up to 961MiB, and 1GiB are free") as refused:
        refuse_short("a snapshot", (1 << 30) - SPARE + 1, room, "ha")
    assert refused.value.status == 4


def test_what_a_revert_takes_is_told() -> None:
    there = bed(oss2=domain("oss2", "shut off"))
    lines = "\n".join(losses(wanted(there, "one", MOMENT), bed()))
    assert "from 3 disks" in lines
    assert "switched off: oss[1-2]" in lines
    assert "from their memory: oss1" in lines


def test_memory_is_asked_for_without_any_disk() -> None:
    asked = etree.fromstring(memory_snapshot_xml(domain("oss1").facts.xml, "/pool/m"))
    memory = asked.find("memory")
    assert memory is not None
    assert dict(memory.attrib) == {"snapshot": "external", "file": "/pool/m"}
    disks = [(disk.get("name"), disk.get("snapshot")) for disk in asked.iterfind("disks/disk")]
    assert disks == [("vda", "no"), ("vdb", "no"), ("vdc", "no")]


def test_disks_that_are_written_to_are_told_whatever_they_are() -> None:
    xml = "<domain><devices>{}<disk><source file='/r'/><readonly/></disk></devices></domain>"
    sources = ("file='/a'", "dev='/dev/b'", "pool='p' volume='v'", "name='n'")
    disks = "".join(f"<disk><source {source}/></disk>" for source in sources)
    assert written_disks(xml.format(disks)) == ("/a", "/dev/b", "v", "n")


@pytest.mark.parametrize(("machine", "has"), [("q35", 1), ("pc-q35-7.2", 1), ("pc", 1), ("microvm", 0)])
def test_a_pc_has_a_number_that_changes_with_its_return(machine: str, has: int) -> None:
    xml = f"<domain><name>a</name><uuid>b</uuid><os><type arch='x86_64' machine='{machine}'>hvm</type></os></domain>"
    root = etree.fromstring(xml)
    for _ in range(2):
        add_generation(root)
    assert len(root.findall("genid")) == has
    if has:
        assert [child.tag for child in root][:3] == ["name", "uuid", "genid"]


def test_a_snapshot_knows_its_files() -> None:
    kept = Snapshot(
        "ha", "one", MOMENT, (KeptNode("n", "off", "d", "demo", ""),), (KeptDisk("ha._snap.one.n.root.qcow2", "v"),)
    )
    assert kept.files == ("ha._snap.one.n.root.qcow2",)
