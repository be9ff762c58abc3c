"""A bed on this machine and a second complete host: real guests on both, reached, joined, cut off and taken down.

All tests go by the bed's name once it is up. They share one bed of two small guests, in their order.
"""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from vmlab.runtime.wait import Deadline, until

from .conftest import MINUTES, Vmlab, image_store, remains
from .second_host import FIRST, IN_SITE, SECOND, SITE, SITE_THERE, OverHosts, SecondHost, second_host

BED, FAR, ON_SITE, ROUTED, WIDE = "t-hosts", "t-far", "t-on-site", "t-routed", "t-wide"
TOPOLOGY = """
name: {bed}
image: demo
hosts:
  first: {{uri: "qemu+unix:///system?socket=/run/libvirt/libvirt-sock", address: {first}}}
  second: {{uri: "{uri}", address: {second}{fence}}}
fabrics: {{net: {{kind: ethernet, lnet: tcp, attach: virtio}}}}
nodes:
  n1: {{role: [mds, oss], cpus: 1, memory: 512MiB, fabrics: [net], host: first}}
  n2: {{role: oss, cpus: 1, memory: 512MiB, fabrics: [net], host: second, gdb: true, powers: "*"}}
filesystems:
  lustre: # for its disks, and who decides who mounts: the image has no Lustre
    shared: export
    mgt: {{servers: n1}}
    mdts: [{{servers: n1, device: /dev/disk/by-id/wwn-0x5000c500a1b2c300}}]
    osts: [{{servers: [n2, n1], size: 64MiB}}]
"""
ALONE = """
name: {bed}
image: demo
hosts: {{second: {{uri: "{tls}", ssh: "{ssh}"}}}}
nodes: {{n1: {{role: client, cpus: 1, memory: 512MiB}}}}
"""
BRIDGED = """
name: {bed}
image: demo
hosts: {{first: {{}}, second: {{uri: "{uri}"}}}}
management: {{bridge: {{first: {site}, second: {there}}}, addresses: {addresses}, lnet: tcp}}
nodes:
  n1: {{role: [mds, oss, client], cpus: 1, memory: 512MiB, host: first}}
  n2: {{role: [oss, client], cpus: 1, memory: 512MiB, host: second}}
filesystems:
  lustre: # for its disks: the image has no Lustre
    shared: {folder}
    mgt: {{servers: n1}}
    mdts: [{{servers: n1, size: 64MiB}}]
    osts: [{{servers: [n2, n1], size: 64MiB}}]
"""
GUESTS = "198.18.78.2", "198.18.78.50", "198.18.78.51"
APART = """
name: {bed}
image: demo
hosts: {{first: {{routed: {near}}}, second: {{uri: "{uri}", routed: {far}}}}}
nodes:
  n1: {{role: client, cpus: 1, memory: 512MiB, host: first}}
  n2: {{role: client, cpus: 1, memory: 512MiB, host: second}}
"""
NEAR, BEYOND = "198.18.80.0/24", "198.18.81.0/24"
IMAGE = os.environ.get("VMLAB_LUSTRE_IMAGE", "")
LUSTRE = """
name: {bed}
image: {image}
hosts:
  first: {{address: {first}}}
  second: {{uri: "{uri}", address: {second}{fence}}}
fabrics: {{net: {{kind: ethernet, lnet: tcp, attach: virtio}}}}
nodes:
  mds1: {{role: [mds, oss], cpus: 1, memory: 1GiB, fabrics: [net], host: first}}
  oss2: {{role: oss, cpus: 1, memory: 1GiB, fabrics: [net], host: second}}
  client1: {{role: client, cpus: 1, memory: 1GiB, fabrics: [net], host: first}}
filesystems:
  lustre:
    shared: {shared}
    mgt: {{servers: mds1, size: 256MiB}}
    mdts: [{{servers: mds1, size: 512MiB}}]
    osts: [{{servers: [oss2, mds1], size: 512MiB}}]
"""
_CARRIED = 1500 - 50
_PING = 28  # bytes of its headers

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces"),
    pytest.mark.xdist_group("second host"),
]


