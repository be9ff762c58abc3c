"""Two lab hosts, whose NICs are on one Ethernet, and a bed over both, brought up from this machine: a VF in each guest,
and disks in a folder that one of the hosts exports by NFS and both mount.

They have one image and one recipe, and so the same MAC addresses, host keys and names; what has to differ is changed.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from system.conftest import MINUTES, Vmlab

from vmlab.runtime.wait import Deadline, until

from .conftest import CELL_0_IGB, CELL_1_IGB, Lab, from_here

BED = "t-labs"
ADDRESSES = {"a": "198.18.79.1", "b": "198.18.79.2"}  # of RFC 2544's range, which is for tests
NOTES = "/run/vmlab-borrowed"
_PLAIN = "reserve: {cpus: 0, memory: 0B}"
_NODE = "cpus: 1, memory: 512MiB, fabrics: [net], pin: shared, numa: none"
EXPORTED, FOLDER = "/srv/shared", "/mnt/shared"
TOPOLOGY = f"""
name: {BED}
image: demo
hosts:
  a: {{uri: "qemu+ssh://root@lab-a/system", address: {ADDRESSES["a"]}, {_PLAIN}}}
  b: {{uri: "qemu+ssh://root@lab-b/system", address: {ADDRESSES["b"]}, {_PLAIN}}}
fabrics: {{net: {{kind: ethernet, lnet: tcp, attach: vf, device: {{pf: "{CELL_0_IGB}"}}}}}}
nodes:
  n1: {{{_NODE}, host: a, role: [mds, oss, client]}}
  n2: {{{_NODE}, host: b, role: [oss, client]}}
filesystems:
  lustre: # for its disks: the image has no Lustre
    shared: {FOLDER}
    mgt: {{servers: n1}}
    mdts: [{{servers: n1, size: 64MiB}}]
    osts: [{{servers: [n2, n1], size: 64MiB}}]
