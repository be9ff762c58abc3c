"""Real Lustre in real guests, on the image of the store that VMLAB_LUSTRE_IMAGE names. The tests go in this order.

Every step prints how long it took (`pytest -s`): that is what changes when something in it becomes slow.
"""

# ruff: noqa: T201 (what each step took is printed)

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import MINUTES, ROOT, Vmlab, qemu_pids, remains
from .timed import Timed

IMAGE = os.environ.get("VMLAB_LUSTRE_IMAGE", "")
pytestmark = [
    pytest.mark.lustre,
    pytest.mark.skipif(not IMAGE, reason="VMLAB_LUSTRE_IMAGE names no image that carries Lustre"),
]

HA, HOPS = "t-lustre", "t-hops"
SELFTEST = {"lnet_selftest": {"duration_s": 5}}
IOR = {"ior": {"block": "32MiB", "transfer_sizes": ["1MiB"]}}

# Each file is acknowledged only when its data are on the servers' disks (fsync), with the checksum that it must have.
WRITER = """
folder=$1
mkdir -p "$folder" && lfs setstripe -c 1 "$folder" && : >/root/acknowledged || exit
number=0
until [ -e /root/enough ]; do
    number=$((number + 1))
    dd if=/dev/urandom of=/root/data bs=64k count=4 status=none
    sum=$(sha256sum </root/data)
    dd if=/root/data of="$folder/$number" conv=fsync status=none || exit
    echo "$number ${sum%% *}" >>/root/acknowledged
done
"""
VERIFY = """
bad=0 count=0
while read -r number sum; do
    count=$((count + 1))
    found=$(sha256sum <"$1/$number") || found=none
    [ "${found%% *}" = "$sum" ] || { echo "file $number: $sum, found $found"; bad=$((bad + 1)); }
done </root/acknowledged
echo "$count acknowledged, $bad lost"
[ $bad = 0 ]
"""


def described(shipped: str, bed: str, folder: Path, workloads: list[dict[str, Any]]) -> str:
    """A shipped topology, on the image that carries Lustre."""
    content = yaml.safe_load((ROOT / "topologies" / shipped).read_text())
    content |= {"name": bed, "workloads": workloads}
    for node in content["nodes"].values():
        # LNet gives a router 1 GiB of buffers, and refuses to forward where it does not get them.
        node |= {"image": IMAGE, "cpus": 1, "memory": "2GiB" if node["role"] == "router" else "1GiB"}
    path = folder / f"{bed}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


@pytest.fixture(scope="module")
def run(vmlab: Vmlab) -> Timed:
    return Timed(vmlab)


