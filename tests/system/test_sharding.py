"""One list of suites over two beds of real guests. A folder of the host brings the stand-in of auster into them.

The image carries no Lustre, and says so: a bed of it comes up without its file system, and with the disks for it.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from .conftest import ROOT, Vmlab, remains

BEDS = ("t-shard-a-1", "t-shard-a-2")
# One node runs the tests without pdsh and without a directory that all share.
BED = """
name: one
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes:
  n1:
    role: [mds, oss, client]
    memory: 512MiB
    fabrics: [eth]
    share: [{host: tests, at: /usr/lib64/lustre/tests, read_only: true}, {host: met, at: /srv/met}]
filesystems:
  lustre: {mgt: {servers: n1}, mdts: [{servers: n1, size: 1GiB}], osts: [{servers: n1, size: 1GiB}], clients: n1}
"""
# What is not known to take less is done in the order of the list. `here` and `there` pass beside each other only, on
# two beds, so that neither bed does all while the other one still boots.
NIGHT = """
name: t-shard
keep: never
entries:
  - topology: one.yaml
    name: a
    beds: 2
    steps:
      - lustre_tests:
          suites: [here, there, standin, hanging]
          except: [4, 5, 6]
          subtest_limit_s: 300
          env: {MET: /srv/met}
        name: suites
"""
RESULTS = {
    "here": {"1": "pass", "2": "pass"},
    "there": {"1": "pass", "2": "pass"},
    "standin": {"1": "pass", "2": "fail", "3": "skip", **dict.fromkeys(("4", "5a", "5b", "6"), "skip"), "7": "pass"},
    "hanging": {"1": "pass", "2": "pass"},
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """The night's files, and what its guests share. Their user may go there, who opens it where there is only 9p."""
    folder = Path(tempfile.mkdtemp(prefix="t-shard-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "one.yaml").write_text(BED)
    (folder / "night.yaml").write_text(NIGHT)
    (folder / "met").mkdir()
    (folder / "met").chmod(0o777)
    shutil.copytree(ROOT / "tests/lustre_stand_in/tests", folder / "tests")
    for name in ("here", "there"):
        shutil.copy(folder / "tests/meeting.sh", folder / f"tests/{name}.sh")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def night(vmlab: Vmlab, folder: Path) -> Iterator[Path]:
    """It is over: its folder."""
    before = set((vmlab.state / "nights").glob("*"))
    try:
        vmlab.run("nightly", str(folder / "night.yaml"), "--accel", "tcg", "--to", str(folder / "to"), status=8)
        (night,) = set((vmlab.state / "nights").glob("*")) - before
        assert left(vmlab, folder) == []
        yield night
    finally:
        for bed in BEDS:
            vmlab.run("down", bed, "--yes")


def left(vmlab: Vmlab, folder: Path) -> list[str]:
    """What is left of the beds, and who still has the folder open for a guest."""
    argv = ("pgrep", "-fa", f"{folder}/")
    daemons = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
    return [*(one for bed in BEDS for one in remains(bed, vmlab)), *daemons]


def test_two_beds_share_a_list_of_suites_and_the_results_are_one(night: Path, folder: Path) -> None:
    record = json.loads((night / "night.json").read_text())
    (entry,) = record["entries"]
    (step,) = entry["steps"]
    assert (record["product"], record["lab"], record["incomplete"], entry["kept"]) == (1, 0, "", False)
    tests: dict[str, dict[str, Any]] = {suite: {} for suite in RESULTS}
    for test in step["tests"]:
        assert test["test"] not in tests[test["suite"]]
        tests[test["suite"]][test["test"].removeprefix("test_")] = test
    statuses = {suite: {name: test["status"] for name, test in found.items()} for suite, found in tests.items()}
    both = {"setup": "pass", "cleanup": "pass"}
    assert statuses == {suite: {**found, **both} for suite, found in RESULTS.items()}
    # Each suite was whole on one bed, and the two that met were on both: on guests that tell who they are.
    where = {suite: {test["bed"] for test in found.values()} for suite, found in tests.items()}
    assert {len(beds) for beds in where.values()} == {1}
    assert where["here"] | where["there"] == set(BEDS)
    logs = [(night / tests[suite]["2"]["log"]).read_text() for suite in ("here", "there")]
    boots = {re.findall(r"^boot (\S+)$", log, re.MULTILINE)[0] for log in logs}
    assert boots == {path.name for path in (folder / "met").iterdir()}
    assert len(boots) == len(BEDS)
    # Four runs, and one result: in what CI reads, too.
    assert len(set(step["runs"])) == len(RESULTS)
    suites = {suite.get("name"): suite for suite in etree.parse(folder / "to/junit.xml").iter("testsuite")}
    assert {name: suite.get("failures") for name, suite in suites.items()} == {
        f"a.{suite}": str(list(found.values()).count("fail")) for suite, found in RESULTS.items()
    }
