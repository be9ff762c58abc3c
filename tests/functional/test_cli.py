"""The command line from end to end on libvirt's test driver, in this process: its objects live as long as that."""

import _thread
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import libvirt
import pytest
from sshd import Sshd, UsersSsh
from typer.testing import CliRunner

from vmlab.cli.app import app
from vmlab.errors import GuestError, WorkloadError
from vmlab.guest.boot import DeadGuest
from vmlab.guest.keys import BedKeys
from vmlab.lab.beds import execute as execute_module
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.hosts import only
from vmlab.metrics import Metric, Sample, Unit
from vmlab.records.run import RunRecord
from vmlab.runtime.lock import held
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline, until
from vmlab.store.runs import open_run
from vmlab.virt.connection import connected

from .conftest import EMPTY_HOST, forget_beds

BED = """
name: ha
fabrics:
  ib0: {kind: infiniband, lnet: o2ib, attach: virtio}
nodes:
  mds1: {role: mds, memory: 256MiB, fabrics: [ib0]}
  "oss[1-2]": {role: oss, memory: 256MiB, fabrics: [ib0], disks: [{name: scratch, size: 16MiB}]}
"""
ROUTED = """
name: routed
fabrics:
  ib0: {kind: infiniband, lnet: o2ib, attach: virtio, subnet: 10.91.0.0/24}
  eth: {kind: ethernet, lnet: tcp, subnet: 10.92.0.0/24}
  ib1: {kind: infiniband, lnet: o2ib1, attach: virtio, subnet: 10.93.0.0/24}
nodes:
  oss1: {role: oss, memory: 256MiB, fabrics: [ib0]}
  router1: {role: router, memory: 256MiB, fabrics: [ib0, eth]}
  router2: {role: router, memory: 256MiB, fabrics: [eth, ib1]}
  client1: {role: client, memory: 256MiB, fabrics: [ib1]}
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Path) -> Iterator["Cli"]:
    for name in ("state", "pool", "lock"):
        monkeypatch.setenv(f"VMLAB_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "test:///default")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bed.yaml").write_text(BED)
    kept = libvirt.open("test:///default")  # all beds are gone with the last connection
    cli = Cli()
    assert cli("image", "import", "demo", str(disk)).exit_code == 0
    yield cli
    kept.close()
    del kept
    forget_beds()


class Cli:
    def __call__(self, *argv: str, stdin: str | None = None) -> Any:
        result = CliRunner().invoke(app, argv, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def json(self, *argv: str) -> Any:
        result = self(*argv, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


def rows(text: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in text.splitlines()[1:]]


def test_validate_says_what_is_there_and_every_problem(cli: Cli, tmp_path: Path) -> None:
    assert cli("validate", "bed.yaml", "minimal").stdout.startswith("bed.yaml: ha: 3 nodes, 1 fabric")
    (tmp_path / "bad.yaml").write_text(BED.replace("role: mds", "role: boss").replace("cpus", "cups"))
    (tmp_path / "worse.yaml").write_text("name: 7\n")
    result = cli("validate", "bad.yaml", "bed.yaml", "worse.yaml")
    assert result.exit_code == 3
    assert re.search(r"^bad\.yaml:6:\d+: ", result.stderr, re.MULTILINE)
    assert re.search(r"^worse\.yaml:1:\d+: ", result.stderr, re.MULTILINE)
    assert "bed.yaml: ha" in result.stdout


def test_options_of_workloads_are_checked_at_load(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BED + "workloads: [{rdma: {verb: [write]}}]\n")
    result = cli("validate", "bad.yaml")
    assert result.exit_code == 3
    assert "verbs" in result.stderr


def test_a_life(cli: Cli) -> None:
    assert cli("plan", "bed.yaml", "--detailed-exitcode").exit_code == 10
    assert cli("list").stdout == ""

    raised = cli("up", "bed.yaml", "--no-wait")
    assert raised.exit_code == 0, raised.output
    assert [row[:2] for row in rows(raised.stdout)] == [["mds1", "mds"], ["oss1", "oss"], ["oss2", "oss"]]
    assert "ib0 10.77." in raised.stdout
    assert "(soft-RoCE)" in raised.stdout
    assert "oss2: start-domain" in raised.stderr
    assert "ha: 3 nodes started" in raised.stderr

    again = cli("up", "bed", "--no-wait")
    assert "nothing to change" in again.stderr
    assert cli("plan", "bed.yaml", "--detailed-exitcode").exit_code == 0
    assert rows(cli("list").stdout) == [["ha", "3", "3", "5"]]
    assert cli.json("list") == [{"name": "ha", "nodes": 3, "running": 3, "disks": 5}]

    assert [row[:4] for row in rows(cli("status", "ha").stdout)] == [
        ["mds1", "mds", "running", "domain"],
        ["oss1", "oss", "running", "domain"],
        ["oss2", "oss", "running", "domain"],
    ]
    assert [row[-1] for row in rows(cli("status", "ha").stdout)] == ["root", "root scratch", "root scratch"]
    assert next(line for line in cli("down", "ha").stderr.splitlines() if "disks:" in line).count(",") == 5 - 1
    oss2 = cli.json("status", "bed.yaml")[2]
    assert (oss2["name"], oss2["stage"], oss2["memory_mib"]) == ("oss2", "domain", 256)
    assert [address["fabric"] for address in oss2["addresses"]] == ["mgmt", "ib0"]
    assert {"host_cpus", "disks", "image", "console", "vcpus", "roles", "state"} <= set(oss2)

    assert rows(cli("power", "off", "ha", "oss[1-2]").stdout) == [["oss1", "shut off"], ["oss2", "shut off"]]
    assert cli.json("power", "status", "ha") == {"mds1": "running", "oss1": "shut off", "oss2": "shut off"}
    assert cli.json("power", "on", "ha", "@oss") == {"oss1": "running", "oss2": "running"}
    assert cli("power", "off", "ha", "oss9").exit_code == 2

    assert cli("export", "hosts", "ha").stdout.splitlines()[1].endswith("\toss1.ha oss1")
    assert "Host ha.oss1\n" in cli("export", "ssh-config", "ha").stdout
    assert "ha.oss1:\n" in cli("export", "ansible", "ha").stdout
    assert cli("export", "xml", "ha").stdout.count("<domain ") == 3

    gone = cli("down", "ha", "-y")
    assert (gone.exit_code, gone.stdout) == (0, "")
    assert "ha: gone" in gone.stderr
    assert cli.json("list") == []
    assert "ha: nothing of it is there (beds: none)" in cli("down", "ha", "-y").stderr


@pytest.mark.parametrize("verb", ["off", "cycle"])
def test_power_is_not_taken_from_a_whole_bed_unasked(cli: Cli, verb: str) -> None:
    cli("up", "bed.yaml", "--no-wait")
    refused = cli("power", verb, "ha")
    assert refused.exit_code == 2
    assert f"hint: vmlab power {verb} ha NODES" in refused.stderr
    assert set(cli.json("power", "status", "ha").values()) == {"running"}
    assert set(cli.json("power", verb, "ha", "*").values()) == {"shut off" if verb == "off" else "running"}
    assert cli("power", "on", "ha").exit_code == 0


DEVICE = """
<hostdev mode='subsystem' type='pci' managed='yes'>
  <source><address domain='0x0000' bus='0x41' slot='0x00' function='0x1'/></source>
