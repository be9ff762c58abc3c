"""The test framework's configuration, sourced by a real bash."""

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from vmlab.errors import HostError, UsageError
from vmlab.lustre.lnetconf import Lnet, LnetInterface
from vmlab.plan.filesystems import targets
from vmlab.suites.cfg import Choices, lustre_cfg
from vmlab.topology import Topology, loads
from vmlab.values.nid import Nid

BED = """
name: ha
fabrics:
  ib0: {kind: infiniband, lnet: o2ib, attach: virtio}
nodes:
  "mds[1-2]": {role: mds, memory: 512MiB, fabrics: [ib0]}
  "oss[1-2]": {role: oss, memory: 512MiB, fabrics: [ib0]}
  "client[1-3]": {role: client, memory: 256MiB, fabrics: [ib0]}
filesystems:
  lustre:
    mgt: {servers: [mds1, mds2], size: 256MiB}
    mdts: [{servers: [mds1, mds2], size: 1GiB}, {servers: [mds2, mds1], size: 2GiB}]
    osts: [{servers: [oss1, oss2], size: 2GiB, count: 2}, {servers: [oss2, oss1], size: 3GiB}]
    mount_options: flock,noatime
"""
NAMES = ("mds1", "mds2", "oss1", "oss2", "client1", "client2", "client3")


def configs(topology: Topology, net: str = "o2ib") -> dict[str, Lnet]:
    return {
        node: Lnet((LnetInterface("eth1", "52:54:00:00:00:01", Nid(IPv4Address(f"10.77.1.{n}"), net)),))
        for n, node in enumerate(topology.nodes, start=10)
    }


def cfg(text: str = BED, choices: Choices | None = None, net: str = "o2ib") -> str:
    topology = loads(text, "ha.yaml")
    there = configs(topology, net)
    return lustre_cfg(topology, targets(topology, there), there, choices or Choices())


def sourced(text: str, folder: Path, ask: str = "", before: str = ":", **environment: str) -> dict[str, str]:
    """The variables that bash has after it; the framework's own file stands in, with its way to set defaults."""
    (folder / "tests" / "cfg").mkdir(parents=True, exist_ok=True)
    (folder / "tests" / "cfg" / "ncli.sh").write_text(
        "MDSSIZE=${MDSSIZE:-250000}\nFAILURE_MODE=${FAILURE_MODE:-WRONG}\nMOUNT=${MOUNT:-/wrong}\n"
    )
    (folder / "cfg.sh").write_text(text)
    subprocess.run(("bash", "-n", str(folder / "cfg.sh")), check=True)
    script = f'{before}; h2name_or_ip() {{ echo "$1@$2"; }}; set -eu; . {folder}/cfg.sh; {ask or "set -o posix; set"}'
    done = subprocess.run(
        ("bash", "--norc", "-c", script),
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "LUSTRE": str(folder), **environment},
    )
    if ask:
        return {"": done.stdout}
    lines = (line.partition("=") for line in done.stdout.splitlines() if "=" in line)
    return {name: value.strip("'") for name, _, value in lines}