class Both(OverHosts):
    """The command, and the beds of this file."""

    def __init__(self, state: Path, second: SecondHost, work: Path) -> None:
        super().__init__(state, second)
        self.folder = Path(tempfile.mkdtemp(prefix="t-hosts-", dir="/var/tmp"))  # QEMU's user gets there, too
        self.folder.chmod(0o755)
        self.file = self._write(work / "two.yaml", TOPOLOGY, BED)
        self.fenced = self._write(work / "fenced.yaml", TOPOLOGY, BED, second.fence_agent(f"{BED}.n2"))
        self.alone = self._write(work / "alone.yaml", ALONE, FAR)
        self.bridged = self._write(work / "bridged.yaml", BRIDGED, ON_SITE)
        self.routed = self._write(work / "routed.yaml", APART, ROUTED)
        agent = second.fence_agent(f"{WIDE}.oss2")
        self.lustre = {
            "export": self._write(work / "exported.yaml", LUSTRE, WIDE, agent, shared="export"),
            "folder": self._write(work / "in-folder.yaml", LUSTRE, WIDE, agent, shared=str(self.folder)),
        }

    def _write(self, path: Path, text: str, bed: str, agent: str = "", *, shared: str = "") -> str:
        known = {"first": FIRST, "second": SECOND, "uri": self.second.uri, "image": IMAGE or "demo", "site": SITE}
        known["there"] = SITE_THERE
        known["addresses"] = f"{GUESTS[0]}-{GUESTS[-1]}"
        known |= {"near": NEAR, "far": BEYOND, "tls": self.second.tls_uri(), "ssh": self.second.ssh}
        known |= {"folder": self.folder, "shared": shared}
        fence = f", fence: {json.dumps(agent)}" if agent else ""
        path.write_text(text.format(bed=bed, fence=fence, **known))
        return str(path)

    def stages(self, bed: str, status: int = 0) -> dict[str, str]:
        return {
            node["name"]: node["stage"] for node in json.loads(self.run("status", bed, "-o", "json", status=status))
        }

    def answers(self, *command: str) -> dict[str, str]:
        return {a["node"]: a["stdout"].strip() for a in self.json("exec", BED, "--", *command)}

    def json(self, *arguments: str) -> Any:
        """Options come before a command's own words."""
        verbs = 2 if arguments[0] in ("host", "image", "sriov") else 1
        return json.loads(self.run(*arguments[:verbs], "-o", "json", *arguments[verbs:]))


