"""Snapshots of two real guests that share a disk: back under I/O, memory kept, and a kill in each phase."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from .conftest import Vmlab, remains

BED = "t-snap"
NODES = ("oss1", "oss2")
DISK = "/dev/disk/by-id/virtio-lustre-OST0000"
TOPOLOGY = f"""
name: {BED}
image: demo
fabrics: {{eth: {{kind: ethernet, lnet: tcp}}}}
nodes:
  # As in test_warm.py, whose template serves here, too.
  "oss[1-2]": {{role: [mds, oss, client], memory: 512MiB, powers: "@oss", fabrics: [eth],
                disks: [{{name: own, size: 64MiB}}]}}
filesystems:
  lustre:
    mgt: {{servers: [oss1, oss2], size: 64MiB}}
    mdts: [{{servers: [oss1, oss2], size: 64MiB}}]
    osts: [{{servers: [oss1, oss2], size: 64MiB}}]
"""
# Files with their checksums, a process that counts, and one that writes as fast as it can and says what it wrote.
PREPARE = f"""
mkdir -p /root/io /root/kept
for i in 1 2 3 4; do head -c 300000 /dev/urandom >/root/kept/$i; done
[ "$(hostname)" = oss2 ] || dd if=/dev/urandom of={DISK} bs=1M count=8 oflag=direct status=none
[ "$(hostname)" = oss1 ] || dd if=/dev/urandom of={DISK} bs=1M count=8 seek=16 oflag=direct status=none
cd /root/kept && sha256sum * >/root/sums && sync
setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i >/run/counter; sleep 0.1; done' </dev/null >/dev/null 2>&1 &
setsid sh -c 'echo $$ >/run/writer; i=0; while :; do i=$((i+1))
  head -c 100000 /dev/urandom >/root/io/$i; sync /root/io/$i
  sha256sum /root/io/$i >>/root/written; sync /root/written; done' </dev/null >/dev/null 2>&1 &
"""
SPOIL = f"""
kill $(cat /run/writer); cat /run/counter
for i in 1 2 3; do head -c 300000 /dev/zero >/root/kept/$i; done; rm -f /root/kept/4; touch /root/kept/new
[ "$(hostname)" = oss1 ] || dd if=/dev/zero of={DISK} bs=1M count=32 oflag=direct status=none
rm -f /root/io/1 /root/written; echo newer >/root/what; sync
"""
# From the disk, and not from what was in memory.
CHECK = f"""
kill $(cat /run/writer); sync; echo 3 >/proc/sys/vm/drop_caches
cd /root/kept && sha256sum --quiet -c /root/sums && [ "$(ls | wc -l)" = 4 ] && sha256sum --quiet -c /root/written &&
echo "$(wc -l </root/written) $(cat /run/counter) $(dd if={DISK} bs=1M count=32 iflag=direct status=none | sha256sum)"
"""
LOG_INS = "journalctl -q -b -t sshd -t sshd-session -o cat | grep -c '^Accepted publickey'"
# By one log-in: random numbers, clock, log-ins, how often the kernel was told that it is a copy, and sessions.
LOOK = f"""
head -c 16 /dev/urandom | od -An -tx1 | tr -d ' '; date +%s; {LOG_INS}
dmesg | grep -c 'reseeded due to virtual machine fork'; pgrep -fc '^sshd.*@notty'
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("snap") / "snap.yaml"
    path.write_text(TOPOLOGY)
    return str(path)


@pytest.fixture(scope="module")
def bed(vmlab: Vmlab, file: str) -> Iterator[Vmlab]:
    vmlab.run("up", file)
    yield vmlab
    vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []


def on_all(bed: Vmlab, script: str) -> dict[str, str]:
    return bed.on_all(BED, script)


def looked(bed: Vmlab) -> dict[str, list[str]]:
    return {node: told.split() for node, told in on_all(bed, LOOK).items()}