</hostdev>
"""


@pytest.mark.parametrize("verb", ["on", "cycle"])
def test_power_starts_no_domain_whose_devices_are_not_there(cli: Cli, verb: str) -> None:
    cli("up", "bed.yaml", "--no-wait")
    cli("power", "off", "ha", "oss1")
    connection = libvirt.open("test:///default")
    xml = connection.lookupByName("ha.oss1").XMLDesc()
    connection.defineXML(xml.replace("</devices>", f"{DEVICE}</devices>"))
    refused = cli("power", verb, "ha", "oss1")
    assert refused.exit_code == 4
    assert "the host has no PCI function 0000:41:00.1" in refused.stderr
    assert cli.json("power", "status", "ha", "oss1") == {"oss1": "shut off"}


class Door:
    """A guest that answers, is dead, or has no memory left."""

    def __init__(self, node: str) -> None:
        self.node = node

    def run(self, argv: tuple[str, ...], **_: Any) -> Result:
        if self.node == "oss2":
            hint = "vmlab power cycle ha oss2"
            raise DeadGuest("oss2, stage panic: it is dead: x", node="oss2", stage="panic", console=("x",), hint=hint)
        if argv[0] == "sh":
            return Result(argv, 0, "Out of memory: Killed process 7 (dd)\n", "")
        return Result(argv, 137 if self.node == "mds1" else 0, f"{self.node}\n", "")


def test_exec_tells_what_all_said_and_then_who_is_dead(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("up", "bed.yaml", "--no-wait")
    monkeypatch.setattr(execute_module, "doors", lambda _, bed: {name: Door(name) for name in bed.nodes})
    result = cli("exec", "ha", "-n", "*", "-o", "json", "--", "hostname")
    assert result.exit_code == 6
    answers = {answer["node"]: answer for answer in json.loads(result.stdout)}
    assert {node: answer["status"] for node, answer in answers.items()} == {"mds1": 137, "oss1": 0, "oss2": 255}
    assert "it was killed, because the guest ran out of memory: its kernel killed dd" in answers["mds1"]["stderr"]
    assert "hint: vmlab power cycle ha oss2" in result.stderr
    assert "  | x" in result.stderr
    assert cli("exec", "ha", "-n", "mds1,oss1", "--", "hostname").exit_code == 137


class Endless(Door):
    """A guest whose command runs until it is ended by its mark."""

    marks: ClassVar[dict[str, str]] = {}
    ended: ClassVar[dict[str, threading.Event]] = {name: threading.Event() for name in ("oss1", "oss2")}

    def run(self, argv: tuple[str, ...], **_: Any) -> Result:
        if argv[0] == "env":
            self.marks[self.node] = argv[1].partition("=")[2]
            if len(self.marks) == 2:
                _thread.interrupt_main()  # Ctrl-C
            self.ended[self.node].wait(30)
            return Result(argv, 137, "", "")
        assert self.marks[self.node] in argv
        self.ended[self.node].set()
        return Result(argv, 0, "", "")


def test_ctrl_c_in_exec_ends_what_runs_in_the_guests_and_says_that(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("up", "bed.yaml", "--no-wait")
    monkeypatch.setattr(execute_module, "doors", lambda _, bed: {name: Endless(name) for name in bed.nodes})
    broken = cli("exec", "ha", "-n", "@oss", "--", "sleep", "600")
    assert broken.exit_code == 130
    assert "vmlab: interrupted; what ran in the guests was ended\n" in broken.stderr
    assert all(event.is_set() for event in Endless.ended.values())


def test_exec_without_nodes_is_for_all_of_the_bed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("up", "bed.yaml", "--no-wait")
    monkeypatch.setattr(execute_module, "doors", lambda _, bed: {name: Door(name) for name in bed.nodes})
    answers = json.loads(cli("exec", "ha", "-o", "json", "--", "hostname").stdout)
    assert [answer["node"] for answer in answers] == ["mds1", "oss1", "oss2"]


def test_down_lists_and_asks(cli: Cli) -> None:
    cli("up", "bed.yaml", "--no-wait")
    refused = cli("down", "ha")
    assert refused.exit_code == 2
    assert "nodes: mds1,oss[1-2]" in refused.stderr
    assert "ha.ib0" in refused.stderr
    assert "hint: vmlab down ha -y" in refused.stderr
    assert len(cli.json("status", "ha")) == 3
    assert cli("down", "ha", "--yes").exit_code == 0


def test_down_keeps_disks(cli: Cli) -> None:
    cli("up", "bed.yaml", "--no-wait")
    assert cli("down", "bed.yaml", "-y", "--keep-disks").exit_code == 0
    assert cli.json("list") == [{"name": "ha", "nodes": 0, "running": 0, "disks": 5}]
    kept = [action for action in cli.json("plan", "bed.yaml")["actions"] if action["kind"] == "create-volume"]
    left = cli("status", "ha")  # without volumes nothing tells of it
    assert (left.exit_code, "vmlab status ha, if" in left.stderr) == (2, False)
    assert kept == []


def test_down_keeps_warm_what_its_file_says(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bed.yaml").write_text(f"keep: warm\n{BED}")
    cli("up", "bed.yaml", "--no-wait")
    connection = libvirt.open("test:///default")
    for node in ("mds1", "oss1", "oss2"):
        connection.lookupByName(f"ha.{node}").managedSave()
    for bed in ("ha", "bed.yaml", "ha"):
        kept = cli("down", bed, "-y")
        assert (kept.exit_code, "with the memory of 3 nodes kept" in kept.stderr) == (0, True)
    assert cli.json("list") == [{"name": "ha", "nodes": 3, "running": 0, "disks": 5}]
    assert "nodes: mds1,oss[1-2]" in cli("down", "ha", "--no-keep-warm").stderr
    assert cli("down", "ha", "--keep-disks", "-y").exit_code == 0
    assert cli.json("list") == [{"name": "ha", "nodes": 0, "running": 0, "disks": 5}]
    assert "ha: gone" in cli("down", "bed.yaml", "-y").stderr  # nothing of it runs


def test_down_keeps_nothing_warm_when_the_file_does_not_say_so_any_more(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bed.yaml").write_text(f"keep: warm\n{BED}")
    cli("up", "bed.yaml", "--no-wait")
    refused = cli("down", "ha", "-y")  # there is no memory to save at libvirt's test driver
    assert (refused.exit_code, "has no files behind its volumes" in refused.stderr) == (4, True)
    (tmp_path / "bed.yaml").write_text(BED)
    assert "take it down?" in cli("down", "bed.yaml").stderr
    assert cli("up", "bed.yaml", "--no-wait").exit_code == 0
    assert "ha: gone" in cli("down", "ha", "-y").stderr


def test_down_of_a_bed_of_another_host_names_that_and_exits_4(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("up", "bed.yaml", "--no-wait")
    (tmp_path / "other.xml").write_text(EMPTY_HOST)
    with monkeypatch.context() as patch:
        patch.setenv("LIBVIRT_DEFAULT_URI", f"test://{tmp_path}/other.xml")
        refused = cli("down", "ha", "-y")
        assert refused.exit_code == 4
        assert "its ssh secret is kept for test:///default" in refused.stderr
        assert "hint: LIBVIRT_DEFAULT_URI=test:///default vmlab down ha" in refused.stderr
        assert cli("down", "nobody", "-y").exit_code == 0
    assert len(list(tmp_path.glob("state/hosts/*/beds/ha/secret"))) == 1
    assert "ha: gone" in cli("down", "ha", "-y").stderr
    assert cli("down", "ha", "-y").exit_code == 0


def test_two_beds_of_one_file(cli: Cli) -> None:
    for name in ("one", "two"):
        assert cli("up", "bed.yaml", "--name", name, "--no-wait").exit_code == 0
    assert [bed["name"] for bed in cli.json("list")] == ["one", "two"]
    cli("down", "one", "-y")
    assert [bed["name"] for bed in cli.json("list")] == ["two"]
    assert cli("up", "bed.yaml", "--name", "No Name").exit_code == 2


def test_a_change_is_shown_and_waits_for_restart(cli: Cli, tmp_path: Path) -> None:
    cli("up", "bed.yaml", "--no-wait")
    (tmp_path / "bed.yaml").write_text(BED.replace("role: mds, memory: 256MiB", "role: mds, memory: 384MiB"))
    planned = cli("plan", "bed.yaml", "--detailed-exitcode")
    assert planned.exit_code == 10
    assert "Only with --restart" in planned.stdout
    assert "memory 256MiB -> 384MiB" in planned.stdout
    document = cli.json("plan", "bed.yaml")
    assert document["actions"] == []
    assert document["changes"]
    assert {action["node"] for action in document["pending"]} == {"mds1"}
    assert {action["node"] for action in cli.json("plan", "bed.yaml", "--restart")["actions"]} == {"mds1"}
    waits = cli("up", "bed.yaml", "--no-wait").stderr
    assert re.search(r"started in [0-9.]+ s \(1 change waits for --restart\)\n", waits)
    assert cli.json("status", "ha")[0]["memory_mib"] == 256
    cli("up", "bed.yaml", "--no-wait", "--restart")
    assert cli.json("status", "ha")[0]["memory_mib"] == 384


def test_a_file_may_come_by_standard_input_and_settings_go_over_it(cli: Cli) -> None:
    settings = ("--set", "nodes.oss2.memory=320MiB", "--set", "name=piped")
    assert cli("up", "-", *settings, "--no-wait", stdin=BED).exit_code == 0
    assert [node["memory_mib"] for node in cli.json("status", "piped")] == [256, 256, 320]
    assert cli("plan", "-", *settings, "--detailed-exitcode", stdin=BED).exit_code == 0
    assert cli("plan", "-", "--name", "piped", "--detailed-exitcode", stdin=BED).exit_code == 10
    bad = cli("validate", "-", stdin=BED.replace("role: mds", "role: boss"))
    assert (bad.exit_code, bad.stderr.startswith("<stdin>:6:")) == (3, True)
    wrong = cli("plan", "bed", "--set", "nodes.@mds.memory=4GB")
    assert (wrong.exit_code, wrong.stderr.startswith("--set nodes.@mds.memory=4GB:1:19: ")) == (3, True)
    assert len(json.loads(cli("status", "-", "-o", "json", stdin=BED.replace("name: ha", "name: piped")).stdout)) == 3


def saved_by(cli: Cli, how: str, tmp_path: Path) -> "libvirt.virDomain":
    cli("up", "bed.yaml", "--no-wait")
    domain = libvirt.open("test:///default").lookupByName("ha.oss1")
    if how == "managedsave":
        domain.managedSave()
    else:
        domain.save(str(tmp_path / "memory"))
    (_, status, _) = cli.json("status", "ha")
    assert (status["state"], status["stage"]) == ("shut off", "saved")
    return domain


def test_memory_that_libvirt_saved_is_gone_on_with_and_not_lost_silently(cli: Cli, tmp_path: Path) -> None:
    domain = saved_by(cli, "managedsave", tmp_path)
    assert "saved memory: ha.oss1" in cli("down", "ha").stderr
    (tmp_path / "bed.yaml").write_text(BED.replace("role: oss, memory: 256MiB", "role: oss, memory: 384MiB"))
    refused = cli("up", "bed.yaml", "--no-wait")
    assert (refused.exit_code, "oss1 is off, and its memory was saved" in refused.stderr) == (4, True)
    assert "hint: vmlab power on ha oss1; or lose it: --restart" in refused.stderr
    assert domain.hasManagedSaveImage()
    assert cli("up", "bed.yaml", "--no-wait", "--restart").exit_code == 0
    assert not domain.hasManagedSaveImage()


def test_memory_that_libvirt_saved_is_what_an_unchanged_node_starts_with(cli: Cli, tmp_path: Path) -> None:
    domain = saved_by(cli, "managedsave", tmp_path)
    planned = cli.json("plan", "bed.yaml")["actions"]
    assert [(a["kind"], a["reason"]) for a in planned] == [("start-domain", "from its saved memory")]
    assert cli("power", "on", "ha", "oss1").exit_code == 0
    assert domain.isActive()


def test_no_other_start_makes_memory_in_a_file_worthless_unasked(cli: Cli, tmp_path: Path) -> None:
    domain = saved_by(cli, "save", tmp_path)
    for verb in (("up", "bed.yaml", "--no-wait"), ("power", "on", "ha")):
        refused = cli(*verb)
        assert (refused.exit_code, "hint: virsh restore FILE; or lose it: " in refused.stderr) == (4, True)
    assert not domain.isActive()
    assert cli("up", "bed.yaml", "--no-wait", "--restart").exit_code == 0
    assert domain.isActive()


def test_rebuild(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("up", "bed.yaml", "--no-wait")
    refused = cli("rebuild", "ha")
    assert (refused.exit_code, "hint: vmlab rebuild ha -y" in refused.stderr) == (2, True)
    monkeypatch.setenv("VMLAB_YES", "1")
    rebuilt = cli("rebuild", "ha")
    assert rebuilt.exit_code == 0, rebuilt.output
    assert "oss2: undefine-domain" in rebuilt.stderr
    assert "\nha: rebuilt: cold\n" in rebuilt.stderr
    assert len(cli.json("status", "ha")) == 3


def test_rebuild_of_nodes_leaves_the_others_and_what_is_shared(cli: Cli) -> None:
    cli("up", "bed.yaml", "--no-wait")
    asked = cli("rebuild", "ha", "-n", "oss1")
    assert (asked.exit_code, "hint: vmlab rebuild ha -n 'oss1' -y" in asked.stderr) == (2, True)
    assert "  oss1: ha.oss1.disk-scratch.raw, ha.oss1.root.qcow2\n" in asked.stderr
    rebuilt = cli("rebuild", "ha", "-n", "oss1", "-y")
    assert rebuilt.exit_code == 0, rebuilt.output
    told = {line.partition("] ")[2] for line in rebuilt.stderr.splitlines()}
    assert {"oss1: made anew", "oss1: create-volume", "oss1: start-domain"} <= told
    assert not {"oss2: made anew", "oss2: create-volume", "oss2: start-domain", "oss1: define-domain"} & told
    assert {node["state"] for node in cli.json("status", "ha")} == {"running"}
    assert "\nha: rebuilt: cold\n" in rebuilt.stderr
    assert cli("rebuild", "ha", "-n", "none", "-y").exit_code == 2
    assert cli("rebuild", "ha", "-n", "oss1", "-y", "--keep-new").exit_code == 2


def test_rebuild_of_what_cannot_come_up_again_takes_nothing_down(cli: Cli, tmp_path: Path) -> None:
    cli("up", "bed.yaml", "--no-wait")
    (tmp_path / "bed.yaml").write_text(f"{BED}image: none-such\n")
    assert cli("rebuild", "bed.yaml", "-y").exit_code == 4
    assert len(cli.json("status", "ha")) == 3


def test_the_plan_is_what_the_contract_says(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routed.yaml").write_text(ROUTED)
    document = cli.json("plan", "routed.yaml")
    assert document["bed"] == "routed"
    assert document["changes"] is True
    assert document["nodes"][1] == {
        "name": "router1",
        "host": "local",
        "role": ["router"],
        "cells": [],
        "emulator_cpus": [],
        "devices": [],
        "addresses": {"mgmt": document["nodes"][1]["addresses"]["mgmt"], "ib0": "10.91.0.12", "eth": "10.92.0.11"},
        "nids": ["10.91.0.12@o2ib", "10.92.0.11@tcp"],
        "first_boot": "cloud-init",
        "powers": [],
    }
    powers = {node["name"]: node["powers"] for node in document["nodes"]}
    assert powers.pop("client1") == sorted(powers)
    assert not any(powers.values())
    assert {"node": "client1", "net": "o2ib", "gateways": ["10.93.0.11@o2ib1"], "hops": 2} in document["routes"]
    assert {"node": "router2", "net": "o2ib", "gateways": ["10.92.0.11@tcp"], "hops": 1} in document["routes"]
    assert {"kind": "define-domain", "name": "routed.oss1", "node": "oss1", "reason": "absent"} in document["actions"]
    assert document["pending"] == []
    dry = cli("up", "routed.yaml", "--dry-run")
    assert (dry.exit_code, "define-domain routed.oss1" in dry.stdout) == (0, True)
    assert cli.json("list") == []


def test_unknown_bed_and_node(cli: Cli) -> None:
    assert cli("status", "nobody").exit_code == 2
    cli("up", "bed.yaml", "--no-wait")
    misspelt = cli("status", "haa")
    assert (misspelt.exit_code, "(beds: ha)" in misspelt.stderr) == (2, True)
    assert "haa: nothing of it is there (beds: ha)" in cli("down", "haa", "-y").stderr
    assert "describes a bed haa (did you mean `ha`?)" in cli("rebuild", "haa").stderr
    refused = cli("ssh", "ha", "oss7")
    assert refused.exit_code == 2
    assert "oss7" in refused.stderr
    assert cli("ssh", "ha", "@oss", "--", "true").exit_code == 2
    assert cli("console", "ha", "oss1").exit_code == 2  # no terminal


def test_images(cli: Cli, tmp_path: Path) -> None:
    listed = cli.json("image", "list")
    assert [(image["name"], image["user"], image["clones"]) for image in listed] == [("demo", "root", [])]
    cli("up", "bed.yaml", "--no-wait")
    assert rows(cli("image", "list").stdout)[0][0] == "demo"
    (tmp_path / "raw.qcow2").write_bytes(bytes(65_536))
    refused = cli("image", "import", "raw", "raw.qcow2")
    assert refused.exit_code == 4
    assert "qcow2" in refused.stderr
    url = cli("image", "import", "far", "https://mirror.lab/far.qcow2")
    assert (url.exit_code, "fetch it first" in url.stderr) == (2, True)
    assert "hint: curl -fLO https://mirror.lab/far.qcow2 && vmlab image import far far.qcow2" in url.stderr
    assert cli("image", "build", "windows").exit_code == 2
    cli("down", "ha", "-y")
    assert cli("image", "rm", "demo", "-y").exit_code == 0
    assert cli.json("image", "list") == []
    absent = cli("up", "bed.yaml")
    assert absent.exit_code == 4
    assert "hint: vmlab image build demo" in absent.stderr


def test_busy_bed_exits_9_and_names_the_owner(cli: Cli) -> None:
    with connected("test:///default") as host, locked(only(host), "ha"):
        refused = cli("up", "bed.yaml", "--no-wait")
    assert refused.exit_code == 9
    assert "the bed ha is in use by" in refused.stderr


def test_gc_lists_and_removes(cli: Cli, tmp_path: Path) -> None:
    assert cli.json("gc") == []
    orphan = tmp_path / "pool" / "images" / "demo-0123456789ab.qcow2"
    orphan.write_bytes(b"")
    foreign = orphan.with_name("Rocky-9.qcow2")
    foreign.write_bytes(b"")
    assert [item["name"] for item in cli.json("gc")] == [str(orphan)]
    assert orphan.exists()
    assert cli("gc", "--apply").exit_code == 0
    assert not orphan.exists()
    assert foreign.exists()


def test_a_broken_manifest_is_named_and_the_command_goes_on(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pool" / "images" / "odd.json").write_text("{")
    listed = cli("image", "list", "-o", "json")
    assert [image["name"] for image in json.loads(listed.stdout)] == ["demo"]
    assert listed.stderr.count("vmlab: warning: the image manifest") == 1
    assert "odd.json is broken" in listed.stderr
    assert cli("up", "bed.yaml", "--no-wait").exit_code == 0
    gc = cli("gc", "-o", "json")
    assert (json.loads(gc.stdout), "odd.json is broken" in gc.stderr) == ([], True)


def test_gc_removes_an_image_build_that_was_cut_off_and_none_that_goes_on(cli: Cli, tmp_path: Path) -> None:
    work = tmp_path / "pool" / "images" / ".build-lustre"
    (work / "half").mkdir(parents=True)
    (tmp_path / "build.yaml").write_text("name: build-lustre\nnodes:\n  build: {role: build, memory: 256MiB}\n")
    cli("up", "build.yaml", "--no-wait")
    with held("image.lustre", what="the build"):
        assert cli.json("gc", "--apply") == []
        assert work.exists()
    assert [(item["kind"], item["name"]) for item in cli.json("gc")] == [("image build", "lustre")]
    assert cli("gc", "--apply").exit_code == 0
    assert not work.exists()
    assert "build-lustre" not in cli("list").stdout


def test_gc_leaves_a_user_s_bed_that_has_the_name_of_a_build_s(cli: Cli, tmp_path: Path) -> None:
    work = tmp_path / "pool" / "images" / ".build-lustre"
    work.mkdir()
    (tmp_path / "build.yaml").write_text("name: build-lustre\nnodes:\n  mine: {role: build, memory: 256MiB}\n")
    cli("up", "build.yaml", "--no-wait")
    assert cli("gc", "--apply").exit_code == 0
    assert not work.exists()
    assert "build-lustre" in cli("list").stdout


def test_no_runs_yet(cli: Cli) -> None:
    assert cli.json("results", "list") == []
    assert cli("results", "show").exit_code == 2
    assert cli("results", "show", "nothing").exit_code == 2


def test_workloads_tell_options_and_units(cli: Cli) -> None:
    (rdma,) = cli.json("workloads", "rdma")
    assert {"verbs", "iterations"} <= {option["name"] for option in rdma["options"]}
    assert {"name", "unit"} <= set(rdma["metrics"][0])
    assert "MiB/s" in cli("workloads").stdout


def test_host_check_on_the_test_driver(cli: Cli) -> None:
    result = cli("host", "check", "-o", "json")
    found = {finding["what"]: finding for finding in json.loads(result.stdout)}
    assert {"libvirt", "KVM", "IOMMU", "QEMU", "qemu-img", "subnets", "memory", "hugepages"} <= set(found)
    assert found["libvirt"]["verdict"] == "ok"
    assert found["subnets"]["found"].startswith("256 of 256")
    assert result.exit_code == (4 if "no" in {finding["verdict"] for finding in found.values()} else 0)


def test_host_check_without_libvirt_says_so_and_exits_4(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu+unix:///system?socket=/nowhere/at/all")
    result = cli("host", "check")
    assert result.exit_code == 4
    assert rows(result.stdout)[0][:2] == ["no", "libvirt"]


def test_graph_and_schema(cli: Cli, tmp_path: Path) -> None:
    assert cli("graph", "bed.yaml").stdout.startswith("graph bed {")
    assert cli("graph", "bed.yaml", "-o", "bed.mmd").exit_code == 0
    assert "flowchart" in (tmp_path / "bed.mmd").read_text()
    assert "rdma" in str(json.loads(cli("schema").stdout)["properties"]["workloads"])


def test_run_needs_nodes_that_run(cli: Cli) -> None:
    cli("up", "bed.yaml", "--no-wait")
    cli("power", "off", "ha", "oss2")
    refused = cli("run", "ha", "rdma", "--set", "from=oss1", "--set", "to=oss2")
    assert refused.exit_code == 2
    assert "ha: oss2 is off" in refused.stderr
    assert "hint: vmlab power on ha 'oss2'" in refused.stderr


def test_results_show_what_was_recorded(cli: Cli, tmp_path: Path) -> None:
    metric = Metric("latency", Unit.MICROSECONDS, "lower", "latency")
    with open_run(tmp_path / "state" / "runs", at=datetime.now(UTC), bed="ha", workload="rdma") as run:
        run.finish(
            RunRecord(
                id=run.id,
                bed="ha",
                workload="rdma",
                options={},
                accel="tcg",
                soft=True,
                vmlab="0",
                started="2026-01-01T00:00:00+00:00",
                ended="2026-01-01T00:00:01+00:00",
                nodes=(),
                commands=(),
                samples=(Sample(metric, 7.25, {"verb": "write"}),),
                problems=(),
                faults=("oss1: no device",),
                skipped=(),
            )
        )
    (listed,) = cli.json("results", "list")
    assert (listed["id"], listed["soft"]) == (run.id, True)
    assert [row[:4] for row in rows(cli("results", "list").stdout)] == [[run.id, "ha", "rdma", "tcg, soft-RoCE"]]
    shown = cli("results", "show")
    assert "7.25" in shown.stdout
    assert "oss1: no device" in shown.stdout
    assert cli.json("results", "show", run.id)["samples"][0]["value"] == 7.25


LUSTRE = """
name: fs
fabrics:
  eth: {kind: ethernet, lnet: tcp}