@pytest.fixture(scope="module")
def both(vmlab: Vmlab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    work = tmp_path_factory.mktemp("second")
    with second_host(work) as second:
        command = Both(vmlab.state, second, work)
        yield command
        for file in (command.file, command.alone, command.bridged, command.routed, *command.lustre.values()):
            subprocess.run(command.argv("down", file, "--yes"), env=command.environment, check=False)
        shutil.rmtree(command.folder)


def domains(uri: str, bed: str = BED) -> list[str]:
    connection = libvirt.open(uri)
    try:
        return [domain.name() for domain in connection.listAllDomains() if domain.name().startswith(f"{bed}.")]
    finally:
        connection.close()


def test_each_node_comes_up_on_its_host(both: Both) -> None:
    both.up(both.file)
    assert domains("qemu:///system") == [f"{BED}.n1"]
    assert both.second.sh("virsh -q list --name").split() == [f"{BED}.n2"]
    # The other host has got the image's files, whole, and under their own names.
    for file in both.second.images.glob("demo-*"):
        assert digest(file) == digest(image_store() / file.name)
    assert {path.suffix for path in both.second.images.glob("demo-*")} == {".qcow2", ".vmlinuz", ".initrd"}
    assert json.loads(both.run("plan", both.file, "--accel", "tcg", "-o", "json"))["actions"] == []
    assert both.stages(BED) == {"n1": "ready", "n2": "ready"}
    (line,) = [line for line in both.json("list") if line["name"] == BED]
    assert (line["nodes"], line["running"], line["disks"]) == (2, 2, 3)


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def test_guests_reach_each_other_with_whole_packets_and_no_larger_ones(both: Both) -> None:
    largest = _CARRIED - _PING
    ping = "ping -c 1 -W 5 -M do -s {size} {to} >/dev/null 2>&1 && echo yes || echo no"
    for node, other in (("n1", "n2"), ("n2", "n1")):
        address = (
            both.run("exec", BED, "-n", other, "--", "ip -4 -o address show dev net").split("inet ")[1].split("/")[0]
        )
        for to in (other, address):
            line = "; ".join(ping.format(size=size, to=to) for size in (largest, largest + 1))
            assert both.run("exec", BED, "-n", node, "--", line).split()[-2:] == ["yes", "no"], (node, to)
    # Each has its own host for a gateway, and is asked for names there.
    ways = both.answers(
        "sh", "-c", "ip route show default | cut -d' ' -f3; awk '/^nameserver/ {print $2}' /etc/resolv.conf"
    )
    assert all(len(set(way.split())) == 1 for way in ways.values())
    assert len(set(ways.values())) == 2


GONE, LEFT = "t-gone._lustre-OST0000.raw", f"{BED}.n2.dump.memory"
OLD, OWN = "t-old-0123456789ab.qcow2", "t-own-0123456789ab.qcow2"


def test_what_is_asked_of_hosts_goes_to_all_of_a_bed_or_to_one(both: Both, tmp_path: Path) -> None:
    found = {line["what"]: line["verdict"] for line in both.json("host", "check", "--on", both.second.uri)}
    assert set(found) >= {"libvirt", "KVM", "shell", "flock", "disk space", "VXLAN"}
    assert set(found.values()) <= {"ok", "warning"}
    assert [host["name"] for host in both.json("host", "show", "--on", BED)] == ["first", "second"]
    assert both.json("sriov", "show", "--on", both.second.uri) == []
    both.run("host", "capture", str(tmp_path / "hosts"), "--on", BED)
    assert {path.parent.name for path in tmp_path.glob("hosts/*/capabilities.xml")} == {"first", "second"}
    files = [file for file in both.json("image", "list", "--on", BED) if file["host"] == "second"]
    assert {file["image"] for file in files} == {"demo"}
    assert all(file["whole"] and file["here"] and file["clones"] == [f"{BED}.n2"] for file in files)


def test_a_guest_there_is_looked_into_from_here(both: Both, tmp_path: Path) -> None:
    """Its memory comes here and nothing of it stays there; gdb runs here, and lets it go on."""
    evidence = tmp_path / "evidence"
    both.run("exec", BED, "-n", "n2", "--", "echo looked into >/dev/kmsg")
    both.run("collect", BED, "-n", "n2", "--dump", "always", "--to", str(evidence))
    assert "first boot: n2" in (evidence / "n2/console.log").read_text()
    (log,) = evidence.glob("n2/kernel-log-in-memory.txt*")
    assert b"looked into" in (gzip.decompress(log.read_bytes()) if log.suffix == ".gz" else log.read_bytes())
    assert {path.stem for path in evidence.glob("n2/memory.*")} == {"memory.elf"}
    assert list((both.second.images.parent / "beds").glob("*.dump.memory")) == []
    if shutil.which("gdb"):
        joined = f"Remote debugging using ./{BED}.n2.gdb"
        paste = ("sh", "-c", both.run("gdb", BED, "n2", "--print"))
        how = {"cwd": tmp_path, "env": both.environment, "stdin": subprocess.DEVNULL}
        assert joined in subprocess.run(paste, **how, capture_output=True, text=True, check=True).stdout
        assert list(tmp_path.glob("*.gdb")) == []
        assert "Remote debugging using /proc/" in both.run("gdb", BED, "n2")
    assert both.run("exec", BED, "-n", "n2", "--", "uname -n").split()[-1] == "n2"


def test_what_belongs_to_no_bed_goes_from_that_host_and_nothing_else(both: Both) -> None:
    for name in (OLD, OWN, "foreign.qcow2", f".{OLD}.partial"):
        (both.second.images / name).write_bytes(bytes(65536))
    (both.second.images / "t-own.json").write_text("{}")
    for name in (GONE, LEFT):
        (both.second.images.parent / "beds" / name).write_bytes(b"")
    dead = "t-dead._lustre-OST0000.raw"
    exporter = f"qemu-nbd --fork --persistent --format=raw --description=vmlab --export-name={dead} --bind=127.0.0.1"
    both.second.sh(f"truncate -s 1M /run/dead; {exporter} --port=61999 /run/dead </dev/null")
    wanted = {("image file", OLD), ("image file", f".{OLD}.partial"), ("export", dead)}
    wanted |= {("volume", GONE), ("volume", LEFT)}
    for how in ((), ("--apply",)):
        assert {(i["kind"], i["name"]) for i in both.json("gc", "--on", both.second.uri, *how)} == wanted
    assert both.json("gc", "--on", both.second.uri) == []
    assert {path.name for path in both.second.images.glob("*")} >= {OWN, "t-own.json", "foreign.qcow2"}
    assert both.second.sh("pgrep -c qemu-nbd || :").strip() == "0"
    assert both.stages(BED) == {"n1": "ready", "n2": "ready"}
    for path in (both.second.images / name for name in (OWN, "t-own.json", "foreign.qcow2")):
        path.unlink()


DISK = "/dev/disk/by-id/virtio-lustre-OST0000"
READ = f"dd if={DISK} bs=4k count=1 iflag=direct 2>/dev/null | head -c 5"


def test_a_disk_that_one_host_exports_is_one_disk(both: Both) -> None:
    write = f"printf '%-4096s' {{word}} | dd of={DISK} bs=4k oflag=direct conv=notrunc,fsync 2>/dev/null"
    for node, other, word in (("n2", "n1", "there"), ("n1", "n2", "again")):
        both.run("exec", BED, "-n", node, "--", write.format(word=word))
        assert both.run("exec", BED, "-n", other, "--", READ).split()[-1] == word
    assert exported(both).startswith(f"nbd://{FIRST}:61")


def exported(both: Both) -> str:
    """Where the second node has the disk."""
    return next(dict(node["disks"])["lustre-OST0000"] for node in both.json("status", BED) if node["name"] == "n2")


def exporters() -> list[int]:
    """The processes that export disks of the bed."""
    commands = {path: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()}
    return [int(path.parent.name) for path, line in commands.items() if f"--export-name={BED}.".encode() in line]


def end_exporter() -> None:
    (exporter,) = exporters()
    os.kill(exporter, signal.SIGKILL)


def test_a_guest_whose_export_died_stands_still_and_goes_on_when_it_is_there_again(both: Both) -> None:
    end_exporter()
    write = f"printf '%-4096s' again | dd of={DISK} bs=4k oflag=direct conv=notrunc,fsync 2>&1 && echo written"
    writing = both.start("exec", BED, "-n", "n2", "--", write)
    still = "virsh domstate --reason {bed}.n2 | grep -q 'I/O error' && echo still || :"
    assert until(lambda: both.second.sh(still.format(bed=BED)) == "still\n", Deadline.after(60), every_s=0.2)
    assert both.stages(BED)["n2"] == "paused"
    writing.communicate()  # the wait ends with a dead guest's, but what it waits for in the guest goes on
    both.up(both.file)
    assert both.stages(BED) == {"n1": "ready", "n2": "ready"}
    assert both.run("exec", BED, "-n", "n1", "--", READ).split()[-1] == "again"
    assert "I/O error" not in both.run("exec", BED, "-n", "n2", "--", "dmesg | grep -i 'i/o error' || :")


def test_files_consoles_shells_and_power_are_of_the_nodes_own_host(both: Both, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(os.urandom(100_000))
    both.run("cp", str(there), f"{BED}.*:/root/file")
    both.run("cp", f"{BED}.n2:/root/file", str(back))
    assert back.read_bytes() == there.read_bytes()
    assert both.run("ssh", BED, "n2", "--", "uname", "-n").strip() == "n2"
    assert "first boot: n2" in both.run("console", BED, "n2", "--log")
    assert both.json("power", "off", BED, "n2") == {"n2": "shut off"}
    assert both.second.sh("virsh -q list --name").split() == []
    assert both.stages(BED) == {"n1": "ready", "n2": "off"}
    both.up(both.file)
    # What it printed before is kept there, and is told from here.
    assert both.run("console", BED, "n2", "--log", "--since", "1").count("first boot: n2") == 2


def test_whoever_holds_the_bed_there_holds_it_here(both: Both) -> None:
    lock = f"/run/lock/vmlab/qemu-system.{BED}.lock"
    owner = '{"user": "eve", "pid": 77, "command": "vmlab up", "since": "today"}'
    held = f"flock -x {lock} sh -c 'echo held; read x'; rm {lock}"
    script = f"mkdir -p -m 1777 /run/lock/vmlab; echo '{owner}' > {lock}; {held}"
    argv = ("nsenter", "--target", str(both.second.holder), "--mount", "--pid", "sh", "-c", script)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        both.run("up", both.file, "--accel", "tcg", status=9)
        assert f"the bed {BED} is in use by eve (pid 77) with `vmlab up` since today" in both.complaints
        holder.communicate("\n")


def test_a_killed_up_leaves_no_lock_and_the_next_one_finishes_exports_and_all(both: Both) -> None:
    place = exported(both)
    # n2 may, through a process of this machine.
    asks = "vmlab-power --status && vmlab-power --off n1 && vmlab-power --status"
    told = both.run("exec", BED, "-n", "n2", "--", asks)
    assert [line.split() for line in told.splitlines() if "n1" in line] == [["on:", "n1"], ["off:", "n1"]]
    assert both.json("power", "status", BED) == {"n1": "shut off", "n2": "running"}
    both.run("power", "off", BED, "*")
    end_exporter()
    killed = both.start("up", both.file, "--accel", "tcg")
    there = f"test -e /run/lock/vmlab/qemu-system.{BED}.lock && echo held || :"
    assert until(lambda: both.second.sh(there) == "held\n", Deadline.after(60), every_s=0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert until(lambda: both.second.sh(there) == "", Deadline.after(60), every_s=0.1)
    both.up(both.file)
    assert both.stages(BED) == {"n1": "ready", "n2": "ready"}
    assert len(exporters()) == 1
    assert exported(both) == place
    assert both.run("exec", BED, "-n", "n2", "--", READ).split()[-1] == "again"


def test_a_snapshot_is_of_all_hosts_and_a_revert_that_is_killed_goes_on(both: Both) -> None:
    write = f"printf '%-4096s' {{word}} | dd of={DISK} bs=4k oflag=direct conv=notrunc,fsync 2>/dev/null"

    def mark(word: str) -> None:
        both.run("exec", BED, "--", f"echo {word} > /run/mark")  # in memory
        both.run("exec", BED, "-n", "n2", "--", write.format(word=word))

    def marks() -> set[str]:
        return {answer for command in ("cat /run/mark", READ) for answer in both.answers("sh", "-c", command).values()}

    mark("early")
    both.run("snapshot", "create", BED, "one")
    (line,) = json.loads(both.run("snapshot", "list", BED, "-o", "json"))
    assert (line["name"], line["nodes"], line["running"], line["differs"]) == ("one", 2, 2, "")
    assert marks() == {"early"}
    mark("late_")
    pid, (process,) = running("n2", both), exporters()
    going = both.start("snapshot", "revert", BED, "one", "--yes")
    assert until(lambda: running("n2", both) != pid, Deadline.after(120), every_s=0.05)
    going.send_signal(signal.SIGKILL)
    going.wait()
    both.run("power", "on", BED, "n1", status=4)
    assert "is put back to its snapshot one in part only" in both.complaints
    both.up(both.file)
    assert marks() == {"early"}
    assert exporters() not in ([], [process])
    both.run("down", BED, "--keep-warm")
    assert domains("qemu:///system") == [f"{BED}.n1"]
    assert both.stages(BED) == {"n1": "saved", "n2": "saved"}
    both.up(both.file)
    assert marks() == {"early"}


def running(node: str, both: Both) -> str:
    """The process id of a node's QEMU on the second host, "" if there is none."""
    return both.second.sh(f"cat /run/libvirt/qemu/{BED}.{node}.pid 2>/dev/null || :").strip()


def test_a_host_that_is_cut_off_is_named_and_the_rest_goes_down_now_and_it_later(both: Both) -> None:
    both.second.cut_off()
    try:
        assert both.stages(BED, status=4) == {"n1": "ready"}
        assert "the host second is away" in both.complaints
        assert both.run("exec", BED, "-n", "n1", "--", "hostname").split()[-1] == "n1"
        both.run("fs", "failover", both.file, "n2", status=4)
        assert "n2 is on second, which does not answer: that is no proof that it is off" in both.complaints
        assert both.second.sh("virsh -q list --name").split() == [f"{BED}.n2"]
        both.run("up", both.file, "--accel", "tcg", status=4)
        assert both.second.uri in both.complaints
        both.run("snapshot", "create", BED, status=4)
        assert both.second.uri in both.complaints
        assert both.second.sh("virsh -q list --state-running --name").split() == [f"{BED}.n2"]
        both.run("fs", "failover", both.fenced, "OST0000", status=4)
        assert "n2: off, says its host's fence agent" in both.complaints
        assert "the image has no Lustre" in both.complaints  # what follows is tried where an image has it
        assert until(lambda: both.second.sh("virsh -q list --name").split() == [], Deadline.after(60), every_s=0.2)
        both.run("down", BED, "--yes", status=4)
        assert f"{BED}: on second the nodes n2, their disks and networks are left" in both.complaints
        assert f"vmlab down {BED}, when second answers" in both.complaints
    finally:
        both.second.cut_off(really=False)
    assert domains("qemu:///system") == []
    (line,) = [line for line in both.json("list") if line["name"] == BED]
    assert (line["nodes"], line["running"]) == (1, 0)
    assert f"beds/{BED}" not in both.run("gc")  # the way to what is left
    both.run("down", BED, "--yes")
    assert remains(BED, both) == []
    assert both.second.remains(BED) == []


def test_a_bed_on_another_machine_only_is_reached_through_it_and_its_libvirt_by_tls(both: Both) -> None:
    killed = both.start("up", both.alone, "--accel", "tcg")
    runs = f"virsh -q list --state-running --name | grep -xF {FAR}.n1 || :"
    assert until(lambda: both.second.sh(runs) == f"{FAR}.n1\n", Deadline.after(120), every_s=0.2), killed.poll()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    both.up(both.alone)
    # What follows has no more than the bed's name.
    assert "ProxyCommand" in both.run("export", "ssh-config", FAR)
    assert both.run("exec", FAR, "--", "hostname").split()[-1] == "n1"
    assert both.stages(FAR) == {"n1": "ready"}
    assert both.run("console", FAR, "n1", "--log").count("first boot: n1") == 1
    assert {host["name"] for host in both.json("host", "show", "--on", FAR)} == {"second"}
    for client, why in (("stranger", "Failed to verify peer's certificate"), ("mixed", "Our own certificate")):
        file = Path(both.alone).with_name(f"{client}.yaml")
        file.write_text(Path(both.alone).read_text().replace(both.second.tls_uri(), both.second.tls_uri(client)))
        both.run("status", str(file), status=4)
        told, hint = both.complaints.splitlines()
        assert told.startswith(f"vmlab: no libvirt at {both.second.tls_uri(client)}: ")
        assert why in told
        assert "clientcert.pem" in hint
    both.run("gc", "--on", both.second.tls_uri(), status=4)
    assert "to no shell there" in both.complaints
    both.run("down", FAR, "--yes")
    assert remains(FAR, both) == []
    assert both.second.remains(FAR) == []


def test_a_bridge_of_the_site_joins_the_guests_and_reaches_them(both: Both) -> None:
    one = Path(both.bridged).with_name("one.yaml")
    one.write_text(Path(both.bridged).read_text().replace(f"{{first: {SITE}, second: {SITE_THERE}}}", SITE))
    both.run("plan", str(one), status=4)
    assert f"the host second has no bridge {SITE}, which `management` asks for" in both.complaints
    # The addresses begin with one that the second host has itself.
    both.run("up", both.bridged, "--accel", "tcg", status=4)
    assert f"{IN_SITE[1]} on mgmt was to be that of n1, and " in both.complaints
    assert domains("qemu:///system", ON_SITE) == []
    file = Path(both.bridged)
    file.write_text(file.read_text().replace(f"{GUESTS[0]}-", f"{GUESTS[1]}-"))
    a_folder_that_is_not_one_is_refused(both)
    both.up(both.bridged)
    assert both.stages(ON_SITE) == {"n1": "ready", "n2": "ready"}
    addresses = {node["name"]: dict(node["addresses"][0])["ip"] for node in both.json("status", ON_SITE)}
    assert addresses == {"n1": f"{GUESTS[1]}/24", "n2": f"{GUESTS[2]}/24"}
    # Nothing of vmlab's joins them, and packets are whole.
    assert ON_SITE not in both.second.sh("virsh -q net-list --all --name; ip -o link show type vxlan")
    for node, other in (("n1", "n2"), ("n2", "n1")):
        both.run("exec", ON_SITE, "-n", node, "--", f"ping -c 1 -W 5 -M do -s {1500 - _PING} {other}")
    assert "ProxyCommand" not in both.run("export", "ssh-config", ON_SITE)
    figures_of_hosts_add_up(both)
    disks_in_a_folder_are_the_same_on_both(both)
    # This machine leaves the network: its host leads to the far guest.
    subprocess.run(("ip", "address", "delete", f"{IN_SITE[0]}/24", "dev", SITE), check=True)
    assert both.run("ssh", ON_SITE, "n2", "--", "uname", "-n").strip() == "n2"
    assert both.run("export", "ssh-config", ON_SITE).count("ProxyCommand") == 1
    both.run("down", ON_SITE, "--yes")
    assert remains(ON_SITE, both) == []
    assert both.second.remains(ON_SITE) == []
    assert list(both.folder.iterdir()) == []


def test_two_ways_to_one_host_are_told(both: Both, tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    ways = f"by-ssh: {{uri: {both.second.uri}}}, by-tls: {{uri: {both.second.tls_uri()}, ssh: {both.second.ssh}}}"
    nodes = "n1: {role: client, host: by-ssh}, n2: {role: client, host: by-tls}"
    path.write_text(f"name: t-twice\nhosts: {{{ways}}}\nnodes: {{{nodes}}}\n")
    both.run("up", str(path), status=4)
    assert "by-ssh and by-tls are one host, second: " in both.complaints


@pytest.mark.nightly
def test_what_the_site_routes_to_each_host_joins_the_guests(both: Both) -> None:
    way = ("ip", "route", "replace", BEYOND, "via", SECOND)
    subprocess.run(way, check=True)
    both.second.sh(f"ip route replace {NEAR} via {FIRST}")
    both.up(both.routed)
    assert both.stages(ROUTED) == {"n1": "ready", "n2": "ready"}
    for node, other in (("n1", "n2"), ("n2", "n1")):
        both.run("exec", ROUTED, "-n", node, "--", f"ping -c 1 -W 5 -M do -s {1500 - _PING} {other}")
    assert "ProxyCommand" not in both.run("export", "ssh-config", ROUTED)
    # Without a route the far guest is reached through its host, and others' beds are still told apart.
    subprocess.run(("ip", "route", "delete", BEYOND), check=True)
    assert both.run("export", "ssh-config", ROUTED).count("ProxyCommand") == 1
    assert both.run("ssh", ROUTED, "n2", "--", "uname", "-n").strip() == "n2"
    both.run("down", ROUTED, "--yes")
    assert remains(ROUTED, both) == []
    assert both.second.remains(ROUTED) == []


def a_folder_that_is_not_one_is_refused(both: Both) -> None:
    """The second host has another folder of that name; nothing is made, and nothing of the trial stays."""
    both.second.sh(f"mount -t tmpfs other {both.folder}")
    both.run("up", both.bridged, "--accel", "tcg", status=4)
    assert f"guests cannot share disks in {both.folder}: second: a file that another host made" in both.complaints
    both.second.sh(f"umount {both.folder}; mount -t ramfs other {both.folder}")
    both.run("up", both.bridged, "--accel", "tcg", status=4)
    both.second.sh(f"umount {both.folder}")
    assert list(both.folder.iterdir()) == []
    assert domains("qemu:///system", ON_SITE) == []


def disks_in_a_folder_are_the_same_on_both(both: Both) -> None:
    """What one guest writes the other reads, also after a revert; others' files there are left alone."""
    (own,) = both.folder.iterdir()
    assert own.name.startswith(f"{ON_SITE}.lustre-")
    (both.folder / "theirs").write_text("left alone")

    def write(node: str, text: str) -> None:
        told = f"printf %512s {text} | dd of={DISK} bs=512 oflag=direct conv=notrunc status=none"
        both.run("exec", ON_SITE, "-n", node, "--", told)

    def read() -> set[str]:
        told = f"dd if={DISK} bs=512 count=1 iflag=direct status=none | tr -d ' '"
        return {answer["stdout"].strip() for answer in both.json("exec", ON_SITE, "--", told)}

    write("n1", "then")
    assert read() == {"then"}
    both.run("snapshot", "create", ON_SITE, "then", deadline_s=5 * MINUTES)
    write("n2", "later")
    assert read() == {"later"}
    both.run("snapshot", "revert", ON_SITE, "then", "--yes", deadline_s=5 * MINUTES)
    assert read() == {"then"}
    both.run("snapshot", "delete", ON_SITE, "then", "--yes")
    assert sorted(path.name for path in own.iterdir()) == [
        f"{ON_SITE}._lustre-{label}.raw" for label in ("MDT0000", "OST0000")
    ]
    (both.folder / "theirs").unlink()


def figures_of_hosts_add_up(both: Both) -> None:
    words = ("directory=/root", "rw=write", "block=64KiB", "size=1MiB", "runtime_s=2", "engine=psync", "direct=false")
    record = both.json("run", ON_SITE, "fio", *(word for setting in words for word in ("--set", setting)))
    values: dict[str, dict[str, float]] = {}
    for sample in record["samples"]:
        which = sample["labels"].get("host") or sample["labels"].get("node", "")
        values.setdefault(sample["metric"], {})[which] = sample["value"]
    by_host, by_node = values["host_bandwidth"], values["node_bandwidth"]
    assert (by_host["first"], by_host["second"]) == (by_node["n1"], by_node["n2"])
    assert by_host["all"] == pytest.approx(by_host["first"] + by_host["second"])
    assert by_host["all"] == pytest.approx(values["bandwidth"][""])
    assert {host["name"]: host["nodes"] for host in record["hosts"]} == {"first": ["n1"], "second": ["n2"]}
    shown = both.run("results", "show", record["id"])
    assert "fio by host" in shown
    page = both.second.folder / "report.html"
    both.run("results", "report", record["id"], "-o", str(page))
    assert "by host" in page.read_text()


@pytest.mark.lustre
@pytest.mark.skipif(not IMAGE, reason="VMLAB_LUSTRE_IMAGE names no image that carries Lustre")
@pytest.mark.parametrize("shared", ["export", "folder"])
def test_a_host_that_is_cut_off_loses_its_target_to_the_other_one(both: Both, shared: str) -> None:
    """Real Lustre, on a disk that both hosts see: nothing is lost, and nobody mounts before the host is off."""
    file = both.lustre[shared]
    both.up(file)

    def served() -> dict[str, str]:
        told = json.loads(both.run("fs", "status", file, "-o", "json"))
        assert {client["state"] for client in told["clients"]} == {"mounted"}
        return {target["target"]: target["node"] for target in told["targets"] if target["state"] == "mounted"}

    home = {"lustre-MGS": "mds1", "lustre-MDT0000": "mds1", "lustre-OST0000": "oss2"}
    assert served() == home
    both.run("lnet", "ping", file)
    write = "dd if=/dev/urandom of=/mnt/lustre/file bs=1M count=4 conv=fsync 2>/dev/null; md5sum < /mnt/lustre/file"
    read = "echo 3 > /proc/sys/vm/drop_caches; md5sum < /mnt/lustre/file"
    wrote = both.run("exec", WIDE, "-n", "client1", "--", write).split()[-2]
    both.second.cut_off()
    try:
        told = json.loads(both.run("fs", "failover", file, "oss2", "-o", "json", deadline_s=30 * MINUTES))
        (moved,) = told["moved"]
        assert (moved["source"], moved["destination"]) == ("oss2", "mds1")
        assert "oss2: off, says its host's fence agent" in both.complaints
        assert both.run("exec", WIDE, "-n", "client1", "--", read).split()[-2] == wrote
    finally:
        both.second.cut_off(really=False)
    both.up(file)
    assert served() == home | {"lustre-OST0000": "mds1"}
    both.run("fs", "failback", file)
    assert served() == home
    assert both.run("exec", WIDE, "-n", "client1", "--", read).split()[-2] == wrote
    both.run("down", WIDE, "--yes")
    assert remains(WIDE, both) == []
    assert both.second.remains(WIDE) == []
