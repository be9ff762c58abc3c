"""Lustre's other backends in real guests: in memory (wbcfs), and ZFS. On the image that VMLAB_LUSTRE_IMAGE names.

What the image has is in its manifest's `backends`; what it has not is skipped. Each bed's tests go in their order.
"""

# ruff: noqa: T201 (what each step took is printed)

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Vmlab, remains
from .test_lustre import Timed

IMAGE = os.environ.get("VMLAB_LUSTRE_IMAGE", "")
pytestmark = [
    pytest.mark.lustre,
    pytest.mark.skipif(not IMAGE, reason="VMLAB_LUSTRE_IMAGE names no image that carries Lustre"),
]

MEMORY, ONE, PAIR = "t-memory", "t-zfs", "t-zpair"
ALL = "all1"


def node(*roles: str, memory: str = "1GiB") -> dict[str, Any]:
    return {"role": list(roles), "image": IMAGE, "cpus": 1, "memory": memory, "fabrics": ["eth"]}


def bed(name: str, nodes: dict[str, Any], filesystem: dict[str, Any]) -> dict[str, Any]:
    fabrics = {"eth": {"kind": "ethernet", "lnet": "tcp"}}
    hosts = {"local": {"reserve": {"cpus": 0, "memory": "0B"}}}
    return {"name": name, "hosts": hosts, "fabrics": fabrics, "nodes": nodes, "filesystems": {"lustre": filesystem}}


IN_MEMORY = bed(
    MEMORY,
    {"srv1": node("mgs", "mds", "oss", memory="2GiB"), "client1": node("client")},
    {
        "backend": "wbcfs",
        "mgt": {"servers": "srv1"},
        "mdts": [{"servers": "srv1"}],
        "osts": [{"servers": "srv1", "count": 2}],
    },
)
ONE_ZFS = bed(
    ONE,
    {ALL: node("mgs", "mds", "oss", "client", memory="2GiB")},
    {
        "backend": "zfs",
        "mgt": {"servers": ALL, "size": "256MiB"},
        "mdts": [{"servers": ALL, "size": "512MiB"}],
        "osts": [{"servers": ALL, "size": "1GiB"}],
        "clients": [ALL],
    },
)
PAIR_ZFS = bed(
    PAIR,
    {"s1": node("mgs", "mds", "oss", memory="1536MiB"), "s2": node("oss", "client", memory="1536MiB")},
    {
        "backend": "zfs",
        "mgt": {"servers": "s1", "size": "256MiB"},
        "mdts": [{"servers": "s1", "size": "512MiB"}],
        "osts": [{"servers": ["s2", "s1"], "size": "1GiB"}],
        "clients": ["s1"],
    },
)


@pytest.fixture(scope="module")
def run(vmlab: Vmlab) -> Timed:
    return Timed(vmlab)


Has = Callable[[str], None]


@pytest.fixture(scope="module")
def has(vmlab: Vmlab) -> Has:
    def check(backend: str) -> None:
        [image] = [image for image in vmlab.json("image", "list") if image["name"] == IMAGE]
        if backend not in image["backends"]:
            pytest.skip(f"the image {IMAGE} has no osd_{backend}, says its manifest")

    return check


def brought_up(run: Timed, content: dict[str, Any], folder: Path) -> Iterator[str]:
    name = content["name"]
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    print(run("up", str(file), "--timings", "--timeout", "30m"))
    yield str(file)
    run("down", name, "--yes")
    assert remains(name, run.vmlab) == []


