"""Lustre's suites as a workload, with a stand-in of auster that runs here; how nodes are prepared is not tried."""

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from local_guest import LocalGuest, nodes

from vmlab.errors import GuestError, UsageError, WorkloadError
from vmlab.lab.measuring.workload import run_workload
from vmlab.lustre.lnetconf import Lnet, LnetInterface
from vmlab.plan.filesystems import targets
from vmlab.records.run import RunRecord, from_json, to_json
from vmlab.runtime import process
from vmlab.suites.consoles import Event, read_console
from vmlab.suites.results import SubTest, SuiteRun
from vmlab.topology import Topology, loads
from vmlab.values.nid import Nid
from vmlab.workloads import Bed, Deed, Node, Output
from vmlab.workloads._options import Point, validated
from vmlab.workloads.lustre_tests import LustreTests, Options

STAND_IN = Path(__file__).parents[2] / "lustre_stand_in" / "tests"
BED = """
name: one
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes: {n1: {role: [mds, oss, client], memory: 512MiB, fabrics: [eth]}}
filesystems:
  lustre: {mgt: {servers: n1}, mdts: [{servers: n1, size: 1GiB}], osts: [{servers: n1, size: 1GiB}], clients: n1}
"""
HA = """
name: ha
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes:
  mds1: {role: mds, memory: 512MiB, fabrics: [eth]}
  oss1: {role: oss, memory: 512MiB, fabrics: [eth]}
  "client[1-2]": {role: client, memory: 512MiB, fabrics: [eth]}
filesystems:
  lustre: {mgt: {servers: mds1}, mdts: [{servers: mds1, size: 1GiB}], osts: [{servers: oss1, size: 1GiB}]}
"""


def laid_out(text: str) -> Bed:
    topology: Topology = loads(text, "bed.yaml")
    configs = {
        node: Lnet((LnetInterface("eth1", "52:54:00:00:00:01", Nid(IPv4Address(f"10.77.1.{n}"), "tcp")),))
        for n, node in enumerate(topology.nodes, start=10)
    }
    return Bed(topology, targets(topology, configs), configs)


class Standing(LocalGuest):
    """This machine with the stand-in, without users and folders of a guest's; "about to crash" is a crash."""

    def __init__(self, mark: str, home: Path) -> None:
        super().__init__(mark)
        self.home = home
        self.dead = False
        self.dies_at = "\0"

    def run(self, argv: Sequence[str], **how: Any) -> process.Result:
        if any(self.dies_at in word for word in argv):
            self.dead, self.dies_at = True, "\0"
        if self.dead:
            raise GuestError("n1 does not answer", node="n1", stage="ssh")
        hear = how.get("on_line", lambda _: None)

        def heard(line: str) -> None:
            hear(line)
            if "about to crash" in line:
                self.dead = True
                raise GuestError("n1: Kernel panic - not syncing", node="n1", stage="panic")

        text = 'mkdir -p "$1/shared"; cp "$2" "$1/"'
        words = [text if "useradd" in word else word.replace("/srv/vmlab", str(self.home)) for word in argv]
        return super().run(words, **{**how, "on_line": heard})


class Beside:
    """Says what it is told, and collects nothing but the name."""

    def __init__(self, guest: Standing) -> None:
        self.said: list[str] = []
        self.consoles: dict[str, str] = {}
        self.guest = guest

    def begin(self) -> None:
        self.consoles.clear()

    def events(self) -> Mapping[str, tuple[Event, ...]]:
        return {node: read_console(text).events for node, text in self.consoles.items()}

    def say(self, line: str) -> None:
        self.said.append(line)

    def collect(self, folder: Path, stem: str) -> str:
        (folder / stem).mkdir(exist_ok=True)
        return stem


