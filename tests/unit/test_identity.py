"""What is taken for ours by its name: every form that is given, and none beside."""

import hashlib
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.values import identity

BEDS = st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True)
NODES = st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
DISKS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,19}", fullmatch=True)
FILE_SYSTEMS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,7}", fullmatch=True)
KINDS = st.sampled_from(("MGS", "MDT0000", "OST000a", "OSTffff"))
IMAGES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)


@given(BEDS, NODES, DISKS)
def test_a_nodes_volumes_are_its_own(bed: str, node: str, disk: str) -> None:
    for name in (
        identity.root_volume(bed, node),
        identity.seed_volume(bed, node),
        identity.disk_volume(bed, node, disk),
        identity.console_volume(bed, node),
        f"{identity.console_volume(bed, node)}.0",  # as virtlogd turns it over
        identity.kept_console(bed, node, datetime(2026, 8, 1, 2, 3, 4, 56_789, tzinfo=UTC)),
        identity.memory_dump(identity.domain_name(bed, node)),
    ):
        assert identity.owner_of(name) == (bed, node)
        assert identity.of_dump(name) == name.endswith(".memory")


@given(BEDS, FILE_SYSTEMS, KINDS)
def test_a_targets_volume_is_its_beds(bed: str, fsname: str, kind: str) -> None:
    assert identity.owner_of(identity.target_volume(bed, f"{fsname}-{kind}")) == (bed, None)
    assert identity.owner_of(identity.kept_volume(bed)) == (bed, None)


@given(BEDS, st.sampled_from(("kernel", "initrd")), st.binary())
def test_a_copied_kernel_is_its_beds_and_no_data(bed: str, what: str, content: bytes) -> None:
    name = identity.boot_volume(bed, what, hashlib.sha256(content).hexdigest())
    assert identity.owner_of(name) == (bed, None)
    assert identity.is_boot_volume(name)
    assert not identity.has_data(name)


@given(BEDS, NODES, DISKS, st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}", fullmatch=True))
def test_a_snapshots_files_are_its_beds_and_none_of_its_disks(bed: str, node: str, disk: str, snapshot: str) -> None:
    assert identity.is_snapshot_name(snapshot)
    disks = (
        identity.root_volume(bed, node),
        identity.disk_volume(bed, node, disk),
        identity.target_volume(bed, "l-OST0000"),
    )
    of_it = (
        identity.snapshot_description(bed, snapshot),
        f"{identity.snapshot_description(bed, snapshot)}.partial",
        identity.snapshot_begun(bed, snapshot),
        identity.snapshot_memory(bed, snapshot, node),
        *(identity.snapshot_disk(bed, snapshot, volume) for volume in disks),
    )
    on_the_way = (identity.reverting(bed), *(identity.reverting_disk(bed, volume) for volume in disks))
    assert {identity.snapshot_of(name) for name in of_it} == {snapshot}
    assert {identity.snapshot_of(name) for name in (*on_the_way, *disks)} == {None}
    for name in (*of_it, *on_the_way):
        assert identity.owner_of(name) == (bed, None)
        assert identity.of_snapshot(name)
        assert not identity.has_data(name)
        assert not identity.has_data(f"/pool/beds/{name}")
    assert not any(map(identity.of_snapshot, disks))
    assert len({*of_it, *on_the_way, *disks}) == len(of_it) + len(on_the_way) + len(disks)


@given(IMAGES, st.sampled_from((".qcow2", ".vmlinuz", ".initrd")))
def test_an_images_files_are_its_own(image: str, suffix: str) -> None:
    name = identity.image_file(image, "0123456789ab", suffix)
    assert identity.image_of(name) == identity.image_of(f".{name}.partial") == image


@pytest.mark.parametrize(
    "name",
    [
        *("ha.notes.img", "windows.qcow2", "ha", "ha.", "ha.oss1", "ha.oss1.qcow2", "ha.oss1.root.raw", "lost+found"),
        *("ha.oss1.root.qcow2.bak", "ha.oss1.root.qcow2~", "ha.oss1.root.snap1", "a-ha.b.disk-.raw", "HA.a.seed.iso"),
        *("ha.b.disk-a.qcow2", "ha.b.disk-a.b.raw", "ha.b.console.log.gz", "ha.b.x.root.qcow2", ".vmlab-pool"),
        *("ha._fs-OST0000.qcow2", "ha._fs-OST000.raw", "ha._fs-OST000A.raw", "ha._fs.raw", "ha._kept.raw"),
        *("ha._kernel-0123456789ab.raw", "ha._kernel-0123456789AB", "ha._kernel-0123", "ha.n1._kernel-0123456789ab"),
        *("ha.oss1.root.qcow2\n", "\nha.oss1.root.qcow2", "ha.oss1-.root.qcow2", "ha.-oss1.root.qcow2", "1.a.seed.iso"),
        *("ha._snap.one", "ha._snap.one.qcow2", "ha._snap.one.oss1.seed.iso", "ha._snap..json", "ha._snap.a.b.json"),
        *("ha._snap.one.oss1.root.qcow2.partial", "ha._revert.one.json", "ha._snap.-a.json", "ha._snap.one.x.raw"),
        *(f"{'a' * 32}.oss1.root.qcow2", f"ha.{'a' * 64}.root.qcow2", "ha.oss1.notes.root.qcow2", "ha..root.qcow2"),
    ],
)
def test_what_only_looks_like_a_volume_of_ours(name: str) -> None:
    assert identity.owner_of(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *("Rocky-9.qcow2", "rocky-9.qcow2", "iso", "lost+found", "demo.json", "demo.qcow2", "demo-0123.qcow2"),
        *("debian-12-genericcloud-amd64-20240507-1740.qcow2", "Rocky-9-GenericCloud-Base-9.4-20240509.0.x86_64.qcow2"),
        *("demo-0123456789AB.qcow2", "demo-0123456789ab.img", "demo-0123456789ab.qcow2.bak", "-0123456789ab.qcow2"),
        *("Demo-0123456789ab.qcow2", "demo-0123456789ab0.qcow2", "demo-0123456789ab.qcow2\n", "a0123456789ab.initrd"),
    ],
)
def test_what_only_looks_like_an_images_file(name: str) -> None:
    assert identity.image_of(name) is None


@given(BEDS, NODES)
def test_uuids_are_those_of_version_5(bed: str, node: str) -> None:
    space = uuid.UUID("6f0ad7c4-1a53-5d0e-9a3b-7c6f3d1e2b90")  # whatever was defined with it is ours for good
    assert identity.domain_uuid(bed, node) == str(uuid.uuid5(space, f"domain/{bed}/{node}"))
    assert identity.network_uuid(bed, node) == str(uuid.uuid5(space, f"network/{bed}/{node}"))