def states(connection: "libvirt.virConnect") -> set[int]:
    return {connection.lookupByName(f"{BED}.{node}").state()[0] for node in NODES}


def pool(connection: "libvirt.virConnect") -> set[str]:
    found = connection.storagePoolLookupByName("vmlab")
    found.refresh()
    return {name for name in found.listVolumes() if name.startswith(f"{BED}._")}


def test_under_io_all_comes_back_and_memory_goes_on(bed: Vmlab, connection: "libvirt.virConnect") -> None:
    on_all(bed, PREPARE)
    time.sleep(2)
    before = looked(bed)
    assert bed.run("snapshot", "create", BED, "one") == "one\n"
    assert "all nodes stood still for" in bed.complaints
    (line,) = bed.json("snapshot", "list", BED)
    assert (line["name"], line["running"], line["differs"]) == ("one", 2, "")
    definitions = [connection.lookupByName(f"{BED}.{n}").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) for n in NODES]
    counted = {node: int(told.split()[-1]) for node, told in on_all(bed, SPOIL).items()}
    found, random = [], []
    for _ in range(2):
        begin = time.time()
        bed.run("snapshot", "revert", BED, "one", "--yes")
        copies = looked(bed)
        random.append({node: told[0] for node, told in copies.items()})
        for node, (_, clock, log_ins, copied, sessions) in copies.items():
            assert begin - 2 <= int(clock) <= time.time() + 2, node
            # That of `create`, which is over in the copy, and this one: clocks were set without one.
            assert int(log_ins) - int(before[node][2]) == 2, node
            assert int(copied) - int(before[node][3]) == 1, node
            assert sessions == "1", node
        for node, told in on_all(bed, CHECK).items():
            written, counter, digest, _ = told.split()
            assert int(written) > 0, node
            assert 10 < int(counter) < counted[node] + 600, node  # on from there: not from 0
            found.append(digest)
    assert len(set(found)) == 1  # both see one disk, and the same one after each revert
    assert all(random[0][node] != random[1][node] for node in NODES)
    assert random[1]["oss1"] != random[1]["oss2"]
    after = [connection.lookupByName(f"{BED}.{n}").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) for n in NODES]
    assert after == definitions
    assert {node["stage"] for node in bed.json("status", BED)} == {"ready"}


def longer(*stages: str) -> list[Any]:
    """They take half a minute each."""
    return [pytest.param(stage, marks=pytest.mark.nightly) for stage in stages]


def ended_at(vmlab: Vmlab, stage: str, *argv: str, by: int = signal.SIGKILL) -> tuple[int, str]:
    """End the command when it says this; its status, and what it said after that."""
    process = vmlab.start(*argv)
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if re.search(stage, line):
            break
    else:
        pytest.fail(f"{argv} never said {stage}:\n{''.join(seen)}")
    process.send_signal(by)
    _, said = process.communicate()
    return process.returncode, said


def test_after_ctrl_c_all_go_on_and_nothing_is_kept(bed: Vmlab, connection: "libvirt.virConnect") -> None:
    status, said = ended_at(bed, "stands still", "snapshot", "create", BED, "two", by=signal.SIGINT)
    assert (status, "no snapshot was taken, and all nodes go on" in said) == (130, True)
    assert states(connection) == {libvirt.VIR_DOMAIN_RUNNING}
    assert [line["name"] for line in bed.json("snapshot", "list", BED)] == ["one"]


@pytest.mark.parametrize("stage", ["stands still", *longer("takes up to", "copied", "memory is saved", "goes on")])
def test_a_create_that_is_killed_leaves_the_bed_as_it_was(
    bed: Vmlab, file: str, connection: "libvirt.virConnect", stage: str
) -> None:
    ended_at(bed, stage, "snapshot", "create", BED, "two")
    there = [line["name"] for line in bed.json("snapshot", "list", BED)]
    bed.run("up", file, "--no-wait")
    assert states(connection) == {libvirt.VIR_DOMAIN_RUNNING}
    assert [line["name"] for line in bed.json("snapshot", "list", BED)] == there
    left = {name.split(".")[2] for name in pool(connection) if "._snap." in name}
    assert left == set(there)
    if "two" in there:
        bed.run("snapshot", "delete", BED, "two", "--yes")


