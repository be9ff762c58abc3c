"""Two real guests that go on from a template's memory, and are themselves all the same."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from .conftest import Vmlab, remains

BED = "t-warm"
NODES = ("oss1", "oss2")
ONLY = ("--warm", "only")
TOPOLOGY = f"""
name: {BED}
image: demo
fabrics: {{eth: {{kind: ethernet, lnet: tcp}}}}
nodes:
  "oss[1-2]": {{role: [mds, oss, client], memory: 512MiB, powers: "@oss", fabrics: [eth],
                disks: [{{name: own, size: 64MiB}}]}}
filesystems:
  lustre:
    mgt: {{servers: [oss1, oss2], size: 64MiB}}
    mdts: [{{servers: [oss1, oss2], size: 64MiB}}]
    osts: [{{servers: [oss1, oss2], size: 64MiB}}]
"""
# Its own seed again: what it becomes shows in the file's time.
DELAYED = """
mkfifo /run/words && touch -d @1 /etc/ssh/ssh_host_ed25519_key
unshare -m sh -c 'mount --bind /run/words /dev/kmsg && exec sh /usr/lib/vmlab/first-boot wake' >/dev/null 2>&1 &
exec 3>/run/words
sleep 3; stat -c %Y /etc/ssh/ssh_host_ed25519_key
echo 'random: crng reseeded due to virtual machine fork' >&3
wait; stat -c %Y /etc/ssh/ssh_host_ed25519_key
"""

KSM = Path("/sys/kernel/mm/ksm")
SHARES = os.access(KSM / "run", os.W_OK)  # not in a container, for instance
OF_MEMORY = re.compile(rf"^Size: +{512 << 10} kB$.*?^Pss: +(\d+) kB$", re.MULTILINE | re.DOTALL)
LOG_INS = "journalctl -q -b -t sshd -t sshd-session -o cat | grep -c '^Accepted publickey'"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("warm") / "warm.yaml"
    path.write_text(TOPOLOGY)
    return str(path)


@pytest.fixture(scope="module")
def bed(vmlab: Vmlab, file: str) -> Iterator[Vmlab]:
    """With its templates there, so that nothing boots."""
    vmlab.run("up", file, *ONLY)
    vmlab.run("down", BED, "--yes")
    vmlab.run("up", file, *ONLY)
    yield vmlab
    vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []


def on_all(bed: Vmlab, script: str) -> dict[str, str]:
    return bed.on_all(BED, script)


def test_nothing_boots(bed: Vmlab) -> None:
    assert "boots" not in bed.complaints
    for node in NODES:
        console = bed.run("console", BED, node, "--log")
        assert "vmlab: first boot" not in console
        assert f"vmlab: clone: {node}" in console
    assert {node["stage"] for node in bed.json("status", BED)} == {"ready"}


def test_each_is_who_it_should_be(bed: Vmlab, connection: "libvirt.virConnect") -> None:
    assert on_all(bed, "hostname; cat /etc/hostname") == {node: f"{node}\n{node}" for node in NODES}
    for told in (
        on_all(bed, "cat /etc/machine-id"),
        on_all(bed, "cat /etc/ssh/ssh_host_ed25519_key.pub"),
        on_all(bed, "head -c 16 /dev/urandom | od -An -tx1"),
        on_all(bed, "cat /proc/sys/kernel/random/uuid"),
        on_all(bed, "ip -br -4 address show eth"),
    ):
        assert len(set(told.values())) == len(NODES), told
    begin = time.time()
    for node, clock in on_all(bed, "date +%s").items():
        assert begin - 2 <= int(clock) <= time.time() + 2, node
    for node, cards in on_all(bed, "cat /sys/class/net/mgmt/address /sys/class/net/eth/address").items():
        xml = connection.lookupByName(f"{BED}.{node}").XMLDesc()
        assert all(mac in xml for mac in cards.split()), node
    assert set(on_all(bed, "cat /root/.ssh/authorized_keys | grep -c template; true").values()) == {"0"}


def test_what_it_boots_with_it_has(bed: Vmlab) -> None:
    disks = "\n".join(f"virtio-{name}" for name in ("lustre-MDT0000", "lustre-MGS", "lustre-OST0000", "own"))
    assert set(on_all(bed, "ls /dev/disk/by-id | grep -v -e root -e seed").values()) == {disks}
    on_all(bed, "[ $(hostname) = oss2 ] || echo word | dd of=/dev/disk/by-id/virtio-lustre-MGS oflag=sync status=none")
    assert on_all(bed, "head -c 4 /dev/disk/by-id/virtio-lustre-MGS")["oss2"] == "word"
    assert set(on_all(bed, "networkctl --no-legend list mgmt eth | grep -c configured").values()) == {"2"}
    for node, host in on_all(
        bed, "logger heard; journalctl -b -q -n 1 -t root -o json | sed 's/,/\\n/g' | grep HOST"
    ).items():
        assert node in host


def test_keys_are_drawn_when_the_kernel_has_new_random_numbers_and_not_before(bed: Vmlab) -> None:
    before, after = on_all(bed, DELAYED)["oss1"].split()
    assert before == "1"
    assert int(after) > 1


def test_to_libvirt_it_is_what_a_boot_would_have_made_of_it(
    bed: Vmlab, file: str, connection: "libvirt.virConnect"
) -> None:
    bed.run("up", file)
    assert "nothing to change" in bed.complaints
    for node in NODES:
        domain = connection.lookupByName(f"{BED}.{node}")
        assert domain.isPersistent()
        running, defined = (domain.XMLDesc(flag).count("<disk ") for flag in (0, libvirt.VIR_DOMAIN_XML_INACTIVE))
        assert running == defined


def test_after_a_power_cycle_it_boots_and_is_the_same(bed: Vmlab, file: str) -> None:
    was = on_all(bed, "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; hostname")
    bed.run("power", "cycle", BED, "oss2")
    bed.run("up", file)
    assert on_all(bed, "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; hostname") == was
    assert "vmlab: first boot: oss2" in bed.run("console", BED, "oss2", "--log")


@pytest.mark.skipif(not SHARES, reason="KSM is not there, or not ours to run")
def test_clones_share_memory_until_they_write_to_it(bed: Vmlab) -> None:
    """What is alike in both counts half for each; no two pages of the file are alike."""
    on_all(bed, "seq 1000000 9000000 | head -c 32M >/run/alike")
    apart = memory_kib()
    found = bed.json("host", "share-memory")
    together = memory_kib()
    assert found["complete"], found
    assert found["permanent"] == (KSM / "run").read_text().startswith("1")
    assert found["shared_bytes"] > 32 << 20
    assert together < 0.7 * apart, (apart, together)
    on_all(bed, "[ $(hostname) = oss2 ] || seq 1000001 9000000 | head -c 32M | dd of=/run/alike conv=notrunc")
    one, other = on_all(bed, "md5sum </run/alike").values()
    assert one != other
    assert memory_kib() > together + (30 << 10)
    on_all(bed, "rm /run/alike")


@pytest.mark.alone  # for a moment the machine has what the killed one left
@pytest.mark.skipif(not SHARES or "1" in (KSM / "run").read_text(), reason="KSM is not ours to run")
def test_ksmd_stops_with_the_next_vmlab_when_the_one_that_began_it_was_killed(bed: Vmlab) -> None:
    before = {name: (KSM / name).read_text() for name in ("run", "pages_to_scan")}
    process = bed.start("host", "share-memory")
    deadline = time.monotonic() + 30
    while (KSM / "run").read_text() == before["run"]:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (KSM / "run").read_text() != before["run"]
    bed.run("list")
    assert "kernel/mm/ksm/run was left changed by a vmlab that was killed: put back" in bed.complaints
    assert {name: (KSM / name).read_text() for name in before} == before


def memory_kib() -> int:
    """Of all guests' memory: what several of them hold counts a part for each (PSS)."""
    held = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"guest={BED}." in (place / "cmdline").read_text(errors="replace"):
                held += [int(kib) for kib in OF_MEMORY.findall((place / "smaps").read_text())]
    assert len(held) == len(NODES)
    return sum(held)


