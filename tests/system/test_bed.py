"""A whole bed of five guests: up, what it has, RDMA through it, power, down. The tests go in this order."""

import gzip
import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from vmlab.guest.child import no_watch
from vmlab.lab.ground.bed import DEFAULT_URI, existing
from vmlab.lab.ground.guests import guests
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.lab.ground.stages import drive
from vmlab.lustre import failing
from vmlab.lustre.target import Target
from vmlab.plan.filesystems import Stage, Track
from vmlab.roles._target import prepare
from vmlab.runtime.wait import Deadline
from vmlab.steps import Step
from vmlab.virt.connection import connected

from .conftest import MINUTES, ROOT, SMALL, Vmlab, qemu_pids, remains

BED = "t-ha"
FILE = str(ROOT / "topologies/ha-topology.yaml")
UP = ("up", FILE, "--name", BED, *SMALL)
NODES = ["client1", "mds1", "mds2", "oss1", "oss2"]


@pytest.fixture(scope="module")
def bed(vmlab: Vmlab) -> Iterator[Vmlab]:
    vmlab.run(*UP, "--timings")
    yield vmlab
    vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []


def test_every_node_is_ready(bed: Vmlab) -> None:
    nodes = bed.json("status", BED)
    assert [node["name"] for node in nodes] == NODES
    assert {node["stage"] for node in nodes} == {"ready"}


def test_up_again_changes_nothing(bed: Vmlab) -> None:
    before = qemu_pids(BED)
    assert len(before) == len(NODES)
    bed.run(*UP)
    assert "nothing to change" in bed.complaints
    assert "carries no Lustre: the bed comes up without its file systems (lustre)" in bed.complaints
    assert qemu_pids(BED) == before
    plan = bed.json("plan", *UP[1:])
    assert (plan["changes"], plan["actions"]) == (False, [])


def test_an_image_without_lustre_is_told_by_all_who_ask_for_it(bed: Vmlab) -> None:
    for verb, status in ((("fs", "status"), 0), (("fs", "mount"), 4), (("lnet", "ping"), 4)):
        bed.run(*verb, FILE, "--name", BED, status=status)
    assert {t["state"] for t in bed.json("fs", "status", FILE, "--name", BED)["targets"]} == {"no Lustre"}
    assert {n["problem"] for n in bed.json("lnet", "show", FILE, "--name", BED)} == {"no Lustre in the image demo"}


def appended(path: str, text: str) -> Step:
    check = ("sh", "-c", 'grep -qxF "$2" "$1"', "vmlab", path, text)
    return Step(f"write {text}", check, (("sh", "-c", 'echo "$2" >>"$1"', "vmlab", path, text),))


