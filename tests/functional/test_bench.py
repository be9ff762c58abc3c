"""Kernels, shares and SCSI disks of a node, on libvirt's test driver: what is made, what is a change, what is left."""

import hashlib
from pathlib import Path

import pytest

from vmlab.errors import HostError, TopologyError
from vmlab.lab.beds.down import down
from vmlab.lab.beds.plan import look
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.plan.actions import Plan
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe

from .test_up_down import Stop, assert_nothing_left, bring_up, kinds, stopping

BED = """
name: kb
nodes:
  n1:
    role: build
    memory: 256MiB
    kernel: {image: k/bzImage, initrd: k/initrd, args: vmlab.test=1}
    gdb: true
    share: [{host: src, at: /src}]
    disks:
      - {name: fast, size: 16MiB, kind: scsi, serial: s1, wwn: 5000c500a1b2c3d4, sector: 4KiB, multipath: 2}
      - {name: plain, size: 16MiB}
  n2: {role: build, memory: 256MiB, kernel: {image: k/bzImage}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "k").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "k/bzImage").write_bytes(b"kernel one")
    (tmp_path / "k/initrd").write_bytes(b"initrd one")
    return tmp_path


@pytest.fixture
def bed(folder: Path) -> Topology:
    return loads(BED, str(folder / "kb.yaml"))


def copy_of(what: str, content: bytes) -> str:
    return f"kb._{what}-{hashlib.sha256(content).hexdigest()[:12]}"


def planned(host: Host, bed: Topology) -> Plan:
    return look(only(host), bed, accel="auto", restart=False, progress=Silent()).plan


def booted(host: Host, node: str) -> list[str]:
    return sorted(Path(path).name for path in observe(host).domains[f"kb.{node}"].facts.details.uses.boot)


def test_a_kernel_is_booted_from_a_copy_that_goes_with_the_bed(host: Host, bed: Topology, folder: Path) -> None:
    before = (folder / "k/bzImage").stat()
    raised = bring_up(host, bed)
    assert kinds(raised).count("write-file") == 2  # one copy for both nodes
    assert booted(host, "n1") == [copy_of("initrd", b"initrd one"), copy_of("kernel", b"kernel one")]
    assert booted(host, "n2") == [copy_of("kernel", b"kernel one")]
    facts = observe(host).domains["kb.n1"].facts
    assert facts.details.boot_args == "nokaslr vmlab.test=1"
    assert facts.details.gdb
    assert facts.details.links == ("virtio-root", "virtio-seed", "virtio-plain", "wwn-0x5000c500a1b2c3d4")
    assert facts.details.paths == ("wwn-0x5000c500a1b2c3d4",)
    assert facts.metadata is not None
    assert facts.metadata.kernel == str(folder / "k/bzImage")
    assert [share.at for share in facts.metadata.shares] == ["/src"]
    assert planned(host, bed).actions == planned(host, bed).pending == ()
    after = (folder / "k/bzImage").stat()
    assert (after.st_uid, after.st_mode, after.st_mtime_ns) == (before.st_uid, before.st_mode, before.st_mtime_ns)
    down(only(host), "kb", keep_disks=False, progress=Silent())
    assert_nothing_left(host)


def test_a_kernel_that_is_built_anew_at_its_path_is_a_change(host: Host, bed: Topology, folder: Path) -> None:
    bring_up(host, bed)
    (folder / "k/bzImage").write_bytes(b"kernel two")
    plan = planned(host, bed)
    assert plan.actions == ()
    assert {(action.node, action.reason) for action in plan.pending} == {
        ("n1", "changed: kernel"),
        ("n2", "changed: kernel"),
    }
    bring_up(host, bed, restart=True)
    volumes = observe(host).volumes
    assert copy_of("kernel", b"kernel two") in volumes
    assert copy_of("kernel", b"kernel one") not in volumes
    assert planned(host, bed).actions == ()


def test_an_old_copy_stays_while_a_node_boots_it(host: Host, bed: Topology, folder: Path) -> None:
    bring_up(host, bed)
    (folder / "k/bzImage").write_bytes(b"kernel two")
    bring_up(host, bed)  # without leave: both nodes stay as they are
    assert copy_of("kernel", b"kernel one") in observe(host).volumes
    assert copy_of("kernel", b"kernel two") not in observe(host).volumes


def test_a_kernel_of_the_same_contents_elsewhere_is_no_change(host: Host, bed: Topology, folder: Path) -> None:
    bring_up(host, bed)
    (folder / "other").write_bytes(b"kernel one")
    moved = loads(BED.replace("k/bzImage", "other"), str(folder / "kb.yaml"))
    assert planned(host, moved).pending == ()


def test_arguments_and_shares_and_gdb_are_named_as_changes(host: Host, bed: Topology, folder: Path) -> None:
    bring_up(host, bed)
    for old, new, told in (
        ("vmlab.test=1", "vmlab.test=2", "kernel arguments"),
        ("at: /src", "at: /source", "share"),
        ("gdb: true", "gdb: false", "kernel arguments, gdb"),
        ("sector: 4KiB, ", "", "template, image, ssh keys or a disk's sectors"),
        ("multipath: 2", "multipath: 3", "disks"),
    ):
        plan = planned(host, loads(BED.replace(old, new), str(folder / "kb.yaml")))
        assert {action.reason for action in plan.pending} == {f"changed: {told}"}


def test_a_copy_that_was_cut_off_is_written_anew(host: Host, bed: Topology) -> None:
    name = copy_of("kernel", b"kernel one")
    bring_up(host, bed)
    down(only(host), "kb", keep_disks=False, progress=Silent())
    cut = f"<volume><name>{name}</name><capacity unit='bytes'>4</capacity></volume>"
    host.call(lambda connection: connection.storagePoolLookupByName("vmlab").createXML(cut))
    reasons = {action.name: action.reason for action in bring_up(host, bed).actions if action.kind == "write-file"}
    assert reasons == {name: "half written", copy_of("initrd", b"initrd one"): "absent"}
    assert observe(host).volumes[name].capacity == len(b"kernel one")


@pytest.mark.parametrize("after", [False, True])
def test_down_after_a_stop_of_a_change_at_any_action(
    host: Host, bed: Topology, folder: Path, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    def rebuilt() -> None:
        (folder / "k/bzImage").write_bytes(b"kernel one")
        bring_up(host, bed, restart=True)
        (folder / "k/bzImage").write_bytes(b"kernel two")

    rebuilt()
    total = len(bring_up(host, bed, restart=True).actions)
    for at in range(total):
        rebuilt()
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stopping(patch, at=at, after=after)
            bring_up(host, bed, restart=True)
        if at % 2:
            bring_up(host, bed, restart=True)
            assert [n for n in observe(host).volumes if "._kernel-" in n] == [copy_of("kernel", b"kernel two")]
        down(only(host), "kb", keep_disks=False, progress=Silent())
        assert_nothing_left(host)


def test_what_is_not_there_is_named_before_anything_is_done(host: Host, folder: Path) -> None:
    for old, new, told in (
        ("k/bzImage", "k/absent", f"kernel {folder}/k/absent: No such file or directory"),
        ("k/initrd", "k", f"initrd {folder}/k: it is no file with anything in it"),
        ("host: src", "host: none", f"share {folder}/none: No such file or directory"),
        ("host: src", "host: k/initrd", f"share {folder}/k/initrd: it is no folder"),
    ):
        with pytest.raises(TopologyError, match=told):
            bring_up(host, loads(BED.replace(old, new), str(folder / "kb.yaml")))
    assert_nothing_left(host)


def test_arguments_need_a_kernel_that_is_booted_directly(host: Host) -> None:
    bed = loads("name: kb\nnodes: {n1: {role: build, memory: 256MiB, kernel: {args: quiet}}}")
    with pytest.raises(HostError, match="n1: the image demo boots from its own disk, with the arguments"):
        bring_up(host, bed)
    assert_nothing_left(host)


@pytest.mark.parametrize(
    "wanted",
    ["{name: lun, device: /dev/sdx, kind: scsi}", "{name: more, size: 16MiB, kind: scsi}"],
    ids=["passed", "own"],
)
def test_a_scsi_disk_that_was_added_waits_for_leave(host: Host, bed: Topology, folder: Path, wanted: str) -> None:
    """It comes with its controller, and one that is passed has no serial number to tell that it is there."""
    bring_up(host, bed)
    added = loads(BED.replace("    disks:\n", f"    disks:\n      - {wanted}\n"), str(folder / "kb.yaml"))
    plan = planned(host, added)
    assert plan.actions == ()
    stops = {(action.node, action.reason) for action in plan.pending if action.kind == "stop-domain"}
    assert stops == {("n1", "changed: disks")}