class Lab:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.guest = Standing(f"VMLAB_TEST_{os.getpid()}_{time.monotonic_ns()}", folder / "home")
        self.beside = Beside(self.guest)
        self.said: list[str] = []
        self.deeds: list[str] = []

    def do(self, deed: Deed) -> process.Result:
        self.deeds.append(deed.verb)
        self.guest.dead = False
        return process.Result(deed.argv, 0, "null\n", "")

    def run(self, **options: Any) -> RunRecord:
        workload = LustreTests(lambda: laid_out(BED))
        return run_workload(
            {"n1": self.guest},
            nodes("n1", role="client"),
            workload,
            [Point({}, validated(workload, options))],
            runs_dir=self.folder / "runs",
            accel="tcg",
            bed="one",
            deeds=self.do,
            beside=self.beside,
            progress=self.said.append,
        )

    def file(self, record: RunRecord, name: str) -> str:
        return (self.folder / "runs" / record.id / name).read_text()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("PATH", f"{STAND_IN}:{os.environ['PATH']}")
    return Lab(tmp_path)


def statuses(suite: SuiteRun) -> dict[str, str]:
    return {test.test.removeprefix("test_"): test.status for test in suite.tests}


def of(suite: SuiteRun, name: str) -> SubTest:
    (found,) = [test for test in suite.tests if test.test == f"test_{name}"]
    return found


def test_each_sub_test_has_a_result_with_its_log(lab: Lab) -> None:
    record = lab.run(suites=["standin"], only=["1", "2", "3", "5"])
    (suite,) = record.suites
    assert statuses(suite) == {
        "setup": "pass", "1": "pass", "2": "fail", "3": "skip", "5a": "fail", "5b": "pass", "cleanup": "pass"
    }  # fmt: skip
    assert (suite.status, suite.begun, suite.measurement) == ("fail", 1, "standin")
    second = of(suite, "2")
    assert second.why == "made to fail, with a comma"
    assert second.place.endswith("test_2()")
    assert "@@@@@@ FAIL: made to fail" in lab.file(record, second.log)
    assert of(suite, "3").why == "skipped on purpose"
    # Their own logs are lost; what auster printed is not.
    for name in ("5a", "5b"):
        assert of(suite, name).notes == ("its own log is missing: this is what auster printed of it",)
        assert "loses its log" in lab.file(record, of(suite, name).log)
    assert record.problems == (
        "standin: test_2: fail: made to fail, with a comma",
        "standin: test_5a: fail: lost its log",
    )
    assert {(s.metric.name, s.value) for s in record.samples} >= {("passed", 4.0), ("failed", 2.0), ("skipped", 1.0)}
    assert any(re.fullmatch(r"standin 2: FAIL 2 \(\d+s\)", line) for line in lab.beside.said)
    assert from_json(json.loads(json.dumps(to_json(record)))).suites == record.suites


def test_a_sub_test_that_hangs_is_ended_alone_after_evidence(lab: Lab) -> None:
    record = lab.run(suites=["standin"], only=["4", "7"], subtest_limit_s=8)
    (suite,) = record.suites
    assert (of(suite, "4").status, of(suite, "7").status) == ("time-out", "pass")
    assert of(suite, "4").why == "standin 4 did not end within 8 s"
    assert of(suite, "4").evidence == "evidence.standin"
    assert (suite.status, suite.begun, lab.deeds) == ("fail", 1, [])
    assert record.problems == ("standin: test_4: time-out: standin 4 did not end within 8 s",)


def test_after_a_crash_the_rest_goes_on_behind_it(lab: Lab, tmp_path: Path) -> None:
    tests = tmp_path / "lustre" / "tests"
    tests.mkdir(parents=True)
    for file in STAND_IN.iterdir():
        if file.is_file():
            (tests / file.name).write_bytes(file.read_bytes())
            (tests / file.name).chmod(0o755)
    crash = 'test_6() { echo "about to crash"; sleep 3600; }'
    lines = (tests / "standin.sh").read_text().splitlines()
    (tests / "standin.sh").write_text(
        "\n".join(crash if line.startswith("test_6()") else line for line in lines) + "\n"
    )
    os.environ["PATH"] = f"{tests}:{os.environ['PATH']}"
    record = lab.run(suites=["standin"], start_at="3", **{"except": ["4"]})
    (suite,) = record.suites
    assert statuses(suite) == {
        "setup": "pass", "1": "skip", "2": "skip", "3": "skip", "4": "skip", "5a": "fail", "5b": "pass", "6": "crash",
        "7": "pass", "cleanup": "pass",
    }  # fmt: skip
    assert of(suite, "4").why == "skipping excluded test 4"
    assert of(suite, "6").why == "n1: Kernel panic - not syncing"
    assert of(suite, "6").evidence
    assert (suite.status, suite.begun, lab.deeds) == ("crash", 2, ["revive"])
    assert [t.round for t in suite.tests if t.test == "test_setup"] == [1, 2]


