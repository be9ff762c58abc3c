"""Whether two hosts see the same disk: files stand in for disks, a shell here for the one that ssh starts there."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmlab.errors import HostError
from vmlab.lab.beds import same_disks
from vmlab.lab.beds.same_disks import refuse_other_disks, shared_over_hosts
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import ObservedBed
from vmlab.topology import Topology, load, loads
from vmlab.virt.disk_seen import DiskSeen, disk_seen
from vmlab.virt.machine import Machine

ROOT = Path(__file__).parents[2]
THERE = Machine("there", ("sh", "-c"))
DISK = DiskSeen(1 << 30, "0x5000c500a1b2c300", "ab", blank=False)
LUN = "/dev/disk/by-id/wwn-0x5000c500a1b2c300"


def test_a_disk_is_read_here_and_there(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"Lustre" * 400_000)
    seen = disk_seen(Machine(), str(disk))
    assert seen == disk_seen(THERE, str(disk))
    assert (seen.size, seen.wwn, seen.blank) == (2_400_000, "", False)
    other = tmp_path / "other"
    other.write_bytes(b"x" + disk.read_bytes()[1:])
    assert seen.why_another(disk_seen(THERE, str(other))) == "it begins with other bytes here than there"
    other.write_bytes(bytes(2_400_000))
    empty = disk_seen(THERE, str(other))
    assert empty.blank
    assert "no WWN is known" in str(empty.why_another(empty))
    with pytest.raises(HostError, match=r"there: .*/none cannot be read"):
        disk_seen(THERE, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (DISK, None),
        (replace(DISK, wwn=""), None),
        (replace(DISK, size=2 << 30), "it has 1073741824 bytes here and 2147483648 there"),
        (replace(DISK, wwn="0x5"), "its WWN is 0x5000c500a1b2c300 here and 0x5 there"),
        (replace(DISK, begins="cd"), "it begins with other bytes here than there"),
    ],
)
def test_what_makes_it_another_disk(other: DiskSeen, why: str | None) -> None:
    assert DISK.why_another(other) == why


def test_an_empty_disk_is_known_by_its_wwn_only() -> None:
    blank = replace(DISK, blank=True)
    assert blank.why_another(blank) is None
    assert "it is empty" in str(blank.why_another(replace(blank, wwn="")))


@pytest.fixture
def pair() -> Topology:
    return load(ROOT / "topologies" / "ha-two-hosts.yaml")


def test_which_disks_are_compared(pair: Topology) -> None:
    found = shared_over_hosts(pair, ObservedBed(pair.name))
    assert {device[-1]: places for device, places in found.items()} == {number: ["kvm1", "kvm2"] for number in "012"}
    runs: Any = SimpleNamespace(host="kvm1", running=True)
    assert {device[-1] for device in shared_over_hosts(pair, ObservedBed(pair.name, {"oss1": runs}))} == {"0"}
    one = loads("name: one\nnodes: {n1: {role: oss, disks: [{name: d, kind: scsi, device: /dev/sdx}]}}\n", "one.yaml")
    assert shared_over_hosts(one, ObservedBed("one")) == {}


def test_a_pair_whose_hosts_see_different_disks_is_refused(pair: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {("kvm1", LUN): DISK, ("kvm2", LUN): replace(DISK, wwn="0x5")}
    monkeypatch.setattr(same_disks, "machine_of", lambda host: host.name)
    monkeypatch.setattr(same_disks, "disk_seen", lambda machine, device: seen.get((machine, device), DISK))
    both: Any = {name: SimpleNamespace(name=name) for name in pair.hosts}
    with pytest.raises(HostError, match=f"{LUN} is not one disk on kvm1 and on kvm2: its WWN is"):
        refuse_other_disks(Hosts(both), pair, ObservedBed(pair.name))
    seen.clear()
    refuse_other_disks(Hosts(both), pair, ObservedBed(pair.name))
