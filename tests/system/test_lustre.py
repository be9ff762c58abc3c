"""Real Lustre in real guests, on the image of the store that VMLAB_LUSTRE_IMAGE names. The tests go in this order.

Every step prints how long it took (`pytest -s`): that is what changes when something in it becomes slow.
"""

# ruff: noqa: T201 (what each step took is printed)

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, Vmlab, qemu_pids, remains
from .timed import LONG_S, Timed

IMAGE = os.environ.get("VMLAB_LUSTRE_IMAGE", "")
pytestmark = [
    pytest.mark.lustre,
    pytest.mark.skipif(not IMAGE, reason="VMLAB_LUSTRE_IMAGE names no image that carries Lustre"),
]

HA, HOPS = "t-lustre", "t-hops"
# As the shipped files have them, on guests that are emulated: less of everything.
SMALL = {
    "rdma": {"iterations": 100},
    "lnet_selftest": {"duration_s": 5},
    "ior": {"block": "16MiB", "transfer_sizes": ["1MiB"]},
}

Nodes = Mapping[str, dict[str, Any]]
NO_NODES: Nodes = {}
NO_NETS: Mapping[str, str] = {}


def described(shipped: str, bed: str, folder: Path, nodes: Nodes = NO_NODES, lnet: Mapping[str, str] = NO_NETS) -> str:
    """A shipped topology on the image that carries Lustre, with more nodes, and other LNet networks on its fabrics."""
    content = yaml.safe_load((ROOT / "topologies" / shipped).read_text())
    content["name"] = bed
    content["nodes"] |= nodes
    for fabric, net in lnet.items():
        content["fabrics"][fabric]["lnet"] = net
    content["workloads"] = [{name: set_ | SMALL[name]} for item in content["workloads"] for name, set_ in item.items()]
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
    client2 = {"role": "client", "fabrics": ["ib0"], "pin": "shared", "numa": "none"}
    # Not o2ib: soft-RoCE loses bulk transfers on a busy host, and Lustre then stands still for minutes.
    folder = tmp_path_factory.mktemp("ha")
    file = described("ha-topology.yaml", HA, folder, nodes={"client2": client2}, lnet={"ib0": "tcp"})
    print(run("up", file, "--timings", "--timeout", "30m"))
    yield file
    run("down", HA, "--yes")
    assert remains(HA, run.vmlab) == []