@pytest.mark.parametrize(
    "stage", ["oss.: off", "memory is back", *longer("takes up to", "are ready", "disks are back", "goes")]
)
def test_a_revert_that_is_killed_is_none_or_is_gone_on_with(
    bed: Vmlab, file: str, connection: "libvirt.virConnect", stage: str
) -> None:
    on_all(bed, "echo newer >/root/what; sync")
    ended_at(bed, stage, "snapshot", "revert", BED, "one", "--yes")
    half = f"{BED}._revert.json" in pool(connection)
    if stage in ("oss.: off", "disks are back", "memory is back"):
        assert half
        bed.run("power", "on", BED, "oss1", status=4)
        bed.run("status", BED, "--no-guests")
        assert f"{BED} is put back to its snapshot one in part only" in bed.complaints
    bed.run("up", file, "--no-wait")
    assert states(connection) == {libvirt.VIR_DOMAIN_RUNNING}
    told = on_all(bed, "cat /root/what 2>/dev/null || echo older")
    assert len(set(told.values())) == 1
    assert "older" in told.values() or not half
    assert not any("._revert." in name for name in pool(connection))
    assert [line["name"] for line in bed.json("snapshot", "list", BED)] == ["one"]


BOOTS = "cat /proc/sys/kernel/random/boot_id"


def test_a_bed_that_was_kept_warm_goes_on(bed: Vmlab, file: str, connection: "libvirt.virConnect") -> None:
    boots = on_all(bed, BOOTS)
    on_all(bed, "mount -t tmpfs none /mnt && echo kept >/mnt/it")
    bed.run("down", BED, "--keep-warm")
    assert states(connection) == {libvirt.VIR_DOMAIN_SHUTOFF}
    assert {node["stage"] for node in bed.json("status", BED)} == {"saved"}
    time.sleep(5)
    bed.run("up", file)
    assert on_all(bed, BOOTS) == boots
    assert set(on_all(bed, "cat /mnt/it && umount /mnt").values()) == {"kept"}
    begin = time.time()
    for node, told in on_all(bed, "date +%s").items():
        assert begin - 2 <= int(told) <= time.time() + 2, node


@pytest.mark.parametrize("stage", ["memory is saved", *longer("takes up to", "stands still")])
def test_a_bed_that_was_to_be_kept_warm_when_the_kill_came_goes_on(
    bed: Vmlab, file: str, connection: "libvirt.virConnect", stage: str
) -> None:
    boots = on_all(bed, BOOTS)
    ended_at(bed, stage, "down", BED, "--keep-warm")
    bed.run("up", file)
    assert on_all(bed, BOOTS) == boots
    assert states(connection) == {libvirt.VIR_DOMAIN_RUNNING}
    assert not any("keep-warm" in name for name in pool(connection))


def test_of_a_bed_that_is_off_the_disks_come_back_and_down_takes_all(
    bed: Vmlab, connection: "libvirt.virConnect"
) -> None:
    bed.run("power", "off", BED, "*")
    bed.run("snapshot", "create", BED, "cold")
    folder = Path(connection.storagePoolLookupByName("vmlab").XMLDesc().partition("<path>")[2].partition("</path>")[0])
    disk = folder / f"{BED}._lustre-OST0000.raw"
    before = disk.read_bytes()
    with disk.open("r+b") as opened:
        opened.write(b"something else")
    bed.run("snapshot", "revert", BED, "cold", "--yes")
    assert states(connection) == {libvirt.VIR_DOMAIN_SHUTOFF}
    assert disk.read_bytes() == before
    bed.run("down", BED, status=2)
    assert "  snapshots: cold, one" in bed.complaints