def test_memory_of_a_clone_is_kept_and_goes_on(bed: Vmlab, file: str) -> None:
    on_all(bed, "echo here >/run/word")
    before = on_all(bed, LOG_INS)
    bed.run("down", BED, "--keep-warm")
    bed.run("up", file)
    assert set(on_all(bed, "cat /run/word").values()) == {"here"}
    # Ours were two by now; all of `up` takes one.
    assert {node: int(number) - int(before[node]) for node, number in on_all(bed, LOG_INS).items()} == dict.fromkeys(
        NODES, 3
    )


def test_down_keeps_the_memory_of_a_bed_whose_file_says_so(bed: Vmlab, file: str) -> None:
    bed.run("up", file, "--set", "keep=warm")
    on_all(bed, "echo kept >/run/word")
    bed.run("down", BED)
    assert {node["stage"] for node in bed.json("status", BED)} == {"saved"}
    bed.run("up", file, "--set", "share_memory=true")
    assert ("guests share pages: " if SHARES else "guests share no memory: ") in bed.complaints
    assert set(on_all(bed, "cat /run/word").values()) == {"kept"}


def test_a_rebuild_goes_back_to_what_the_one_before_has_kept(bed: Vmlab, file: str) -> None:
    bed.run("rebuild", file, "--yes", "--keep-new", *ONLY)
    assert f"{BED}: rebuilt: warm" in bed.complaints
    on_all(bed, "touch /root/later; head -c 4096 /dev/urandom | dd of=/dev/disk/by-id/virtio-own status=none")
    bed.run("rebuild", file, "--yes", *ONLY)
    assert f"{BED}: rebuilt: revert to what was new at " in bed.complaints
    assert set(on_all(bed, "ls /root; head -c 4096 /dev/disk/by-id/virtio-own | tr -d '\\0'").values()) == {""}
    assert [line["name"] for line in bed.json("snapshot", "list", BED)] == ["new"]