"""

pytestmark = pytest.mark.nightly  # two emulated hosts, and nested guests that boot


@pytest.fixture(scope="module")
def labs() -> Iterator[dict[str, Lab]]:
    """Both run, with a cable between them; the second one ends afterwards."""
    first = Path(os.environ.get("VMLAB_LAB_HOST_DIR") or "~/.cache/vmlab/lab-host").expanduser()
    folder = first.with_name(f"{first.name}-2")
    labs = {"a": Lab(), "b": Lab(str(folder))}
    labs["a"].door("up")
    if not list(folder.glob("image-*")):  # it is built once, and not for each
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(("cp", "-a", "--sparse=always", *first.glob("image*"), folder), check=True)
    labs["b"].door("up")
    try:
        labs["a"].door("join", str(folder))
        for number, (name, lab) in enumerate(labs.items(), 1):
            lab.empty()
            nic = lab.run("ls", f"/sys/bus/pci/devices/{CELL_1_IGB}/net").strip()
            mac = f"ip link set {nic} address 52:54:00:11:01:0{number} up"
            lab.sh(f"hostname lab-{name}")  # NFS tells clients by that: two of one name take each other's locks
            lab.sh(f"ip address flush dev {nic}; {mac}; ip address add {ADDRESSES[name]}/24 dev {nic}")
        labs["a"].sh(f"ping -c 1 -W 20 {ADDRESSES['b']}")
        export(labs["a"])
        yield labs
        labs["a"].empty()
        labs["a"].sh(
            f"umount -l {FOLDER}; exportfs -au; systemctl stop nfs-server; rm -r {EXPORTED}; hostname lab-host"
        )
    finally:
        labs["b"].door("down")


def export(lab: Lab) -> None:
    rights = "rw,sync,no_root_squash,no_subtree_check,insecure"
    networks = " ".join(f"{address}:{EXPORTED}" for address in ADDRESSES.values())
    lab.sh(f"mkdir -p {EXPORTED}; systemctl start nfs-server; exportfs -o {rights} {networks}", deadline_s=5 * MINUTES)


def mount(lab: Lab, options: str) -> None:
    way = f"{ADDRESSES['a']}:{EXPORTED} {FOLDER}"
    lab.sh(f"mkdir -p {FOLDER}; ! mountpoint -q {FOLDER} || umount {FOLDER}; mount -t nfs -o {options} {way}")


@pytest.fixture(scope="module")
def over(labs: dict[str, Lab], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vmlab]:
    """The command on this machine, whose ssh knows both."""
    ways = [lab.door("ssh-config").replace("Host lab-host\n", f"Host lab-{name}\n") for name, lab in labs.items()]
    command = from_here(tmp_path_factory.mktemp("labs"), "".join(ways))
    file(command).write_text(TOPOLOGY)
    yield command
    command.run("down", str(file(command)), "--yes")


def file(over: Vmlab) -> Path:
    return over.state.parent / "labs.yaml"


def vfs(labs: dict[str, Lab]) -> list[str]:
    return [lab.pci(CELL_0_IGB, "sriov_numvfs") for lab in labs.values()]


def given_back(labs: dict[str, Lab]) -> None:
    assert labs["a"].sh(f"ls -A {EXPORTED}") == ""
    for lab in labs.values():
        assert BED not in lab.virsh("pool-list", "--all", "--name")
        assert lab.virsh("list", "--all", "--name").split() == []
        assert lab.sh("ls /sys/bus/pci/drivers/vfio-pci | grep 0000: || :") == ""
        assert lab.sh(f"ls {NOTES} 2>/dev/null || :") == ""
        assert BED not in lab.sh("ip -o link show type vxlan")


def test_a_folder_by_nfs_without_locks_or_mounted_on_one_host_only_is_refused(
    labs: dict[str, Lab], over: Vmlab
) -> None:
    mount(labs["a"], "vers=4.2")
    over.run("up", str(file(over)), "--accel", "kvm", status=4, deadline_s=10 * MINUTES)
    assert f"guests cannot share disks in {FOLDER}: b: there is no such folder" in over.complaints
    mount(labs["b"], "vers=3,nolock")
    over.run("up", str(file(over)), "--accel", "kvm", status=4, deadline_s=10 * MINUTES)
    assert f"guests cannot share disks in {FOLDER}: b: a lock that another host holds" in over.complaints
    mount(labs["b"], "vers=4.2")
    given_back(labs)


def test_a_killed_up_goes_from_both(labs: dict[str, Lab], over: Vmlab) -> None:
    going = over.start("up", str(file(over)), "--accel", "kvm")
    assert until(lambda: "1" in vfs(labs) or going.poll() is not None, Deadline.after(10 * MINUTES), every_s=0.5)
    assert going.poll() is None, going.communicate()
    going.send_signal(signal.SIGKILL)
    going.wait()
    over.run("down", str(file(over)), "--yes")
    given_back(labs)


def test_a_vf_on_each_of_two_hosts_and_both_go_back(labs: dict[str, Lab], over: Vmlab) -> None:
    over.run("up", str(file(over)), "--accel", "kvm", deadline_s=30 * MINUTES)
    plan = json.loads(over.run("plan", str(file(over)), "--accel", "kvm", "-o", "json"))
    assert not plan["changes"]
    assert vfs(labs) == ["1", "1"]
    given = {node["name"]: (node["host"], node["devices"][0]["function"]) for node in plan["nodes"]}
    assert given == {"n1": ("a", "vf"), "n2": ("b", "vf")}
    for node, lab in zip(plan["nodes"], labs.values(), strict=True):
        assert lab.driver(node["devices"][0]["address"]) == "vfio-pci"
    drivers = over.on_all(BED, "basename $(readlink /sys/class/net/net/device/driver)")
    assert drivers == {"n1": "igbvf", "n2": "igbvf"}
    # By the cable from VF to VF, and by VXLAN over the hosts' own functions.
    addresses = {node["name"]: node["addresses"]["net"] for node in plan["nodes"]}
    for node, other in (("n1", "n2"), ("n2", "n1")):
        for to in (addresses[other], other):
            over.run("exec", BED, "-n", node, "--", f"ping -c 1 -W 30 {to}")
    (own,) = labs["b"].sh(f"ls {FOLDER}").split()
    assert own.startswith(f"{BED}.lustre-")
    disk = "/dev/disk/by-id/virtio-lustre-OST0000"
    for node, other in (("n1", "n2"), ("n2", "n1")):
        wrote = f"printf %512s {node} | dd of={disk} bs=512 oflag=direct conv=notrunc,fsync status=none"
        over.run("exec", BED, "-n", node, "--", wrote)
        read = over.run("exec", BED, "-n", other, "--", f"dd if={disk} bs=512 count=1 iflag=direct status=none")
        assert read.split()[-1] == node
    over.run("down", BED, "--yes")
    given_back(labs)