def test_a_bed_of_pairs(tmp_path: Path) -> None:
    found = sourced(cfg(), tmp_path)
    by_id = "/dev/disk/by-id/virtio-lustre-"
    wanted = {
        "FSNAME": "lustre",
        "FSTYPE": "ldiskfs",
        "MOUNT": "/mnt/lustre",
        "MOUNT2": "/mnt/lustre2",
        "MOUNT_OPTS": "user_xattr,flock,noatime",
        "mgs_HOST": "mds1",
        "mgsfailover_HOST": "mds2",
        "MGSDEV": f"{by_id}MGS",
        "MDSCOUNT": "2",
        "mds_HOST": "mds1",
        "mds1_HOST": "mds1",
        "mds1failover_HOST": "mds2",
        "MDSDEV1": f"{by_id}MDT0000",
        "mds2_HOST": "mds2",
        "mds2failover_HOST": "mds1",
        "MDSDEV2": f"{by_id}MDT0001",
        "OSTCOUNT": "3",
        "ost_HOST": "oss1",
        "ost2_HOST": "oss1",
        "ost2failover_HOST": "oss2",
        "ost3_HOST": "oss2",
        "ost3failover_HOST": "oss1",
        "OSTDEV3": f"{by_id}OST0002",
        "MGSSIZE": "262144",
        "MDSSIZE": "1048576",
        "OSTSIZE": "2097152",
        "NETTYPE": "o2ib",
        "MGSNID": "10.77.1.10@o2ib:10.77.1.11@o2ib",
        "CLIENT1": "client1",
        "RCLIENTS": "client2 client3",
        "PDSH": "pdsh -S -Rssh -w",
        "PDSH_SSH_ARGS_APPEND": "-oControlMaster=auto -oControlPersist=600 -oControlPath=/run/vmlab-pdsh-%C"
        " -oServerAliveInterval=5 -oServerAliveCountMax=3",
        "LOAD_MODULES_REMOTE": "true",
        "RUNAS_ID": "500",
        "QUOTA_USERS": "quota_usr quota_2usr sanityusr sanityusr1",
        "FAILURE_MODE": "HARD",
        "POWER_DOWN": "vmlab-power --off",
        "POWER_UP": "vmlab-power --on",
    }
    assert {name: found.get(name) for name in wanted} == wanted
    assert not {"SHARED_DIRECTORY", "OSTINDEX1", "LDISKFS_MKFS_OPTS"} & set(found)


@pytest.mark.parametrize(
    ("powers", "mode", "down"),
    [("[]", "SOFT", None), ('"@oss"', "SOFT", "vmlab-power --off"), ('"@oss,mds[1-2]"', "HARD", "vmlab-power --off")],
)
def test_power_is_told_where_the_driver_has_it(tmp_path: Path, powers: str, mode: str, down: str | None) -> None:
    """HARD only if it powers all servers of pairs."""
    clients = '  "client[1-3]": {role: client, memory: 256MiB, fabrics: [ib0]}\n'
    assert clients in BED
    one = f"  client1: {{role: client, powers: {powers}, memory: 256MiB, fabrics: [ib0]}}\n"
    text = cfg(BED.replace(clients, one + clients.replace("1-3", "2-3")))
    found = sourced(text, tmp_path)
    assert (found["FAILURE_MODE"], found.get("POWER_DOWN")) == (mode, down)
    assert ("# client1 can power no node" in text) == (down is None)


@pytest.mark.parametrize(("before", "then"), [("8192", "4096 8192"), ("1024", "1024 1024")])
def test_pdsh_has_few_files_to_close(tmp_path: Path, before: str, then: str) -> None:
    """It closes as many as it may have open. What a test may raise that to stays; less is left as it is."""
    found = sourced(cfg(), tmp_path, "echo $(ulimit -Sn) $(ulimit -Hn)", before=f"ulimit -n {before}")
    assert found == {"": f"{then}\n"}


def test_nids_are_told_and_not_guessed(tmp_path: Path) -> None:
    ask = "h2nettype oss2; h2nettype elsewhere; NETTYPE= h2nettype elsewhere tcp"
    assert sourced(cfg(), tmp_path, ask)[""].splitlines() == ["10.77.1.13@o2ib", "elsewhere@o2ib", "elsewhere@tcp"]


def test_the_environment_of_a_run_counts_more(tmp_path: Path) -> None:
    found = sourced(cfg(), tmp_path, FAILURE_MODE="HARD", POWER_DOWN="powerman --off")
    assert (found["FAILURE_MODE"], found["POWER_DOWN"]) == ("HARD", "powerman --off")


def test_choices(tmp_path: Path) -> None:
    evil = 'a b\'; touch /tmp/evil; echo "$(id)" `id` \\ #'
    choices = Choices("client2", "/export/shared dir", "HARD", {"SLOW": "yes", "EVIL": evil})
    text = cfg(choices=choices)
    assert sourced(text, tmp_path, 'printf %s "$EVIL"')[""] == evil
    found = sourced(text, tmp_path)
    assert (found["CLIENT1"], found["RCLIENTS"]) == ("client2", "client1 client3")
    assert (found["SHARED_DIRECTORY"], found["FAILURE_MODE"], found["SLOW"]) == ("/export/shared dir", "HARD", "yes")
    with pytest.raises(UsageError, match="no name of a variable"):
        cfg(choices=Choices(variables={"x; touch /tmp/evil": "1"}))
    with pytest.raises(UsageError, match="no node client9"):
        cfg(choices=Choices("client9"))