@pytest.fixture(scope="module")
def hops(run: Timed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = described("two-hop-routing.yaml", HOPS, tmp_path_factory.mktemp("hops"))
    print(run("up", file, "--timings", "--timeout", "30m"))
    yield file
    run("down", HOPS, "--yes")
    assert remains(HOPS, run.vmlab) == []


def set_(**options: str) -> list[str]:
    return [word for name, value in options.items() for word in ("--set", f"{name}={value}")]


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
    clients = [(client["node"], client["state"], client["broken"]) for client in status["clients"]]
    assert clients == [("client1", "mounted", []), ("client2", "mounted", [])]
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
    assert len(pings) == 28
    assert all(ping["ok"] for ping in pings)
    print(run("lnet", "ping", ha))


def test_what_is_formatted_is_not_formatted_again(run: Timed, ha: str) -> None:
    run("fs", "format", ha, status=4)
    assert "6 targets are formatted already" in run.vmlab.complaints
    run("fs", "format", ha, "--reformat", "--yes", status=4)
    assert "vmlab fs umount" in run.vmlab.complaints
    assert on_client(run, "cat /mnt/lustre/file") == "here\n"


def measured(run: Timed, file: str) -> list[dict[str, Any]]:
    """Run what the topology lists; all of it has figures, and nothing is wrong."""
    records = run.json("run", file)
    for record in records:
        assert record["samples"]
        assert (record["problems"], record["faults"]) == ([], [])
        for sample in record["samples"]:
            assert sample["value"] > 0
            print(record["workload"], sample["value"], sample["unit"], *sample["labels"].values())
    return records


def test_the_topology_s_workloads_run(run: Timed, ha: str) -> None:
    records = measured(run, ha)
    assert [record["workload"] for record in records] == ["rdma", "lnet_selftest", "ior"]
    assert {sample["labels"]["nodes"] for sample in records[-1]["samples"]} == {"client[1-2]"}


def test_what_is_busy_is_named(run: Timed, ha: str) -> None:
    on_client(run, "cd /mnt/lustre && setsid sleep 600 >/dev/null 2>&1 </dev/null &")
    run("fs", "umount", ha, status=6)
    assert "/mnt/lustre is in use" in run.vmlab.complaints
    assert "sleep" in run.vmlab.complaints
    on_client(run, "pkill sleep; sleep 1")
    run("fs", "mount", ha)


def test_a_target_that_is_switched_off_for_a_client_is_told(run: Timed, ha: str) -> None:
    on_client(run, "lctl set_param 'osc.lustre-OST0002-osc-*.active=0'")
    status = run.json("fs", "status", ha)
    assert {one["target"]: one["inactive_on"] for one in status["targets"] if one["inactive_on"]} == {
        "lustre-OST0002": ["client1"]
    }
    clients = {
        client["node"]: (client["connections"].get("INACTIVE"), client["broken"]) for client in status["clients"]
    }
    assert clients == {"client1": (1, ["lustre-OST0002"]), "client2": (None, [])}
    on_client(run, "lctl set_param 'osc.lustre-OST0002-osc-*.active=1'")


def test_umount_ends_what_a_killed_run_left(run: Timed, ha: str) -> None:
    ior = run.vmlab.start("run", ha, "ior", *set_(block="512MiB", repetitions="20"))
    on_client(run, "timeout 300 sh -c 'until pgrep -x ior >/dev/null; do sleep 1; done'")
    ior.kill()
    ior.communicate()
    run("fs", "umount", ha)
    assert {target["state"] for target in targets(run, ha).values()} == {"unmounted"}
    on_client(run, "! pgrep -x ior")
    run("fs", "mount", ha)


def test_umount_and_mount_leave_the_data(run: Timed, ha: str) -> None:
    run("fs", "umount", ha)
    assert {target["state"] for target in targets(run, ha).values()} == {"unmounted"}
    run("fs", "umount", ha)
    assert "nothing to change" in run.vmlab.complaints
    run("fs", "mount", ha)
    assert on_client(run, "cat /mnt/lustre/file") == "here\n"


def reboots(run: Timed, file: str, node: str) -> None:
    """Its power is cut; `up` brings it back to what it was, with its data."""
    run("power", "cycle", HA, node)
    run("up", file)
    assert {target["state"] for target in targets(run, file).values()} == {"mounted"}
    assert on_client(run, "cat /mnt/lustre/file") == "here\n"


def test_up_after_a_server_s_reboot_brings_it_back(run: Timed, ha: str) -> None:
    reboots(run, ha, "mds1")


@pytest.mark.parametrize(("how", "what"), [("power", "oss1"), ("panic", "oss1"), ("umount", "OST0001")])
def test_no_acknowledged_write_is_lost_in_a_failover(run: Timed, ha: str, how: str, what: str) -> None:
    record = run.json("run", ha, "failover", *set_(target=what, how=how, failback="false"))
    assert (record["problems"], record["faults"]) == ([], [])
    figures = {(s["metric"], s["labels"].get("target", s["labels"].get("node"))): s["value"] for s in record["samples"]}
    print(json.dumps([[*key, value] for key, value in figures.items()], indent=1))
    assert figures["writes", "client1"] > 10
    assert figures["writes", "client2"] > 10
    moved = {target for metric, target in figures if metric == "mount"}
    assert moved == ({"lustre-OST0001"} if how == "umount" else {"lustre-OST0000", "lustre-OST0001"})
    assert {targets(run, ha)[label]["node"] for label in moved} == {"oss2"}

    run("up", ha)
    assert {targets(run, ha)[label]["node"] for label in moved} == {"oss2"}, "up moved what was failed over"
    run("fs", "failback", ha)
    assert {targets(run, ha)[label]["node"] for label in moved} == {"oss1"}


def test_writes_survive_the_way_there_and_back(run: Timed, ha: str) -> None:
    record = run.json("run", ha, "failover", *set_(target="MDT0000"))
    assert (record["problems"], record["faults"]) == ([], [])
    assert {sample["labels"]["phase"] for sample in record["samples"]} == {"failover", "failback"}
    assert {target["node"] for label, target in targets(run, ha).items() if "OST" not in label} == {"mds1"}


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_ior_compares_its_data_through_a_failover(run: Timed, ha: str, attempt: int) -> None:
    """Lustre's own window: under load a client takes minutes to see that its server is gone. Nobody needs all of it.

    Three times: whether a client uses a target, has just ceased to, or is idle when the server dies is chance.
    """
    settings = set_(check="true", repetitions="12", file_per_process="true", block="16MiB")
    ior = run.vmlab.start("run", ha, "ior", *settings, "-o", "json")
    time.sleep(15)
    assert ior.poll() is None
    done = run.json("fs", "failover", ha, "oss1")
    during = ior.poll() is None
    said, complaints = ior.communicate(timeout=LONG_S)
    assert ior.returncode == 0, complaints
    assert during, "IOR had ended before the failover had"
    record = json.loads(said)
    assert (record["problems"], record["faults"]) == ([], [])
    for moved in done["moved"]:
        print(f"attempt {attempt}", *moved.values())
        assert (moved["recovery"], moved["evicted"], moved["clients"]) == ("COMPLETE", 0, moved["expected"])
    slowest, best = (
        min(s["value"] for s in record["samples"] if s["metric"] == metric)
        for metric in ("bandwidth_min", "bandwidth_max")
    )
    print(f"IOR through a failover: {slowest} to {best} MiB/s, {done['total_s']} s")
    run("up", ha)
    back = run.json("fs", "failback", ha)
    assert [moved["evicted"] for moved in back["moved"]] == [0, 0]
    print(f"failback: {back['total_s']} s")


def test_a_client_that_goes_idle_is_not_waited_for(run: Timed, ha: str) -> None:
    """It uses both targets of oss1 until just before they move, and then neither: its farewell is lost."""
    on_client(run, "lfs setstripe -c -1 /mnt/lustre/wide && dd if=/dev/zero of=/mnt/lustre/wide bs=1M count=8 2>&1")
    on_client(run, "sync; lctl set_param -n 'ldlm.namespaces.*osc*.lru_size=clear'")
    done = run.json("fs", "failover", ha, "oss1")
    for moved in done["moved"]:
        print(*moved.values())
        assert (moved["recovery"], moved["evicted"], moved["clients"]) == ("COMPLETE", 0, moved["expected"])
    run("up", ha)
    assert [moved["evicted"] for moved in run.json("fs", "failback", ha)["moved"]] == [0, 0]


def test_up_after_a_client_s_reboot_brings_it_back(run: Timed, ha: str) -> None:
    """After the failovers: for a minute or two servers remember the client that it was, and would wait for it."""
    reboots(run, ha, "client1")


def test_up_after_all_lost_their_power_brings_all_back(run: Timed, ha: str) -> None:
    run("power", "off", HA, "*")
    print(run("up", ha, "--timings"))
    assert {target["state"] for target in targets(run, ha).values()} == {"mounted"}
    assert on_client(run, "cat /mnt/lustre/file") == "here\n"


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


def test_the_workloads_cross_both_hops(run: Timed, hops: str) -> None:
    assert [record["workload"] for record in measured(run, hops)] == ["rdma", "lnet_selftest", "ior"]


def test_a_pair_that_cannot_talk_is_named(run: Timed, hops: str) -> None:
    run("power", "off", HOPS, "router2")
    run("lnet", "ping", hops, status=8)
    assert "client1 does not reach oss1" in run.vmlab.complaints
    run("up", hops)
    assert all(ping["ok"] for ping in run.json("lnet", "ping", hops))


def test_routers_forward_as_soon_as_they_have_booted(run: Timed, hops: str) -> None:
    """Told to by an import, as the unit of Lustre does it, a router begins only 110 s later."""
    run("power", "off", HOPS, "*")
    print(run("up", hops, "--timings"))
    said = run("exec", HOPS, "-n", "router[1-2]", "--", "dmesg")
    assert "Message forwarding enabled" in said
    assert "Message forwarding will be enabled in" not in said
    # All have o2ib over soft-RoCE, whose device has to be there before LNet starts.
    assert "failed" not in run("exec", HOPS, "-n", "*", "--", "sh", "-c", "systemctl is-active lnet.service; true")
    assert all(ping["ok"] for ping in run.json("lnet", "ping", hops))