@pytest.fixture(scope="module")
def memory(run: Timed, has: Has, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    has("wbcfs")
    yield from brought_up(run, IN_MEMORY, tmp_path_factory.mktemp("memory"))


@pytest.fixture(scope="module")
def one(run: Timed, has: Has, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    has("zfs")
    yield from brought_up(run, ONE_ZFS, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def pair(run: Timed, has: Has, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    has("zfs")
    yield from brought_up(run, PAIR_ZFS, tmp_path_factory.mktemp("pair"))


def told(run: Timed, bed: str, node: str, command: str, *, status: int = 0) -> str:
    return run("ssh", bed, node, "--", "sh", "-c", command, status=status)


def states(run: Timed, file: str) -> dict[str, tuple[str, str]]:
    return {t["target"]: (t["state"], t["node"]) for t in run.json("fs", "status", file)["targets"]}


WRITE = "cd /mnt/lustre && for i in 1 2 3 4; do dd if=/dev/urandom of=f$i bs=1M count=4 conv=fsync status=none; done"
SUMS = f"{WRITE} && sha256sum f? >/root/sums"
# Without the client's locks nothing of it is cached.
CHECK = "cd /mnt/lustre && lctl set_param -n 'ldlm.namespaces.*.lru_size=clear'; sha256sum -c --quiet /root/sums"


def test_a_file_system_in_memory_is_mounted_and_holds_data(run: Timed, memory: str) -> None:
    targets = run.json("fs", "status", memory)["targets"]
    assert {t["target"]: (t["state"], t["device"]) for t in targets} == dict.fromkeys(
        ("lustre-MGS", "lustre-MDT0000", "lustre-OST0000", "lustre-OST0001"), ("mounted", "lustre-wbcfs")
    )
    assert all(target["available"] > 100 << 20 for target in targets), targets
    told(run, MEMORY, "client1", SUMS)
    told(run, MEMORY, "client1", CHECK)


def test_up_again_leaves_it_alone(run: Timed, memory: str) -> None:
    run("up", memory)
    assert "nothing to change" in run.vmlab.complaints
    told(run, MEMORY, "client1", CHECK)


def test_nothing_is_formatted_in_memory(run: Timed, memory: str) -> None:
    run("fs", "format", memory)
    assert "nothing to change" in run.vmlab.complaints
    told(run, MEMORY, "client1", CHECK)


def test_it_is_empty_after_umount_and_mount(run: Timed, memory: str) -> None:
    run("fs", "umount", memory)
    assert {state for state, _ in states(run, memory).values()} == {"unmounted"}
    run("fs", "mount", memory)
    assert told(run, MEMORY, "client1", "ls /mnt/lustre") == ""
    told(run, MEMORY, "client1", SUMS)


def test_after_a_reboot_of_its_server_it_begins_anew_and_works(run: Timed, memory: str) -> None:
    run("power", "cycle", MEMORY, "srv1")
    run("up", memory)
    assert "lustre was in memory and is gone: it begins anew, empty" in run.vmlab.complaints
    assert told(run, MEMORY, "client1", "ls /mnt/lustre") == ""
    told(run, MEMORY, "client1", SUMS)
    told(run, MEMORY, "client1", CHECK)


def test_a_part_that_is_gone_is_told_and_umount_makes_way(run: Timed, memory: str) -> None:
    told(run, MEMORY, "srv1", "umount /mnt/lustre-OST0001")
    run("up", memory, status=4)
    assert "lustre was in memory, and lustre-OST0001 went with" in run.vmlab.complaints
    assert f"vmlab fs umount {MEMORY}" in run.vmlab.complaints
    run("fs", "umount", memory)
    run("up", memory)
    told(run, MEMORY, "client1", SUMS)


def test_pools_are_made_mounted_and_hold_data(run: Timed, one: str) -> None:
    targets = run.json("fs", "status", one)["targets"]
    assert {t["target"]: (t["state"], t["device"]) for t in targets} == {
        label: ("mounted", f"vmlab-{label}/target") for label in ("lustre-MGS", "lustre-MDT0000", "lustre-OST0000")
    }
    assert all(target["available"] > 50 << 20 for target in targets), targets
    told(run, ONE, ALL, SUMS)
    told(run, ONE, ALL, CHECK)


def test_zfs_up_again_does_nothing(run: Timed, one: str) -> None:
    run("up", one)
    assert "nothing to change" in run.vmlab.complaints


def test_what_zfs_holds_is_not_formatted_again(run: Timed, one: str) -> None:
    run("fs", "format", one, status=4)
    assert "3 targets are formatted already" in run.vmlab.complaints
    told(run, ONE, ALL, CHECK)


def test_umount_exports_the_pools_and_mount_imports_them(run: Timed, one: str) -> None:
    run("fs", "umount", one)
    assert told(run, ONE, ALL, "zpool list -H") == ""
    run("fs", "mount", one)
    told(run, ONE, ALL, CHECK)


def test_zfs_after_a_reboot_is_mounted_again(run: Timed, one: str) -> None:
    run("power", "cycle", ONE, ALL)
    run("up", one)
    told(run, ONE, ALL, CHECK)


def test_reformat_makes_it_empty(run: Timed, one: str) -> None:
    run("fs", "umount", one)
    run("fs", "format", one, "--reformat", "--yes")
    run("fs", "mount", one)
    assert told(run, ONE, ALL, "ls /mnt/lustre") == ""


@pytest.mark.usefixtures("pair")
def test_servers_have_host_ids_of_their_own_and_multihost(run: Timed) -> None:
    ids = {told(run, PAIR, name, "hostid") for name in ("s1", "s2")}
    assert len(ids) == 2
    assert told(run, PAIR, "s2", "zpool get -H -o value multihost vmlab-lustre-OST0000") == "on\n"
    told(run, PAIR, "s1", SUMS)


@pytest.mark.usefixtures("pair")
def test_a_pool_that_is_in_use_is_refused_to_the_partner(run: Timed) -> None:
    partition = "blockdev --rereadpt /dev/disk/by-id/virtio-lustre-OST0000 && udevadm settle"
    taking = "zpool import -Nf -d /dev/disk/by-id vmlab-lustre-OST0000 2>&1; zpool list -H -o name"
    said = told(run, PAIR, "s1", f"{partition}; {taking}")
    print(said)
    assert "pool is imported on host 's2'" in said
    assert "vmlab-lustre-OST0000" not in said.splitlines()
    told(run, PAIR, "s1", CHECK)


@pytest.mark.parametrize("how", ["umount", "power"])
def test_a_pool_moves_with_its_target_and_back(run: Timed, pair: str, how: str) -> None:
    done = run.json("fs", "failover", pair, "s2" if how == "power" else "OST0000", "--how", how)
    print(json.dumps(done, indent=1))
    assert [(one["target"], one["destination"]) for one in done["moved"]] == [("lustre-OST0000", "s1")]
    told(run, PAIR, "s1", CHECK)
    run("up", pair)
    assert states(run, pair)["lustre-OST0000"] == ("mounted", "s1"), "up moved what was failed over"
    run("fs", "failback", pair)
    assert states(run, pair)["lustre-OST0000"] == ("mounted", "s2")
    told(run, PAIR, "s1", CHECK)