def driven(bed: Vmlab, stages: tuple[Stage, ...], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Go through the stages twice; how many steps were applied, by stage and time."""
    monkeypatch.setenv("VMLAB_STATE_DIR", str(bed.state))
    nodes = {track.node for stage in stages for track in stage.tracks}
    with connected(DEFAULT_URI) as host, ExitStack() as stack:
        found = guests(only(host), existing(only(host), BED))
        doors = {name: stack.enter_context(found[name]) for name in nodes}
        for door in doors.values():
            door.connect(Deadline.after(120))
        ran = [
            drive(stages, doors, watch=lambda _: no_watch, progress=Silent(), deadline=Deadline.after(300))
            for _ in range(2)
        ]
    return [stage.applied for run in ran for stage in run]


def test_stages_go_through_all_guests(bed: Vmlab, monkeypatch: pytest.MonkeyPatch) -> None:
    """With commands that need no Lustre."""
    nodes, disk = ("oss1", "oss2"), "/dev/disk/by-id/virtio-lustre-OST0000"
    stages = (
        Stage("first", tuple(Track(n, w, (appended(f"/root/{w}", n),)) for n in nodes for w in ("a", "b", "c"))),
        Stage("second", tuple(Track(n, "disk", (Step("disk", ("test", "-b", disk), ()),)) for n in nodes)),
    )
    assert driven(bed, stages, monkeypatch) == [6, 0, 0, 0]
    assert bed.run("ssh", BED, "oss2", "--", "cat", "/root/b") == "oss2\n"


def test_all_nodes_resolve_all_short_names(bed: Vmlab) -> None:
    told = bed.on_all(BED, f"getent hosts {' '.join(NODES)} | wc -l; hostname")
    assert told == {name: f"{len(NODES)}\n{name}" for name in NODES}


def test_root_of_each_node_reaches_all_others_by_name_and_address(bed: Vmlab) -> None:
    """All vouch for each one's name and addresses; a login, seconds of an emulated processor, is tried with some."""
    told = {n["name"]: [address["ip"].partition("/")[0] for address in n["addresses"]] for n in bed.json("status", BED)}
    certificates = bed.on_all(BED, "ssh-keygen -L -f /etc/ssh/ssh_host_ed25519_key-cert.pub")
    for name, addresses in told.items():
        assert {name, *addresses} <= {line.strip() for line in certificates[name].splitlines()}
    ask = 'for name; do ssh -o BatchMode=yes -o StrictHostKeyChecking=yes "$name" true || exit; done'
    bed.run("exec", BED, "-n", "client1", "--", "sh", "-c", ask, "sh", *NODES, *told["oss1"])
    bed.run("exec", BED, "-n", "oss1", "--", "sh", "-c", ask, "sh", "oss2", "client1")


def test_partners_see_the_same_disk_under_the_same_path(bed: Vmlab) -> None:
    device = "/dev/disk/by-id/virtio-lustre-OST0000"
    mark = "written-by-oss1"
    write = f"echo {mark} | dd of={device} bs=4096 conv=sync oflag=direct"
    bed.run("exec", BED, "-n", "oss1", "--", "sh", "-c", write)
    read = bed.run("ssh", BED, "oss2", "--", "dd", f"if={device}", "bs=4096", "count=1", "iflag=direct", "status=none")
    assert read.startswith(mark)


def test_soft_roce_is_up_on_the_infiniband_fabric(bed: Vmlab) -> None:
    links = bed.run("ssh", BED, "client1", "--", "rdma", "link", "show")
    assert "state ACTIVE" in links
    assert "netdev ib0" in links


def test_exec_exits_with_the_worst_status(bed: Vmlab) -> None:
    bed.run("exec", BED, "-n", "oss[1-2]", "--", "sh", "-c", "test $(hostname) = oss1 || exit 3", status=3)


def test_ctrl_c_in_exec_ends_what_runs_in_all_guests(bed: Vmlab) -> None:
    waiting = bed.start("exec", BED, "--", "sleep", "601")
    alive = ("exec", BED, "-n", "oss1,client1", "--", "sh", "-c", "until pgrep -x sleep; do :; done")
    bed.run(*alive)
    waiting.send_signal(signal.SIGINT)
    _, complaints = waiting.communicate(timeout=120)
    assert (waiting.returncode, "what ran in the guests was ended\n" in complaints) == (130, True), complaints
    bed.run("exec", BED, "--", "sh", "-c", "! pgrep -fx 'sleep 601'")


def test_what_is_written_in_a_file_never_reaches_a_shell(bed: Vmlab) -> None:
    mark = "$(touch /tmp/pwned); 'quoted' \"twice\" `id`"
    assert bed.run("ssh", BED, "client1", "--", "echo", mark) == f"{mark}\n"
    bed.run("exec", BED, "-n", "client1", "--", "test", "!", "-e", "/tmp/pwned")


def test_cp_goes_both_ways(bed: Vmlab, tmp_path: Path) -> None:
    sent, back = tmp_path / "a file", tmp_path / "back"
    sent.write_bytes(bytes(range(256)) * 64)
    bed.run("cp", str(sent), f"{BED}.client1:/tmp/there")
    bed.run("cp", f"{BED}.client1:/tmp/there", str(back))
    assert back.read_bytes() == sent.read_bytes()
    bed.run("cp", "-r", f"{BED}.client1:/tmp/the*", f"{BED}.oss[1-2]:/root/")
    digest = hashlib.sha256(sent.read_bytes()).hexdigest()
    bed.run("exec", BED, "-n", "oss[1-2]", "--", f"echo '{digest}  /root/there' | sha256sum -c")


def test_rdma_through_the_guests(bed: Vmlab) -> None:
    printed = bed.run(
        *("run", BED, "rdma", "--set", "from=oss1", "--set", "verbs=[write, read]", "--set", "sizes=[64KiB]"),
        *("--set", "iterations=100", "-o", "json"),
    )
    told = json.loads(printed)
    run = told[0] if isinstance(told, list) else told
    measured = {(s["metric"], s["labels"]["verb"]) for s in run["samples"]}
    assert {verb for _, verb in measured} == {"write", "read"}
    assert all(sample["value"] > 0 for sample in run["samples"])
    record = json.loads((bed.state / "runs" / run["id"] / "run.json").read_text())
    assert record["bed"] == BED
    assert "tcg" in json.dumps(record) or "kvm" in json.dumps(record)
    assert not list((bed.state / "runs").glob("*.partial"))


def test_power_off_is_hard_and_up_brings_one_node_back(bed: Vmlab) -> None:
    before = qemu_pids(BED)
    bed.run("power", "off", BED, "oss1")
    assert f"{BED}.oss1" not in qemu_pids(BED)
    assert {n["name"]: n["stage"] for n in bed.json("status", BED)}["oss1"] == "off"
    bed.run(*UP)
    after = qemu_pids(BED)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {f"{BED}.oss1"}


def test_the_first_client_powers_servers_hard_from_inside(bed: Vmlab, connection: "libvirt.virConnect") -> None:
    """Also one whose kernel crashed; and no other domain, whatever it says; and when the service was killed."""
    before = qemu_pids(BED)
    # What the module pvpanic_mmio does, whether or not the image has it.
    bed.run("exec", BED, "-n", "oss1", "--", r"printf '\001' | dd of=/dev/port bs=1 seek=1285 conv=notrunc", status=6)
    assert "oss1, stage panic: it is dead: its kernel crashed" in bed.complaints
    assert connection.lookupByName(f"{BED}.oss1").state()[0] == libvirt.VIR_DOMAIN_CRASHED
    nodes = {node["name"]: node for node in bed.json("status", BED, "--no-guests")}
    assert (nodes["oss1"]["state"], nodes["oss1"]["stage"]) == ("crashed", "panic")
    bed.run("power", "on", BED, "oss1", status=4)

    def client(command: str, status: int = 0) -> str:
        return bed.run("ssh", BED, "client1", "--", command, status=status)

    begin = time.monotonic()
    client("vmlab-power --off oss1")
    assert f"{BED}.oss1" not in qemu_pids(BED)
    assert time.monotonic() - begin < 60
    assert client("vmlab-power --status") == "on:      mds[1-2],oss2\noff:     oss1\nunknown: \n"
    other = connection.createXML(
        "<domain type='qemu'><name>stranger</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    )
    try:
        for name in ("stranger", other.UUIDString(), str(other.ID()), f"{BED}.mds1", "client1", "'*,client1'"):
            client(f"vmlab-power --off {name}", status=1)
            assert "vmlab-power: client1 powers mds[1-2],oss[1-2]: no node is called" in bed.complaints
        noise = (
            "head -c 200000 /dev/urandom; head -c 100000 /dev/zero; yes '1 off mds9' | head -c 50000; printf '1 off'"
        )
        client(f'for told in /sys/class/virtio-ports/*; do {{ {noise}; }} >"/dev/${{told##*/}}"; done')
        assert client("vmlab-power -q mds1") == "on:      mds1\noff:     \nunknown: \n"
        assert other.isActive()
    finally:
        other.destroy()
    (lock,) = bed.state.glob(f"hosts/*/beds/{BED}/power.lock")
    os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)
    client("vmlab-power -q", status=1)
    assert "nobody answers on the host" in bed.complaints
    bed.run("status", BED, "--no-guests")
    assert f"{BED}: the power service was away; it is started again, client1 can power nodes" in bed.complaints
    client("vmlab-power --on oss1")
    bed.run(*UP)
    after = qemu_pids(BED)
    assert {name for name in after if after[name] != before[name]} == {f"{BED}.oss1"}


def test_a_paused_node_is_told_as_that(bed: Vmlab, connection: "libvirt.virConnect") -> None:
    domain = connection.lookupByName(f"{BED}.oss2")
    domain.suspend()
    try:
        stages = {node["name"]: (node["stage"], node["hint"]) for node in bed.json("status", BED)}
    finally:
        domain.resume()
    assert stages["oss2"] == ("paused", f"virsh -c qemu:///system resume {BED}.oss2")


def test_a_disk_that_a_stranger_uses_keeps_down_from_everything(bed: Vmlab, connection: "libvirt.virConnect") -> None:
    pool = connection.storagePoolLookupByName("vmlab")
    path = pool.storageVolLookupByName(f"{BED}._lustre-OST0001.raw").path()
    stranger = connection.defineXML(
        "<domain type='qemu'><name>stranger</name><memory>65536</memory><os><type>hvm</type></os><devices>"
        f"<disk type='file'><source file='{path}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"
    )
    try:
        bed.run("down", BED, "--yes", status=4)
        assert "stranger" in bed.complaints
        assert len(qemu_pids(BED)) == len(NODES)
    finally:
        stranger.undefine()


def test_faults_on_purpose_are_felt_listed_and_cleared(bed: Vmlab) -> None:
    (peer,) = (a["ip"].partition("/")[0] for a in _addresses(bed, "oss2") if a["fabric"] == "ib0")
    bed.run("fault", "add", BED, "link", "oss1", "--fabric", "ib0")
    bed.run("fault", "add", BED, "net", "mds1", "--fabric", "ib0", "--delay", "300ms", "--loss", "1%")
    bed.run("fault", "add", BED, "disk", "mds2", "--disk", "lustre-MDT0000", "--iops", "20")
    bed.run("fault", "add", BED, "pause", "client1")
    told = {(one["node"], one["kind"]): (one["on"], one["told"]) for one in bed.json("fault", "list", BED)}
    assert told == {
        ("client1", "pause"): ("", "paused"),
        ("mds1", "net"): ("ib0", "delay 300 ms, loss 1 %"),
        ("mds2", "disk"): ("lustre-MDT0000", "20 operations/s at most"),
        ("oss1", "link"): ("ib0", "down"),
    }
    assert (
        bed.run("exec", BED, "-n", "oss1", "-o", "json", "--", "cat", "/sys/class/net/ib0/carrier").count('"0\\n"') == 1
    )
    replies = bed.run("ssh", BED, "mds1", "--", "ping", "-c", "8", "-i", "0.3", "-W", "5", peer)
    assert min(float(time) for time in re.findall(r"time=([0-9.]+) ms", replies)) >= 300
    cleared = bed.run("fault", "clear", BED)
    assert len(cleared.splitlines()) == 4
    assert bed.json("fault", "list", BED) == []
    assert bed.run("ssh", BED, "oss1", "--", "cat", "/sys/class/net/ib0/carrier") == "1\n"
    bed.run("ssh", BED, "client1", "--", "true")


OST = "lustre-OST0000"


def of_disk(bed: Vmlab, node: str, *words: str) -> str:
    """What dd complains of that reads or writes the disk of OST there, past all caches."""
    argv = ("dd", *(word.format(f"/dev/mapper/vmlab-{OST}") for word in words), "bs=4k", "count=1", "status=none")
    (answer,) = json.loads(bed.run("exec", BED, "-n", node, "-o", "json", "--", "sh", "-c", f"{' '.join(argv)}; true"))
    return str(answer["stderr"]).strip().rpartition(": ")[2]


@pytest.mark.nightly
def test_the_disk_of_a_target_that_is_marked_fails_on_demand(bed: Vmlab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image has no Lustre: what `up` does to the disks of targets is done here, and a file system is ext4."""
    read, write = ("if={}", "of=/dev/null", "iflag=direct"), ("if=/dev/zero", "of={}", "oflag=direct")
    bed.run("fault", "add", BED, "write-errors", "oss1", "--disk", OST, status=4)
    assert "`faults: true` beside the size of that target" in bed.complaints
    below = f"/dev/disk/by-id/virtio-{OST}"
    sound = Target(BED, "lustre", "OST", 0, "ldiskfs", below, (), ())
    marked = replace(sound, disk=failing.device(OST), below=below)
    pair = ("oss1", "oss2")
    prepared = (Stage("disks", tuple(Track(node, OST, prepare(marked)) for node in pair)),)
    assert driven(bed, prepared, monkeypatch) == [2, 0]
    told = {}
    for kind in ("read-errors", "write-errors", "disk-full"):
        bed.run("fault", "add", BED, kind, "oss1", "--disk", OST)
        told[kind] = (of_disk(bed, "oss1", *read), of_disk(bed, "oss1", *write))
        assert [(f["node"], f["kind"], f["on"]) for f in bed.json("fault", "list", BED)] == [("oss1", kind, OST)]
    assert told == {
        "read-errors": ("Input/output error", ""),
        "write-errors": ("", "Input/output error"),
        "disk-full": ("", "No space left on device"),
    }
    assert (of_disk(bed, "oss2", *read), of_disk(bed, "oss2", *write)) == ("", "")  # only who was named
    assert f"oss1: disk-full {OST} is cleared" in bed.run("fault", "clear", BED)
    assert (of_disk(bed, "oss1", *read), of_disk(bed, "oss1", *write)) == ("", "")
    # A loss of power ends it, and the disk is there as before.
    bed.run("fault", "add", BED, "write-errors", "oss1", "--disk", OST)
    bed.run("exec", BED, "-n", "oss1", "--", "sync")
    bed.run("power", "cycle", BED, "oss1")
    bed.run(*UP)
    assert (bed.json("fault", "list", BED), of_disk(bed, "oss1", *write)) == ([], "")
    # The mark is gone, and so is what it made.
    plain = (Stage("disks", tuple(Track(node, OST, prepare(sound)) for node in pair)),)
    assert driven(bed, plain, monkeypatch) == [2, 0]
    bed.run("fault", "add", BED, "read-errors", "oss1", "--disk", OST, status=4)


def _addresses(bed: Vmlab, name: str) -> list[dict[str, str]]:
    return next(node["addresses"] for node in bed.json("status", BED, "--no-guests") if node["name"] == name)


def test_a_panic_is_noticed_by_whoever_waits(bed: Vmlab, tmp_path: Path) -> None:
    """Whoever waits ends by what was noticed, which is told, and not by the end of an own time; evidence is there."""
    crash = "echo 1 >/proc/sys/kernel/sysrq; (sleep 3; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &"
    bed.run("ssh", BED, "client1", "--", "true")
    waiting = bed.start("exec", BED, "-n", "client1", "--timeout", "2h", "--", "sleep", "7200")
    bed.run("exec", BED, "-n", "client1", "--", crash)
    _, complaints = waiting.communicate(timeout=15 * MINUTES)
    assert waiting.returncode == 6, complaints
    assert "client1, stage panic: it is dead: " in complaints
    assert "Kernel panic - not syncing: sysrq triggered crash" in complaints
    assert f"hint: vmlab power cycle {BED} client1" in complaints
    stages = {node["name"]: (node["stage"], node["hint"]) for node in bed.json("status", BED)}
    assert stages["client1"] == ("panic", f"vmlab power cycle {BED} client1")
    assert stages["oss1"][0] == "ready"
    measured = ("run", BED, "rdma", "--set", "from=client1", "--set", "to=oss1")
    for verb in (("ssh", BED, "client1", "--", "true"), measured):
        bed.run(*verb, status=6)
        assert "client1, stage panic: it is dead: " in bed.complaints
    panic = "Kernel panic - not syncing: sysrq triggered crash"
    assert panic in bed.run("console", BED, "client1", "--log")
    dead_and_alive_are_collected(bed, tmp_path / "evidence", panic)
    bed.run("power", "cycle", BED, "client1")
    assert panic not in bed.run("console", BED, "client1", "--log")
    earlier, last = bed.run("console", BED, "client1", "--log", "--since", "1").split("--- since the last start ---\n")
    assert panic in earlier
    assert panic not in last


def dead_and_alive_are_collected(bed: Vmlab, folder: Path, panic: str) -> None:
    told = bed.json("collect", BED, "-n", "client1,oss1", "--dump", "silent", "--to", str(folder))
    assert json.loads((folder / "index.json").read_text()) == {k: v for k, v in told.items() if k != "folder"}
    nodes = {node["node"]: node for node in told["nodes"]}
    kept = {node: {one["file"].removeprefix(f"{node}/"): one["size"] for one in nodes[node]["kept"]} for node in nodes}

    def text(node: str, name: str) -> str:  # packed or not, by how long it is
        (path,) = (folder / node).glob(f"{name}*")
        return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()

    assert panic in nodes["client1"]["silent"]
    assert panic in text("client1", "console.log")
    assert panic in text("client1", "kernel-log-in-memory.txt")
    assert f"<name>{BED}.client1</name>" in text("client1", "domain.xml")
    assert f"guest={BED}.client1" in text("client1", "qemu.log")
    assert next(size for name, size in kept["client1"].items() if name.startswith("memory.elf.")) > 1 << 20
    assert nodes["oss1"]["silent"] == ""
    assert [event.partition(":")[0] for event in nodes["client1"]["events"]] == ["panic"]
    assert nodes["oss1"]["events"] == []
    assert "Linux version" in text("oss1", "dmesg.txt")
    assert "\n1 systemd S (sleeping)\n[<0>] " in text("oss1", "tasks.txt")
    assert not any(name.startswith("memory") for name in kept["oss1"])
    missing = {one["what"]: one["why"] for one in nodes["oss1"]["missing"]}
    assert missing["lustre"] == "lctl is not installed"  # the demo image has none
    # An image whose kernel tells the host has it crashed; its QEMU is there in either case.
    assert re.search(r"\*\*client1\*\* is (running|crashed): client1, stage panic", (folder / "index.md").read_text())


def test_a_disk_comes_while_its_node_runs_and_what_was_written_outlives_a_restart(bed: Vmlab) -> None:
    grown = (*UP, "--set", "nodes.client1.disks=[{name: more, size: 16MiB}]")
    before = qemu_pids(BED)
    bed.run(*grown)
    assert qemu_pids(BED) == before
    just = "test -b /dev/disk/by-id/virtio-more && head -c 100000 /dev/urandom > /root/just && sha256sum /root/just"
    written = bed.run("ssh", BED, "client1", "--", just)
    bed.run(*grown, "--set", "nodes.client1.memory=640MiB")
    assert "1 change waits for --restart" in bed.complaints
    bed.run(*grown, "--set", "nodes.client1.memory=640MiB", "--restart")
    after = qemu_pids(BED)
    assert {name for name in after if after[name] != before[name]} == {f"{BED}.client1"}
    assert bed.run("ssh", BED, "client1", "--", "sha256sum", "/root/just") == written
