"""Lustre's suites on real guests, with a stand-in of auster: it passes, fails, skips, hangs, loses its log, crashes."""

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import ROOT, Vmlab, qemu_pids, remains

BED = "t-suites"
NODES = """
name: t-suites
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes:
  s1: {role: [mds, oss], memory: 512MiB, fabrics: [eth]}
  c1: {role: client, memory: 512MiB, fabrics: [eth]}
"""
# The image carries no Lustre: what the tests are to format stands in another file of the same bed.
TARGETS = """
filesystems:
  lustre: {mgt: {servers: s1}, mdts: [{servers: s1, size: 1GiB}], osts: [{servers: s1, size: 1GiB}], clients: c1}
"""
INSTALLED = """
mkdir -p /usr/lib64/lustre
touch /etc/may-crash
printf '#!/bin/sh\\n' >/usr/local/bin/pdsh
chmod +x /usr/local/bin/pdsh
"""


@pytest.fixture(scope="module")
def file(vmlab: Vmlab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bed")
    (folder / "nodes.yaml").write_text(NODES)
    (folder / "bed.yaml").write_text(NODES + TARGETS)
    vmlab.run("up", str(folder / "nodes.yaml"))
    vmlab.run("exec", BED, "-n", "c1", "--", "sh", "-c", INSTALLED)
    vmlab.run("cp", "-r", str(ROOT / "tests/lustre_stand_in/tests"), f"{BED}.c1:/usr/lib64/lustre/")
    vmlab.run("exec", BED, "-n", "c1", "--", "sync")
    yield str(folder / "bed.yaml")
    vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []


def test_each_sub_test_has_its_result_and_the_rest_goes_on_on_a_sound_bed(vmlab: Vmlab, file: str) -> None:
    settings = ("--set", "suites=standin", "--set", "subtest_limit_s=15")
    run = json.loads(vmlab.run("run", file, "lustre_tests", *settings, "-o", "json", status=8))
    (suite,) = run["suites"]
    tests: dict[str, Any] = {test["test"].removeprefix("test_"): test for test in suite["tests"]}
    assert {name: test["status"] for name, test in tests.items()} == {
        "setup": "pass", "1": "pass", "2": "fail", "3": "skip", "4": "time-out", "5a": "fail", "5b": "pass",
        "6": "crash", "7": "pass", "cleanup": "pass",
    }  # fmt: skip
    assert (suite["status"], suite["begun"]) == ("crash", 2)
    folder = vmlab.state / "runs" / run["id"]
    assert "@@@@@@ FAIL: made to fail" in (folder / tests["2"]["log"]).read_text()
    assert tests["5a"]["notes"] == ["its own log is missing: this is what auster printed of it"]
    # It hung, evidence was taken, and it alone was ended: what came next ran in the same auster.
    assert tests["4"]["later"] == ["test_4 returned 143"]
    index = json.loads((folder / tests["4"]["evidence"] / "index.json").read_text())
    assert {node["node"]: node["silent"] for node in index["nodes"]} == {"c1": "", "s1": ""}
    # The crash: seen on the console, in the sub-test that it was in; then all nodes began anew.
    assert "Kernel panic - not syncing: sysrq" in tests["6"]["why"]
    assert tests["6"]["seen"][0]["node"] == "c1"
    assert any("standin test 6" in line for line in tests["6"]["seen"][0]["lines"])
    silent = json.loads((folder / tests["6"]["evidence"] / "index.json").read_text())["nodes"]
    assert {node["node"]: bool(node["silent"]) for node in silent} == {"c1": True, "s1": False}
    assert [c["task"] for c in run["commands"] if c["task"].startswith("revive")] == ["revive.1"]
    told = vmlab.complaints
    assert "not all nodes share a directory: there is no exportfs on c1" in told
    assert "standin 7: PASS 7" in told
    # The framework's users have the same numbers everywhere, and its configuration lies at one path.
    said = vmlab.run(
        "exec", BED, "--", "sh", "-c", "id -u sanityusr quota_usr | xargs; sha256sum /srv/vmlab/t-suites.sh"
    )
    assert "c1,s1 (2)" in said  # both said the same
    assert "500 60000" in said


def test_a_run_that_was_killed_goes_on_with_the_next_suite(vmlab: Vmlab, file: str) -> None:
    settings = ("--set", "suites=[standin, hanging]", "--set", "only=[1, 5]")
    process = vmlab.start("run", file, "lustre_tests", *settings)
    assert process.stderr is not None
    for line in process.stderr:
        if "2/2 hanging" in line:
            break
    process.kill()
    process.communicate()
    run = json.loads(vmlab.run("run", file, "lustre_tests", *settings, "--resume", "-o", "json", status=8))
    assert [(suite["suite"], suite["status"]) for suite in run["suites"]] == [("standin", "fail"), ("hanging", "pass")]


def test_a_server_whose_qemu_vanishes_is_noticed_at_once(vmlab: Vmlab, file: str) -> None:
    """The node that runs the tests does not talk to it, and hangs by itself: nobody else would notice."""
    settings = ("--set", "suites=standin", "--set", "only=[1, 4]", "--set", "subtest_limit_s=600")
    process = vmlab.start("run", file, "lustre_tests", *settings, "-o", "json")
    assert process.stderr is not None
    for line in process.stderr:
        if "standin 1: PASS" in line:
            break
    os.kill(qemu_pids(BED)[f"{BED}.s1"], signal.SIGKILL)
    killed = time.monotonic()
    said, _ = process.communicate()
    assert time.monotonic() - killed < 240
    (suite,) = json.loads(said)["suites"]
    (test,) = (test for test in suite["tests"] if test["test"] == "test_4")
    assert (test["status"], test["why"]) == ("crash", "s1: its QEMU is gone, and nobody here has ended it")


def test_what_was_asked_of_another_bed_is_refused(vmlab: Vmlab, file: str) -> None:
    vmlab.run("run", file, "lustre_tests", "--set", "test_parameters=testlist=standin mdtcount=4", status=7)
    assert "it asks for 4 MDTs, and the bed has 1" in vmlab.complaints