def test_whoever_cannot_be_a_clone_is_told_before_anything_is_done(vmlab: Vmlab, file: str) -> None:
    vmlab.run("up", file, "--name", "t-cold", "--set", "first_boot=cloud-init", *ONLY, status=4)
    assert "oss[1-2] cannot be a template's clone: cloud-init makes it what it is" in vmlab.complaints
    assert remains("t-cold", vmlab) == []


def test_templates_are_listed(bed: Vmlab) -> None:
    (line,) = [line for line in bed.json("warm", "list") if line["template"]["memory_kib"] == 524288][:1]
    assert line["useless"] == ""
    assert line["size"] > 50 << 20


@pytest.mark.parametrize("wait_s", [0.0, 1.2])
def test_a_clone_that_was_killed_on_its_way_is_begun_anew(bed: Vmlab, file: str, wait_s: float) -> None:
    bed.run("down", BED, "--yes")
    process = bed.start("up", file, *ONLY)
    assert process.stderr is not None
    for line in process.stderr:
        if line.rstrip().endswith(": clone"):
            break
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    bed.run("up", file, *ONLY)
    assert on_all(bed, "hostname") == {node: node for node in NODES}
    with contextlib.suppress(FileNotFoundError):
        assert not list(Path("/var/lib/libvirt/vmlab/beds").glob(f"{BED}.*.clone.*"))


def test_a_template_that_is_not_what_it_was_is_told_once_and_made_anew(vmlab: Vmlab, tmp_path: Path) -> None:
    """One of its own shape. What was cut shows at once; what its disk lost shows when a clone fails."""
    path = tmp_path / "rot.yaml"
    path.write_text("name: t-rot\nimage: demo\nnodes: {n1: {role: client, memory: 480MiB}}\n")
    up = ("up", str(path), "--warm", "auto")
    vmlab.run(*up, *ONLY)
    there = (line["template"] for line in vmlab.json("warm", "list"))
    (key,) = (one["key"] for one in there if one["memory_kib"] == 480 << 10)
    memory = Path(f"/var/lib/libvirt/vmlab/images/templates/{key}.memory")
    vmlab.run("down", "t-rot", "--yes")
    os.truncate(memory, 1 << 20)
    vmlab.run(*up, *ONLY)
    assert f"the template {key} of demo was cut or written to: it is made anew" in vmlab.complaints
    assert "n1: clone" in vmlab.complaints
    vmlab.run("down", "t-rot", "--yes")
    facts = memory.stat()
    with memory.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"x" * (1 << 20))
    os.utime(memory, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    vmlab.run(*up)
    assert f"the template {key} is not what it was, and is removed" in vmlab.complaints
    assert vmlab.on_all("t-rot", "hostname") == {"n1": "n1"}
    vmlab.run("down", "t-rot", "--yes")
    assert remains("t-rot", vmlab) == []
    assert key not in {line["template"]["key"] for line in vmlab.json("warm", "list")}
    assert not list(memory.parent.glob(f"{key}.*"))


@pytest.mark.alone  # for its `gc --apply`
def test_a_template_that_was_killed_leaves_no_guest_and_is_made_again(
    vmlab: Vmlab, file: str, connection: "libvirt.virConnect"
) -> None:
    """Of its own shape, so that it is not there yet."""
    asked = ("up", file, "--name", "t-half", "--set", "nodes.*.memory=448MiB", *ONLY)
    process = vmlab.start(*asked)
    assert process.stderr is not None
    for line in process.stderr:
        if "boots, once" in line:
            break
    time.sleep(3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 30
    while any(domain.name().startswith("vmlab-template.") for domain in connection.listAllDomains()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "template file" in {line["kind"] for line in vmlab.json("gc")}
    vmlab.run("gc", "--apply")
    assert "template file" not in {line["kind"] for line in vmlab.json("gc")}
    vmlab.run("down", "t-half", "--yes")
    assert remains("t-half", vmlab) == []