def test_what_hangs_between_sub_tests_is_ended_with_its_auster(lab: Lab) -> None:
    record = lab.run(suites=["hanging", "standin"], subtest_limit_s=8, env={"HANG_BETWEEN": "yes"}, only=["1", "2"])
    hanging, standin = record.suites
    assert (hanging.status, hanging.begun) == ("time-out", 2)
    assert hanging.why == "what is between parts did not end within 8 s"
    assert statuses(hanging) == {"setup": "pass", "1": "pass", "2": "not run"}
    assert lab.deeds == ["revive", "revive"]
    assert statuses(standin)["2"] == "fail"


def test_a_node_that_dies_when_a_suite_is_over_does_not_take_the_next_with_it(lab: Lab) -> None:
    lab.guest.dies_at = "tail -c"  # when its logs are brought
    record = lab.run(suites=["hanging", "standin"], only=["1"])
    assert [(suite.status, suite.begun) for suite in record.suites] == [("pass", 1), ("pass", 1)]
    assert lab.deeds == ["revive"]
    assert of(record.suites[0], "1").log.startswith("hanging.logs-again.1.")


def test_when_a_suite_takes_too_long_the_next_finds_a_sound_bed(lab: Lab) -> None:
    record = lab.run(suites=["standin", "hanging"], only=["1", "4", "7"], suite_limit_s=8)
    standin, hanging = record.suites
    assert statuses(standin) == {"setup": "pass", "1": "pass", "4": "time-out", "7": "not run"}
    assert of(standin, "4").why == "it did not end within 8 s"
    assert of(standin, "4").evidence == "evidence.standin"
    assert (standin.status, standin.begun, lab.deeds) == ("time-out", 1, ["revive"])
    assert (hanging.status, statuses(hanging)["1"]) == ("pass", "pass")
    assert "standin: 1 of its sub-tests did not run: standin ended before it (time-out)" in record.problems


def test_when_the_time_of_all_is_over_what_did_not_run_is_told(lab: Lab) -> None:
    record = lab.run(suites=["standin", "hanging"], only=["4"], limit_s=8)
    standin, hanging = record.suites
    assert of(standin, "4").status == "time-out"
    assert (hanging.status, statuses(hanging)) == ("not run", {"4": "not run"})
    assert record.faults == ("hanging: it was not begun, because the time of all was over",)
    assert lab.deeds == []