@pytest.fixture(scope="module")
def ha(run: Timed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = described("ha-topology.yaml", HA, tmp_path_factory.mktemp("ha"), [SELFTEST, IOR])
    print(run("up", file, "--timings", "--timeout", "30m"))
    yield file
    run("down", HA, "--yes")
    assert remains(HA, run.vmlab) == []


@pytest.fixture(scope="module")
def hops(run: Timed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    workloads = [{"lnet_selftest": SELFTEST["lnet_selftest"] | {"from": "client1", "to": "oss1"}}]
    file = described("two-hop-routing.yaml", HOPS, tmp_path_factory.mktemp("hops"), workloads)
    print(run("up", file, "--timings", "--timeout", "30m"))
    yield file
    run("down", HOPS, "--yes")
    assert remains(HOPS, run.vmlab) == []


def targets(run: Timed, file: str) -> dict[str, dict[str, Any]]:
    return {target["target"]: target for target in run.json("fs", "status", file)["targets"]}


def on_client(run: Timed, command: str, *, status: int = 0) -> str:
    return run("ssh", HA, "client1", "--", "sh", "-c", command, status=status)


def test_up_brings_all_to_a_mounted_file_system(run: Timed, ha: str) -> None:
    status = run.json("fs", "status", ha)
    assert {t["target"]: (t["state"], t["node"]) for t in status["targets"]} == {
        "lustre-MGS": ("mounted", "mds1"),
        "lustre-MDT0000": ("mounted", "mds1"),
        "lustre-OST0000": ("mounted", "oss1"),
        "lustre-OST0001": ("mounted", "oss1"),
        "lustre-OST0002": ("mounted", "oss2"),
        "lustre-OST0003": ("mounted", "oss2"),
    }
    assert all(target["available"] > 100 << 20 for target in status["targets"])
    (client,) = status["clients"]
    assert (client["node"], client["state"], client["broken"]) == ("client1", "mounted", [])
    assert on_client(run, "echo here >/mnt/lustre/file && cat /mnt/lustre/file") == "here\n"


def test_up_again_does_nothing(run: Timed, ha: str) -> None:
    before = qemu_pids(HA)
    run("up", ha)
    assert "nothing to change" in run.vmlab.complaints
    assert qemu_pids(HA) == before


def test_lnet_shows_one_nid_per_node(run: Timed, ha: str) -> None:
    nodes = run.json("lnet", "show", ha)
    assert all([nid["nid"] for nid in node["nids"]] == node["wanted"] for node in nodes)
    assert all(nid["up"] for node in nodes for nid in node["nids"])


def test_everybody_pings_everybody(run: Timed, ha: str) -> None:
    pings = run.json("lnet", "ping", ha)
    assert len(pings) == 20
    assert all(ping["ok"] for ping in pings)
    print(run("lnet", "ping", ha))


def test_what_is_formatted_is_not_formatted_again(run: Timed, ha: str) -> None:
    run("fs", "format", ha, status=4)
    assert "6 targets are formatted already" in run.vmlab.complaints
    run("fs", "format", ha, "--reformat", "--yes", status=4)
    assert "vmlab fs umount" in run.vmlab.complaints
    assert on_client(run, "cat /mnt/lustre/file") == "here\n"


def test_the_topology_s_workloads_run(run: Timed, ha: str) -> None:
    records = run.json("run", ha)
    assert [record["workload"] for record in records] == ["lnet_selftest", "ior"]
    for record in records:
        assert record["samples"]
        assert (record["problems"], record["faults"]) == ([], [])
        assert all(sample["value"] > 0 for sample in record["samples"])
        for sample in record["samples"]:
            print(f"{record['workload']}: {sample}")


def test_what_is_busy_is_named(run: Timed, ha: str) -> None:
    on_client(run, "cd /mnt/lustre && setsid sleep 600 >/dev/null 2>&1 </dev/null &")
    run("fs", "umount", ha, status=6)
    assert "/mnt/lustre is in use" in run.vmlab.complaints
    assert "sleep" in run.vmlab.complaints
    on_client(run, "pkill sleep; sleep 1")


def test_umount_and_mount_leave_the_data(run: Timed, ha: str) -> None:
    run("fs", "umount", ha)
    assert {target["state"] for target in targets(run, ha).values()} == {"unmounted"}
    run("fs", "umount", ha)
    assert "nothing to change" in run.vmlab.complaints
    run("fs", "mount", ha)
    assert on_client(run, "cat /mnt/lustre/file") == "here\n"


@pytest.mark.parametrize("node", ["mds1", "client1"])
def test_up_after_a_reboot_brings_it_back(run: Timed, ha: str, node: str) -> None:
    run("power", "cycle", HA, node)
    run("up", ha)
    assert {target["state"] for target in targets(run, ha).values()} == {"mounted"}
    assert on_client(run, "cat /mnt/lustre/file") == "here\n"


@pytest.mark.parametrize(("how", "what"), [("power", "oss1"), ("panic", "oss1"), ("umount", "OST0001")])
def test_no_acknowledged_write_is_lost_in_a_failover(run: Timed, ha: str, how: str, what: str) -> None:
    folder = f"/mnt/lustre/failover-{how}"
    writer = subprocess.Popen(
        run.vmlab.argv("ssh", HA, "client1", "--", "sh", "-c", f"rm -f /root/enough; {WRITER}".replace("$1", folder)),
        cwd=ROOT,
        env=run.vmlab.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(8)
        done = run.json("fs", "failover", ha, what, "--how", how, "--recovery-time", "3m")
        time.sleep(5)
    finally:
        on_client(run, "touch /root/enough")
    assert writer.wait(timeout=5 * MINUTES) == 0, writer.stderr.read() if writer.stderr else ""
    print(json.dumps(done, indent=1))
    moved = {one["target"]: one for one in done["moved"]}
    assert set(moved) == ({"lustre-OST0001"} if how == "umount" else {"lustre-OST0000", "lustre-OST0001"})
    outcome = {(one["destination"], one["recovery"], one["evicted"]) for one in moved.values()}
    assert outcome == {("oss2", "COMPLETE", 0)}
    assert {targets(run, ha)[label]["node"] for label in moved} == {"oss2"}
    said = on_client(run, VERIFY.replace("$1", folder))
    print(said)
    assert int(said.split()[0]) > 10

    run("up", ha)
    assert {targets(run, ha)[label]["node"] for label in moved} == {"oss2"}, "up moved what was failed over"
    run("fs", "failback", ha)
    assert {targets(run, ha)[label]["node"] for label in moved} == {"oss1"}


def test_two_hops_are_routed(run: Timed, hops: str) -> None:
    nodes = {node["node"]: node for node in run.json("lnet", "show", hops)}
    routes = {(route["net"], route["hops"], route["up"]) for route in nodes["client1"]["routes"]}
    assert routes == {("tcp", 1, True), ("o2ib", 2, True)}
    assert {name for name, node in nodes.items() if node["forwarding"]} == {"router1", "router2"}
    print(run("lnet", "show", hops))


def test_pings_cross_both_hops(run: Timed, hops: str) -> None:
    pings = run.json("lnet", "ping", hops)
    assert {"client1", "router1", "router2"} <= {ping["other"] for ping in pings if ping["node"] == "oss1"}
    assert all(ping["ok"] for ping in pings)
    print(run("lnet", "ping", hops))


def test_selftest_crosses_both_hops(run: Timed, hops: str) -> None:
    (record,) = run.json("run", hops)
    assert (record["problems"], record["faults"]) == ([], [])
    for sample in record["samples"]:
        assert sample["value"] > 0
        print(f"across two hops: {sample}")


def test_a_pair_that_cannot_talk_is_named(run: Timed, hops: str) -> None:
    run("power", "off", HOPS, "router2")
    run("lnet", "ping", hops, status=8)
    assert "client1 does not reach oss1" in run.vmlab.complaints
    run("up", hops)
    assert all(ping["ok"] for ping in run.json("lnet", "ping", hops))