nodes:
  mds1: {role: mds, memory: 256MiB, fabrics: [eth]}
  oss1: {role: oss, memory: 256MiB, fabrics: [eth], image: IMAGE}
filesystems:
  lustre:
    mgt: {servers: mds1}
    mdts: [{servers: mds1, size: 64MiB}]
    osts: [{servers: oss1, size: 64MiB}]
"""


def imported(cli: Cli, name: str, disk: Path, **told: object) -> None:
    """An image with a manifest beside its disk, as a user writes it."""
    manifest = disk.with_suffix(".json")
    manifest.write_text(json.dumps({"name": name, "files": {"disk": disk.name}, **told}))
    try:
        assert cli("image", "import", name, str(disk)).exit_code == 0
    finally:
        manifest.unlink()


def test_what_nobody_said_of_an_image_is_not_known(cli: Cli, tmp_path: Path, disk: Path) -> None:
    (tmp_path / "fs.yaml").write_text(LUSTRE.replace("IMAGE", "demo"))
    said = cli("plan", "fs.yaml").stderr
    assert "whether the image demo carries Lustre is not known, so `up` asks its guests, and brings lustre up" in said
    assert "vmlab image import --help" in said
    assert "carries no Lustre" not in said
    imported(cli, "demo", disk, carries={"perftest": "24.07"})
    imported(cli, "new", disk, carries={"lustre": "2.17.57", "perftest": "24.07"}, backends=["ldiskfs"])
    said = cli("plan", "fs.yaml").stderr
    assert "the image demo carries no Lustre: the bed comes up without its file systems (lustre)" in said
    assert [row[5] for row in rows(cli("image", "list").stdout)] == ["-", "2.17.57"]
    cli("image", "import", "other", str(disk))
    assert [row[5] for row in rows(cli("image", "list").stdout)] == ["-", "2.17.57", "unknown"]


def test_a_node_whose_image_is_known_to_lack_lustre_is_refused_before_it_boots(
    cli: Cli, tmp_path: Path, disk: Path
) -> None:
    imported(cli, "demo", disk, carries={"perftest": "24.07"})
    imported(cli, "new", disk, carries={"lustre": "2.17.57"})
    (tmp_path / "fs.yaml").write_text(LUSTRE.replace("IMAGE", "new"))
    for verb in ("plan", "up"):
        refused = cli(verb, "fs.yaml")
        assert refused.exit_code == 4
        assert "mds1 must serve or mount a file system, and the image has no Lustre: demo" in refused.stderr
    assert cli.json("list") == []
    (tmp_path / "fs.yaml").write_text(LUSTRE.replace("IMAGE", "new").replace("role: mds,", "role: mds, image: new,"))
    assert cli("plan", "fs.yaml").exit_code == 0


def test_a_backend_that_the_image_is_known_to_lack_is_refused_before_it_boots(
    cli: Cli, tmp_path: Path, disk: Path
) -> None:
    imported(cli, "demo", disk, carries={"lustre": "2.17.57"}, backends=["zfs", "wbcfs"])
    (tmp_path / "fs.yaml").write_text(LUSTRE.replace("IMAGE", "demo"))
    refused = cli("plan", "fs.yaml")
    assert refused.exit_code == 4
    assert "on ldiskfs, and Lustre in the image demo has only zfs, wbcfs" in refused.stderr
    (tmp_path / "fs.yaml").write_text(
        LUSTRE.replace("IMAGE", "demo").replace("lustre:\n", "lustre:\n    backend: zfs\n")
    )
    assert cli("plan", "fs.yaml").exit_code == 0
    imported(cli, "demo", disk, carries={"lustre": "2.17.57"})  # which says nothing of them
    (tmp_path / "fs.yaml").write_text(LUSTRE.replace("IMAGE", "demo"))
    assert cli("plan", "fs.yaml").exit_code == 0


def test_the_manifest_that_the_help_shows_can_be_imported(cli: Cli, disk: Path) -> None:
    shown = cli("image", "import", "--help").stdout
    text = " ".join(shown[shown.index('{"name"') :].partition("}}")[0].split()) + "}}"
    told = json.loads(text)
    imported(cli, told.pop("name"), disk, **{**told, "files": {"disk": disk.name}})
    (image,) = [image for image in cli.json("image", "list") if image["name"] == "rocky9"]
    assert image["carries"] == {"lustre": "2.15.5"}


def test_a_damaged_record_is_named_and_the_others_are_listed(cli: Cli, tmp_path: Path) -> None:
    runs = tmp_path / "state" / "runs"
    for number in range(2):
        with open_run(runs, at=datetime(2026, 1, 1 + number, tzinfo=UTC), bed="ha", workload="rdma") as run:
            run.finish(recorded(run.id))
    newest = runs / run.id / "run.json"
    newest.write_text('{"schema": 1, "samples": "none"}')
    listed = cli("results", "list")
    assert [row[0] for row in rows(listed.stdout)] == ["20260101T000000Z-ha-rdma"]
    assert f"warning: skipped: {newest} cannot be read" in listed.stderr
    shown = cli("results", "show", "-o", "json")
    assert json.loads(shown.stdout)["id"] == "20260101T000000Z-ha-rdma"
    assert str(newest) in shown.stderr
    assert cli("results", "show", run.id).exit_code == 7


def recorded(name: str, **more: Any) -> RunRecord:
    nothing: dict[str, Any] = {"nodes": (), "commands": (), "samples": (), "problems": (), "faults": (), "skipped": ()}
    about = {"bed": "ha", "workload": "rdma", "options": {}, "accel": "tcg", "soft": False, "vmlab": "0"}
    return RunRecord(id=name, **about, started="", ended="", **nothing | more)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([recorded("a", faults=("x",)), recorded("b", problems=("y",))], 8),
        ([WorkloadError("no tool"), recorded("b", problems=("y",))], 8),
        ([recorded("a", problems=("y",)), WorkloadError("no tool")], 8),
        ([recorded("a", faults=("x",), problems=("y",))], 8),
        ([GuestError("gone", node="n", stage="ssh"), recorded("b")], 6),
        ([WorkloadError("no tool"), recorded("b")], 7),
        ([recorded("a"), recorded("b")], 0),
    ],
)
def test_of_several_workloads_what_failed_under_test_counts_most_and_all_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcomes: list[Any], status: int
) -> None:
    text = (tmp_path / "bed.yaml").read_text() + "workloads:\n" + "  - {rdma: {verbs: [write]}}\n" * len(outcomes)
    (tmp_path / "many.yaml").write_text(text)
    left = list(outcomes)

    def measure(*_: object, **__: object) -> RunRecord:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        assert isinstance(outcome, RunRecord)
        return outcome

    monkeypatch.setattr("vmlab.lab.measuring.run.measure", measure)
    done = cli("run", "many.yaml", "-o", "json")
    assert done.exit_code == status
    assert left == []
    assert [record["id"] for record in json.loads(done.stdout)] == [o.id for o in outcomes if isinstance(o, RunRecord)]


BESIDE = BED.replace(
    "  mds1:",
    '  cn1: {external: "ssh://root@cn1:2222", role: client, fabrics: {ib0: {address: 10.1.0.7}}}\n  mds1:',
)


def test_machines_that_are_no_guests_are_shown_as_such_and_left_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bed.yaml").write_text(BESIDE)
    assert "3 nodes, 1 external node, 1 fabric" in cli("validate", "bed.yaml").stdout
    planned = cli.json("plan", "bed.yaml")
    assert "cn1" not in {node["name"] for node in planned["nodes"]} | {action["node"] for action in planned["actions"]}
    assert planned["externals"] == [
        {
            "name": "cn1",
            "external": "ssh://root@cn1:2222",
            "role": ["client"],
            "addresses": {"ib0": "10.1.0.7"},
            "nids": ["10.1.0.7@o2ib"],
        }
    ]
    assert "External, left alone: cn1" in cli("plan", "bed.yaml").stdout
    assert cli("up", "bed.yaml", "--no-wait").exit_code == 0
    for named in ("bed.yaml", "ha"):
        told = {node["name"]: node for node in cli.json("status", named, "--no-guests")}
        assert (told["cn1"]["state"], told["cn1"]["stage"], told["oss1"]["state"]) == ("external", "", "running")
        assert re.search(r"^cn1 +client +external +- +- +- +ib0 10\.1\.0\.7", cli("status", named).stdout, re.MULTILINE)
    (tmp_path / "bed.yaml").write_text(BESIDE.replace("cn1:2222", "cn1:99999"))
    assert "warning: external nodes are not known" in cli("status", "ha").stderr


@pytest.mark.parametrize("argv", ["power off ha cn1", "power cycle bed.yaml oss1,cn1", "console ha cn1", "gdb ha cn1"])
def test_what_only_guests_have_is_refused_for_machines(cli: Cli, tmp_path: Path, argv: str) -> None:
    (tmp_path / "bed.yaml").write_text(BESIDE)
    assert cli("up", "bed.yaml", "--no-wait").exit_code == 0
    refused = cli(*argv.split())
    assert (refused.exit_code, "cn1 is no guest: vmlab neither makes nor powers it" in refused.stderr) == (2, True)
    assert set(cli.json("power", "off", "ha", "*").keys()) == {"mds1", "oss1", "oss2"}


@pytest.fixture
def machine(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """The external node cn1 of the bed `ha`: a real sshd, which the user has logged in to before."""
    keys = BedKeys.fresh(tmp_path / "keys")
    keys.write(["cn1"])
    sshd, user = Sshd(tmp_path / "sshd", keys, "cn1"), UsersSsh(tmp_path / "users", keys, monkeypatch)
    user.know(sshd.port, keys.host_key("cn1").public)
    sshd.start()
    (tmp_path / "bed.yaml").write_text(BESIDE.replace("root@cn1:2222", f"127.0.0.1:{sshd.port}"))
    assert cli("up", "bed.yaml", "--no-wait").exit_code == 0
    yield sshd
    sshd.stop()


@pytest.mark.parametrize("bed", ["bed.yaml", "ha"])
def test_commands_and_files_reach_machines_that_are_no_guests(cli: Cli, machine: Sshd, bed: str) -> None:
    answers = cli("exec", bed, "-n", "@client", "-o", "json", "--", "echo", "hi")
    assert json.loads(answers.stdout) == [{"node": "cn1", "status": 0, "stdout": "hi\n", "stderr": ""}]
    assert cli("ssh", bed, "cn1", "--", "exit 7").exit_code == 7
    machine.stop()
    silent = cli("exec", bed, "-n", "cn1", "-o", "json", "--", "true")
    assert silent.exit_code == 255
    assert json.loads(silent.stdout)[0]["stderr"].splitlines() == [
        f"nothing listens at 127.0.0.1 port {machine.port}",
        f"hint: ssh -p {machine.port} 127.0.0.1",
    ]


@pytest.mark.parametrize("node", ["cn1", "ha.cn1"])
def test_files_are_copied_to_machines_and_back(cli: Cli, machine: Sshd, tmp_path: Path, node: str) -> None:
    (tmp_path / "one").write_text("1")
    assert cli("cp", "one", f"{node}:{tmp_path}/two").exit_code == 0
    assert cli("cp", f"{node}:{tmp_path}/two", f"{node}:{tmp_path}/three").exit_code == 0
    assert cli("cp", f"{node}:{tmp_path}/three", "four").exit_code == 0
    assert (tmp_path / "four").read_text() == "1"
    assert machine.port


def test_ctrl_c_ends_what_runs_on_machines(cli: Cli, machine: Sshd, tmp_path: Path) -> None:
    marker = tmp_path / "pid"

    def press() -> None:
        until(marker.exists, Deadline.after(30))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    broken = cli("exec", "ha", "-n", "cn1", "--", f"echo $$ >{marker}.new; mv {marker}.new {marker}; exec sleep 600")
    assert broken.exit_code == 130
    assert "what ran in the guests was ended" in broken.stderr
    assert until(lambda: not Path(f"/proc/{marker.read_text().strip()}").exists(), Deadline.after(5))
    assert machine.port


TENANT = (
    BED
    + """
  client1: {role: client, memory: 256MiB, fabrics: [ib0]}
