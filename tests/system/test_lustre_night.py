"""Nights on real Lustre: its own suites, and a disk that fails. On the image that VMLAB_LUSTRE_IMAGE names."""

# ruff: noqa: T201 (what each sub-test took is printed)

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Vmlab, remains
from .timed import Timed

IMAGE = os.environ.get("VMLAB_LUSTRE_IMAGE", "")
pytestmark = [
    pytest.mark.lustre,
    pytest.mark.skipif(not IMAGE, reason="VMLAB_LUSTRE_IMAGE names no image that carries Lustre"),
]

BEDS = ("t-suites-1", "t-suites-2", "t-cut")
NODE = {"image": IMAGE, "cpus": 1, "memory": "1GiB", "fabrics": ["eth"], "pin": "shared", "numa": "none"}
TOPOLOGY = {
    "name": "two",
    "hosts": {"local": {"reserve": {"cpus": 0, "memory": "0B"}}},
    "fabrics": {"eth": {"kind": "ethernet", "lnet": "tcp"}},
    "nodes": {"s1": {**NODE, "role": ["mds", "oss"]}, "c1": {**NODE, "role": "client"}},
    "filesystems": {
        "lustre": {
            "mgt": {"servers": "s1"},
            "mdts": [{"servers": "s1", "size": "512MiB"}],
            "osts": [{"servers": "s1", "size": "1GiB", "faults": True}],
            "clients": "c1",
        }
    },
}
SANITY = """
name: t
keep: never
limits: {night: 4h, step: 2h}
entries:
  - topology: two.yaml
    name: suites
    beds: 2
    steps:
      - {lustre_tests: {suites: [sanity], only: [0a, 1, 2, 3, 4, 5]}, name: dirs}
      - {lustre_tests: {suites: [sanity], only: [6a, 7a, 8, 17a, 24a, 39a]}, name: files}
      - {lustre_tests: {suites: [lnet-selftest], env: {smoke_DURATION: 30}}, name: lnet}
"""
SUB_TESTS = ("0a", "1", "2", "3", "4", "5", "6a", "7a", "8", "17a", "24a", "39a")
# What both sides have of the file in their memory would be no read of the disk. A client tries ten times.
CUT = """
name: t
keep: never
limits: {night: 2h, step: 30m}
entries:
  - topology: two.yaml
    name: cut
    steps:
      - command: {nodes: c1, run: "cd /mnt/lustre && lfs setstripe -i 0 it && head -c 1000000 /dev/urandom >it && sync"}
        name: write
      - command:
          nodes: "c1,s1"
          run: "lctl set_param ldlm.namespaces.*.lru_size=clear; echo 3 >/proc/sys/vm/drop_caches"
        name: forget
      - fault: {kind: read-errors, nodes: s1, disk: lustre-OST0000}
      - {command: {nodes: c1, run: "cat /mnt/lustre/it >/dev/null"}, name: broken}
      - {command: {nodes: c1, run: "cat /mnt/lustre/it >/dev/null"}, name: sound}
"""


@pytest.fixture(scope="module")
def run(vmlab: Vmlab) -> Iterator[Timed]:
    yield Timed(vmlab)
    for bed in BEDS:
        vmlab.run("down", bed, "--yes")
        assert remains(bed, vmlab) == []


def night(run: Timed, folder: Path, text: str, *, status: int) -> tuple[dict[str, Any], str]:
    """Its record and its page."""
    (folder / "two.yaml").write_text(yaml.safe_dump(TOPOLOGY, sort_keys=False))
    (folder / "night.yaml").write_text(text)
    run.vmlab.run("nightly", str(folder / "night.yaml"), "--to", str(folder), status=status, deadline_s=4 * 3600)
    print(run.vmlab.complaints)
    [latest] = sorted((run.vmlab.state / "nights").iterdir())[-1:]
    return json.loads((latest / "night.json").read_text()), (folder / "night.html").read_text()


def results(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (entry,) = record["entries"]
    found = {f"{test['suite']} {test['test']}": test for step in entry["steps"] for test in step["tests"]}
    for name, test in found.items():
        print(f"{name}: {test['status']}, {test['seconds']} s, on {test['bed'] or entry['bed']}")
    return found


def test_sanity_goes_over_two_beds(run: Timed, tmp_path: Path) -> None:
    record, page = night(run, tmp_path, SANITY, status=0)
    found = {
        name: test for name, test in results(record).items() if name.split()[1] not in ("test_setup", "test_cleanup")
    }
    assert set(found) == {f"sanity test_{name}" for name in SUB_TESTS} | {"lnet-selftest test_smoke"}
    assert {test["status"] for test in found.values()} == {"pass"}
    assert {test["bed"] for test in found.values()} == {"t-suites-1", "t-suites-2"}
    assert (record["product"], record["lab"], record["incomplete"]) == (0, 0, "")
    assert "test_39a" in page


def test_what_was_injected_is_found_in_the_page(run: Timed, tmp_path: Path) -> None:
    record, page = night(run, tmp_path, CUT, status=8)
    found = results(record)
    assert {name: test["status"] for name, test in found.items()} == {
        "command write": "pass",
        "command forget": "pass",
        "command broken": "fail",
        "command sound": "pass",
    }
    broken = found["command broken"]
    assert "Input/output error" in broken["excerpt"]
    injected = [line["what"] for line in record["time_line"] if line["injected"]]
    print(injected)
    assert injected[0].startswith("on purpose: read-errors s1")
    assert record["product"] == 1
    for said in ("broken", "Input/output error", injected[0]):
        assert said in page
