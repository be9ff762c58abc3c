"""What a night will not do, told before it begins."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vmlab.cli.app import app
from vmlab.lab.nightly.foretold import foretold, in_lines
from vmlab.nights.read import loads_night
from vmlab.workloads import options_by_name, workloads

BED = """
name: small
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes:
  s1: {role: [mds, oss], memory: 512MiB, fabrics: [eth]}
  "c[1-2]": {role: client, memory: 512MiB, fabrics: [eth]}
filesystems:
  lustre: {mgt: {servers: s1}, mdts: [{servers: s1, size: 1GiB}], osts: [{servers: s1, size: 1GiB}], clients: "c*"}
"""
NIGHT = """
name: n
entries:
  - topology: bed.yaml
    name: b
    matrix: {backend: [ldiskfs, zfs]}
    steps:
      - {command: {run: date}}
      - {lustre_tests: {suites: [sanity], only: [1, 24, "27N", 104c]}, name: some}
      - {lustre_tests: {suites: [mmp, recovery-small, sanity-hsm], env: {FAILURE_MODE: HARD}}, name: hard}
      - {lustre_tests: {test_parameters: "testlist=runtests mdtcount=4"}, name: more}
      - {lustre_tests: {suites: [sanity], group: regression}, name: both}
"""


def told(tmp_path: Path, night: str) -> dict[str, tuple[str, ...]]:
    (tmp_path / "bed.yaml").write_text(BED)
    read = loads_night(night, tmp_path / "night.yaml", workloads=options_by_name(), find=Path)
    return foretold(read, workloads())


def test_each_skip_is_told_with_its_reason_of_the_sub_tests_that_are_to_run(tmp_path: Path) -> None:
    found = told(tmp_path, NIGHT)
    ldiskfs = found["b-ldiskfs"]
    assert "some: sanity 24x 24y 24z 24B 24C 24F 24G 24H 24I will be skipped: needs >= 2 MDTs, there is 1" in ldiskfs
    assert "some: sanity 27N will be skipped: needs an MGS apart from MDT0000" in ldiskfs
    assert "some: sanity 104c will be skipped: zfs only, and the backend is ldiskfs" in ldiskfs
    assert not [line for line in ldiskfs if "27b" in line]  # is not to run
    assert "hard: mmp will be skipped: failover pairs of MDTs and OSTs are needed" in ldiskfs
    without = "without a partner MDTs and OSTs wait in HARD mode until their server is up again"
    assert any(line.startswith("hard: recovery-small will ") and without in line for line in ldiskfs), ldiskfs
    assert "more: test_parameters: it asks for 4 MDTs, and the bed has 1" in ldiskfs


def test_what_only_guests_can_tell_is_not_said(tmp_path: Path) -> None:
    words = "\n".join(line for lines in told(tmp_path, NIGHT).values() for line in lines)
    for what in ("SHARED_DIRECTORY", "dm-flakey", "vmlab-power", "mpirun", "command"):
        assert what not in words


def test_options_that_do_not_fit_are_told_before_the_night(tmp_path: Path) -> None:
    assert (
        "both: lustre_tests: both suites and group is to run (expected one of suites, group, test_parameters)"
        in told(tmp_path, NIGHT)["b-zfs"]
    )


def test_what_is_so_in_several_entries_is_said_once(tmp_path: Path) -> None:
    found = told(tmp_path, NIGHT)
    lines = in_lines(found)
    both = [line for line in lines if line.startswith("b-ldiskfs, b-zfs: ")]
    assert "b-ldiskfs, b-zfs: more: test_parameters: it asks for 4 MDTs, and the bed has 1" in both
    assert "b-zfs: hard: mmp will be skipped: ldiskfs only, and the backend is zfs" in lines
    assert len(lines) < sum(map(len, found.values()))


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_dry_run_says_it(tmp_path: Path, form: str) -> None:
    (tmp_path / "bed.yaml").write_text(BED)
    (tmp_path / "night.yaml").write_text(NIGHT)
    done = CliRunner().invoke(app, ["nightly", str(tmp_path / "night.yaml"), "--dry-run", "-o", form])
    assert done.exit_code == 0
    line = "more: test_parameters: it asks for 4 MDTs, and the bed has 1"
    if form == "table":
        assert f"b-ldiskfs, b-zfs: {line}" in done.output.splitlines()
    else:
        assert all(line in entry["foretold"] for entry in json.loads(done.output))