filesystems:
  scratch: {external: ["10.1.0.11@o2ib", "10.1.0.12@o2ib"], clients: client1, mount: /mnt/scratch}
"""
)


@pytest.mark.parametrize("argv", ["format bed.yaml", "failover ha scratch-OST0000", "failback ha", "failover ha oss1"])
def test_a_file_system_that_exists_is_never_formatted_or_moved(cli: Cli, tmp_path: Path, argv: str) -> None:
    (tmp_path / "bed.yaml").write_text(TENANT)
    assert cli("up", "bed.yaml", "--no-wait").exit_code == 0
    refused = cli("fs", *argv.split())
    assert refused.exit_code == 2
    assert "scratch is external: its servers are not of this bed" in refused.stderr


def test_a_bed_for_lustres_tests(cli: Cli, tmp_path: Path) -> None:
    refused = cli("export", "lustre-cfg", "ha-topology.yaml")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert cli("up", "ha-topology.yaml", "--no-wait").exit_code == 0
    text = cli("export", "lustre-cfg", "ha-topology.yaml").stdout
    ips = {n["name"]: a["ip"] for n in cli.json("status", "ha") for a in n["addresses"] if a["fabric"] == "ib0"}
    nid, other = (f"{ips[server].partition('/')[0]}@o2ib" for server in ("mds1", "mds2"))
    (tmp_path / "cfg").write_text(text.replace('. "$LUSTRE/tests/cfg/ncli.sh"', ":"))
    ask = 'echo "$MGSNID $OSTCOUNT $ost4_HOST $ost4failover_HOST $OSTDEV4 $CLIENT1 $(h2nettype mds2)"'
    done = subprocess.run(
        ("bash", "-euc", f". {tmp_path}/cfg; {ask}"), capture_output=True, text=True, check=True, env=os.environ
    )
    device = "/dev/disk/by-id/virtio-lustre-OST0003"
    assert done.stdout == f"{nid}:{other} 4 oss2 oss1 {device} client1 {other}\n"


def test_a_bed_that_is_not_there_is_rebuilt_as_it_would_come_up(cli: Cli) -> None:
    done = cli("rebuild", "bed.yaml", "--yes", "--keep-new")
    assert done.exit_code == 0, done.output
    assert len(json.loads(cli("status", "ha", "-o", "json").stdout)) == 3


def test_evidence_has_the_plan_or_why_there_is_none(cli: Cli, tmp_path: Path) -> None:
    assert cli("up", "bed.yaml", "--no-wait").exit_code == 0
    assert cli("collect", "bed.yaml", "--to", "same").exit_code == 0
    same = json.loads((tmp_path / "same/plan.json").read_text())
    assert ([node["name"] for node in same["nodes"]], same["changes"]) == (["mds1", "oss1", "oss2"], False)
    (tmp_path / "bed.yaml").write_text(BED.replace("role: mds, memory: 256MiB", "role: mds, memory: 512MiB"))
    assert cli("collect", "bed.yaml", "--to", "other").exit_code == 0
    assert json.loads((tmp_path / "other/plan.json").read_text())["changes"] is True
    (tmp_path / "bed.yaml").write_text(BED.replace("256MiB", "much"))
    assert cli("collect", "ha", "--to", "bad").exit_code == 0
    assert "much" in json.loads((tmp_path / "bad/plan.json").read_text())["error"]
    done = cli("collect", "ha", "--to", "bad")
    assert (done.exit_code, "--to ANOTHER" in done.stderr) == (4, True)


def test_evidence_of_what_answers_is_collected_and_a_host_that_is_away_is_told(cli: Cli, tmp_path: Path) -> None:
    assert cli("up", "bed.yaml", "--no-wait").exit_code == 0
    far = f"far: {{uri: 'qemu+unix:///system?socket={tmp_path}/none'}}"
    wide = BED.replace("fabrics:", f"hosts: {{near: {{uri: 'test:///default'}}, {far}}}\nfabrics:", 1)
    (tmp_path / "wide.yaml").write_text(wide)
    for to, nodes, status in (("all", (), 4), ("some", ("-n", "oss1"), 0)):
        for form in ((), ("-o", "json")):
            done = cli("collect", "wide.yaml", *nodes, "--to", f"{to}{len(form)}", *form)
            assert done.exit_code == status, done.output
            assert "the host far is away" in done.stderr
            assert ("nothing is known of what is on far" in done.stderr) == bool(status)
            assert (tmp_path / f"{to}{len(form)}/oss1/domain.xml").exists()