SMALL = """
name: small
fabrics:
  eth: {kind: ethernet, lnet: tcp1}
nodes:
  mds1: {role: [mgs, mds, oss], memory: 512MiB, fabrics: [eth]}
  client1: {role: client, memory: 256MiB, fabrics: [eth]}
filesystems:
  fs1:
    backend: BACKEND
    mgt: {servers: [mds1]}
    mdts: [{servers: [mds1]SIZE}]
    osts: [{servers: [mds1]SIZE}]
    mkfs_options: "-N 1000"
"""


def small(backend: str) -> str:
    return SMALL.replace("BACKEND", backend).replace("SIZE", "" if backend == "wbcfs" else ", size: 1GiB")


@pytest.mark.parametrize("backend", ["ldiskfs", "zfs"])
def test_one_server_has_no_partner_and_its_mgs_lies_with_mdt0(tmp_path: Path, backend: str) -> None:
    found = sourced(cfg(small(backend), net="tcp1"), tmp_path)
    assert (found["FSTYPE"], found["NETTYPE"], found["MGSNID"]) == (backend, "tcp1", "10.77.1.10@tcp1")
    assert (found["mgs_HOST"], found["RCLIENTS"], found["MGSSIZE"]) == ("mds1", "", "")
    assert found["MDSDEV1"] == "/dev/disk/by-id/virtio-fs1-MDT0000"
    assert found[f"{backend.upper()}_MKFS_OPTS"] == "-N 1000"
    assert not [name for name in found if "failover" in name or name == "MGSDEV"]


def test_in_memory_there_are_no_devices(tmp_path: Path) -> None:
    found = sourced(cfg(small("wbcfs").replace('    mkfs_options: "-N 1000"\n', ""), net="tcp1"), tmp_path)
    assert (found["FSTYPE"], found["MDSSIZE"]) == ("wbcfs", "")
    assert not [name for name in found if name.startswith(("MDSDEV", "OSTDEV", "MGSDEV"))]


def test_what_the_framework_has_no_words_for() -> None:
    topology = loads(BED, "ha.yaml")
    there = configs(topology)
    gap = tuple(replace(one, index=5) if one.label == "lustre-MDT0001" else one for one in topology.targets)
    ost = tuple(replace(one, index=7) if one.label == "lustre-OST0002" else one for one in topology.targets)

    def of(changed: Topology, lnet: Mapping[str, Lnet] = there) -> str:
        return lustre_cfg(changed, targets(changed, lnet), lnet)

    with pytest.raises(HostError, match="numbers MDTs without gaps"):
        of(replace(topology, targets=gap))
    assert "OSTINDEX3=7\n" in of(replace(topology, targets=ost))
    apart = {**there, "client3": Lnet((replace_net(there["client3"], "tcp"),))}
    with pytest.raises(HostError, match="no NID of the MGS of lustre is reached by all"):
        of(topology, apart)


def replace_net(config: Lnet, net: str) -> LnetInterface:
    (interface,) = config.interfaces
    return replace(interface, nid=Nid(interface.nid.address, net))


def test_a_bed_without_a_file_system_of_its_own() -> None:
    text = BED.partition("filesystems:")[0]
    with pytest.raises(UsageError, match="no file system of its own"):
        cfg(text)
    topology = loads(BED, "ha.yaml")
    alone = {"lustre": replace(topology.filesystems["lustre"], clients=())}
    with pytest.raises(UsageError, match="no node is a client"):
        lustre_cfg(replace(topology, filesystems=alone), targets(topology, configs(topology)), configs(topology))


def test_of_several_networks_the_one_that_all_reach() -> None:
    topology = loads(BED, "ha.yaml")
    there = configs(topology)
    tcp = replace_net(there["mds1"], "tcp")
    both = {**there, "mds1": Lnet((tcp, *there["mds1"].interfaces)), "mds2": Lnet((*there["mds2"].interfaces, tcp))}
    text = lustre_cfg(topology, targets(topology, both), both)
    assert "MGSNID=10.77.1.10@o2ib:10.77.1.11@o2ib\n" in text