def test_a_suite_that_auster_does_not_find_is_the_labs_fault(lab: Lab) -> None:
    record = lab.run(suites=["nosuch"], only=["1"])
    assert record.suites[0].status == "not run"
    assert record.problems == ()
    assert record.faults == ("nosuch: auster ran nothing of nosuch: Can't find test script for nosuch",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "nothing is to run"),
        ({"suites": ["sanity"], "group": "regression"}, "both suites and group"),
        ({"group": "nosuch"}, "no group"),
        ({"suites": ["../sanity"]}, "suites"),
        ({"suites": ["sanity"], "nodes": "n9"}, "no node n9"),
        ({"test_parameters": "testlist=sanity mdscuont=2"}, "mdscuont"),
        ({"test_parameters": "mdscount=1"}, "names no suite"),
    ],
)
def test_what_makes_no_sense_is_refused(lab: Lab, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        lab.run(**options)


def test_another_bed_than_test_parameters_ask_for_is_refused(lab: Lab) -> None:
    asked = "Test-Parameters: testlist=standin mdtcount=2 env=ONLY=1"
    with pytest.raises(WorkloadError, match="it asks for 2 MDTs, and the bed has 1"):
        lab.run(test_parameters=asked)
    record = lab.run(test_parameters=asked, anyway=True)
    assert of(record.suites[0], "1").status == "pass"
    assert "test_parameters: it asks for 2 MDTs, and the bed has 1" in lab.said


def test_without_the_topology_nothing_runs() -> None:
    with pytest.raises(UsageError, match="its file is not here"):
        LustreTests().takes_part(Options(suites=("sanity",)), ())


def planned(text: str, facts: Mapping[str, str], **options: Any) -> tuple[LustreTests, Options, tuple[Node, ...]]:
    bed = laid_out(text)
    workload = LustreTests(lambda: bed)
    return (
        workload,
        validated(workload, options),
        tuple(Node(name, facts={"tests": facts.get(name, "")}) for name in bed.topology.nodes),
    )


DRIVER = "tests /usr/lib64/lustre/tests\nsuite sanity 0a 1 24x 27m\nhas pdsh\nmounted 0\n"
SERVES = "has exportfs\nhas rpc.nfsd\nhas nfsd\n"
MOUNTS = "has mount.nfs\nhas nfs\nmounted 0\n"


CASES = Path(__file__).parents[2] / "cases" / "lustre_tests"


@pytest.mark.parametrize(
    ("case", "suite", "status", "found"),
    [
        ("good/sanity-2.17.57.txt", "sanity", "pass", {"0a": "pass", "1": "pass", "6a": "pass", "24a": "pass"}),
        ("failed/labfail-2.17.57.txt", "labfail", "fail", {"1": "pass", "2": "fail", "3": "skip", "4": "fail"}),
        ("truncated/sanity-2.17.57.txt", "sanity", "crash", {"0a": "pass", "1": "pass", "6a": "crash"}),
    ],
)
def test_what_auster_printed_is_enough_where_its_files_are_lost(
    case: str, suite: str, status: str, found: Mapping[str, str]
) -> None:
    workload, options, known = planned(HA, {"client1": DRIVER}, suites=[suite], only=list(found))
    ((measurement,),) = workload.measurements(options, known)
    outputs = {"auster.1": Output(0, (CASES / case).read_text(), "", 1.0)}
    (run,) = workload.tests(options, measurement, outputs)
    assert statuses(run).items() >= found.items()
    assert run.status == status
    assert {sample.metric.name for sample in workload.parse(options, measurement, outputs)} >= {"passed", "failed"}


def test_what_will_be_skipped_is_told_before() -> None:
    workload, options, known = planned(HA, {"client1": DRIVER}, suites=["sanity", "sanity-hsm"])
    told = workload.foretold(options, known)
    assert [line for line in told if "24x" in line] == ["sanity 24x will be skipped: needs >= 2 MDTs, there is 1"]
    assert any(line.startswith("sanity-hsm will be skipped: needs SHARED_DIRECTORY") for line in told)
    assert any("no exportfs on client1" in line and "mount.nfs" in line for line in told)


def test_nodes_that_have_nfs_share_a_directory_in_order() -> None:
    facts = {"client1": DRIVER + SERVES, **dict.fromkeys(("client2", "mds1", "oss1"), MOUNTS)}
    workload, options, known = planned(HA, facts, suites=["sanity"])
    ((measurement,),) = workload.measurements(options, known)
    names = [task.name for task in measurement.commands]
    assert names[4:] == ["export.1.client1", *(f"share.1.{n}" for n in ("mds1", "oss1", "client2"))]
    cfg = str(measurement.commands[0].files["ha.sh"])
    assert "SHARED_DIRECTORY=/srv/vmlab/shared" in cfg
    assert workload.takes_part(options, known) == ("mds1", "oss1", "client1", "client2")


def test_a_mounted_file_system_is_unmounted_first() -> None:
    facts = {"client1": DRIVER.replace("mounted 0", "mounted 1")}
    workload, options, known = planned(HA, facts, suites=["sanity"])
    (first,), _ = workload.measurements(options, known)
    assert [task.name for task in first.commands] == ["umount"]


@pytest.mark.parametrize(
    ("said", "why"),
    [("", "Lustre's tests are not on client1"), (DRIVER.replace("has pdsh\n", ""), "client1 has no pdsh")],
)
def test_what_a_node_lacks_is_told(said: str, why: str) -> None:
    workload, options, known = planned(HA, {"client1": said}, suites=["sanity"])
    with pytest.raises(WorkloadError, match=why) as caught:
        workload.measurements(options, known)
    assert "vmlab image build" in (caught.value.hint or "")
