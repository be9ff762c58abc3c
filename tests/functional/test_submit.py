"""What `vmlab submit` tells sbatch, and the script that it hands over; Slurm itself is in tests/system/test_farm.py.

Where a job's id is needed a stand-in for sbatch says one, and keeps what it was called with.
"""

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vmlab.cli.app import app
from vmlab.errors import UsageError
from vmlab.lab.nightly.joined import joined
from vmlab.lab.nightly.night import Places, night_of
from vmlab.nights.read import loads_night
from vmlab.runtime.lock import held
from vmlab.topology import load, loads
from vmlab.workloads import options_by_name

TESTS = Path(__file__).parents[1]
STAND_IN = (sys.executable, str(TESTS / "night_stand_in.py"))
SMALL = "name: small\nimage: demo\nnodes: {client1: {role: client, cpus: 2, memory: 512MiB}}\n"
HARDWARE = """
name: hw
image: ./demo.qcow2
fabrics:
  ib0: {kind: infiniband, lnet: o2ib, attach: vf}
  ib1: {kind: infiniband, lnet: o2ib1, attach: passthrough}
  eth: {kind: ethernet, attach: passthrough}
  xge: {kind: ethernet, attach: bridge, bridge: br10g}
  soft: {kind: infiniband, lnet: o2ib2, attach: auto}
nodes:
  "fta[1-3]": {role: fta, cpus: 4, memory: 2GiB, fabrics: {ib0: {count: 2}, xge: {}, soft: {}}}
  gate: {role: fta, cpus: 1, memory: 1537MiB, pin: shared, fabrics: [ib1, eth]}
workloads: [{command: {run: "true"}}]
"""
WIDE = """
name: a-bed-whose-name-is-rather-long
image: demo
hosts:
  far: {uri: "qemu+ssh://admin@kvm2:2222/system?keyfile=/k", address: 10.1.0.2}
  near: {address: 10.1.0.1}
  last: {uri: "qemu+tls://kvm3/system?pkipath=/k", ssh: "root@kvm3:2222", address: 10.1.0.3}
nodes:
  "n[1-2]": {role: client, cpus: 2, memory: 1GiB, host: near}
  n3: {role: client, cpus: 1, memory: 3GiB, host: far}
  "n[4-6]": {role: client, cpus: 1, memory: 512MiB}
"""
NIGHT = """
name: n
entries:
  - {topology: small.yaml, matrix: {nodes.client1.cpus: [1, 2]}, steps: [{command: {run: "true"}, name: good}]}
  - {topology: small.yaml, name: bad, steps: [{command: {run: "exit 3"}, name: bad}]}
"""
SBATCH = """#!/bin/sh
# A stand-in: says a job's id, 101 and on, and keeps how it was called and what with; not when `refuse` says so.
cd "${0%/*}" || exit
if [ -e refuse ] && [ "$(cat refuse)" = "$(ls | grep -c argv)" ]; then
  echo 'sbatch: error: Batch job submission failed: Invalid account' >&2
  exit 1
fi
number=$((101 + $(ls | grep -c argv)))
printf '%s\\n' "$@" >"$number.argv"
for word; do [ ! -f "$word" ] || [ -x "$word" ] || cat "$word" >"$number.script"; done
echo "$number;cluster"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with topologies and a night, from which is submitted."""
    for name in ("state", "lock"):
        monkeypatch.setenv(f"VMLAB_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    for name, text in (("small", SMALL), ("hw", HARDWARE), ("wide", WIDE), ("night", NIGHT)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.fixture
def slurm(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-in for sbatch."""
    folder = place / "slurm"
    folder.mkdir()
    (folder / "sbatch").write_text(SBATCH)
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def called(*argv: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(argv, prog_name="vmlab")
    return int(ended.value.code or 0)


def told(capfd: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, Any]]:
    capfd.readouterr()
    place = argv.index("--") if "--" in argv else len(argv)
    status = called("submit", *argv[:place], "-o", "json", *argv[place:])
    said = capfd.readouterr()
    assert status == 0, said.err
    found: list[dict[str, Any]] = json.loads(said.out)
    return found


def options(job: dict[str, Any]) -> list[str]:
    """Those of sbatch, up to the script."""
    command = job["command"]
    return command[: next(place for place, word in enumerate(command) if word.endswith("job.sh"))]


def topology(job: dict[str, Any]) -> str:
    return str(job["script"].partition("exit # --- the topology\n")[2])


def refused(capfd: pytest.CaptureFixture[str], status: int, *argv: str) -> str:
    capfd.readouterr()
    assert called("submit", *argv) == status
    said = capfd.readouterr()
    assert said.out == ""
    return said.err


def test_a_job_asks_for_what_the_guests_need(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (job,) = told(capfd, "hw.yaml", "--dry-run", "--accel", "kvm")
    assert options(job) == [
        *("sbatch", "--parsable", "--job-name=vmlab-hw", "--nodes=1", "--ntasks-per-node=1"),
        *("--cpus-per-task=12", "--mem=7681M", "--gres=hca:1,hca_vf:6,nic:1", "--constraint=kvm&br10g"),
        *("--signal=B:USR1@300", "--open-mode=append"),
    ]
    assert job["command"][-5:] == [str(place / "state"), sys.executable, "run", "--accel", "kvm"]
    assert job["job"] is None
    assert f"image: {place}/demo.qcow2" in topology(job)
    said = re.findall(r"attach: (\w+)", topology(job))
    assert said == ["vf", "passthrough", "passthrough", "bridge", "VMLAB_ATTACH_"]  # `soft` is what the job is given


def test_bridges_of_hosts_are_no_job_s(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def asked(bridges: str) -> list[str]:
        more = f"fabrics: {{xge: {{kind: ethernet, attach: bridge, bridge: {bridges}}}}}\nnodes:"
        (place / "bridged.yaml").write_text(WIDE.replace("nodes:", more))
        return ["bridged.yaml", "--dry-run"]

    (job,) = told(capfd, *asked("{far: br10g, near: br10g, last: br10g}"))
    assert "--constraint=br10g" in options(job)
    capfd.readouterr()
    assert called("submit", *asked("{far: br10g, near: br0, last: br0}")) == 4
    assert "xge has bridges of hosts, and a job is on those that Slurm chooses" in capfd.readouterr().err


def test_what_the_user_says_of_the_job_counts_more(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    del place
    words = ("--partition", "lab", "--time", "1:00:00", "--account", "hpc", "--", "--gres=hca:4", "--qos=low")
    (job,) = told(capfd, "small.yaml", "--dry-run", *words)
    assert options(job)[-5:] == ["--partition=lab", "--time=1:00:00", "--account=hpc", "--gres=hca:4", "--qos=low"]
    assert job["command"][-1] == "up"


def test_hosts_are_those_of_the_allocation(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (job,) = told(capfd, "wide.yaml", "--dry-run")
    # The most that a host may get: the 3 GiB of one, a share of the others and the largest of them.
    assert {"--nodes=3", "--mem=4096M", "--cpus-per-task=6"} <= set(options(job))
    marks = {"VMLAB_JOB_": "12345678", "VMLAB_NODE_2_": "c07", "VMLAB_NODE_3_": "c08"}
    marks |= {f"VMLAB_ADDRESS_{number}_": f"192.0.2.{number}" for number in (1, 2, 3)}
    text = topology(job)
    for mark, meaning in marks.items():
        assert mark in text
        text = text.replace(mark, meaning)
    there, here = loads(text, workloads=options_by_name()), load(place / "wide.yaml", workloads=options_by_name())
    assert there.name == "j12345678-a-bed-whose-name-is-r"
    assert {name: (host.uri, str(host.address), str(host.ssh or "")) for name, host in there.hosts.items()} == {
        "far": ("qemu+ssh://admin@c07:2222/system?keyfile=/k", "192.0.2.2", ""),
        "near": (None, "192.0.2.1", ""),
        "last": ("qemu+tls://c08/system?pkipath=/k", "192.0.2.3", "ssh://root@c08:2222"),
    }
    assert replace(there, name=here.name, file=here.file, hosts=here.hosts) == here


@pytest.mark.parametrize("file", sorted(path.name for path in (TESTS.parent / "topologies").glob("*.yaml")))
def test_each_shipped_bed_can_be_a_job(file: str, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    del place
    (job,) = told(capfd, file, "--dry-run")
    text = re.sub("VMLAB_ADDRESS_([0-9]+)_", r"192.0.2.\1", topology(job).replace("VMLAB_JOB_", "7"))
    text = text.replace("VMLAB_ATTACH_", "auto")
    there = loads(text.replace("VMLAB_NODE_", "c"), workloads=options_by_name())
    here = load(TESTS.parent / "topologies" / file, workloads=options_by_name())
    assert [shape.labels for shape in there.shapes] == [shape.labels for shape in here.shapes]
    assert there.nodes == here.nodes
    assert job["command"][-1] == ("sweep" if here.shapes else "run" if here.workloads else "up")


def test_a_job_is_handed_over_whole(slurm: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert called("submit", "small.yaml", "--set", "nodes.client1.memory=1GiB") == 0
    assert capfd.readouterr().out == "101  small\n"
    assert "--mem=1024M" in (slurm / "101.argv").read_text().split()
    script = (slurm / "101.script").read_text()
    assert "name: jVMLAB_JOB_-small" in script
    assert "memory: 1GiB" in script
    assert sorted(path.name for path in slurm.parent.iterdir() if path.suffix == ".sh") == []


def test_what_is_wrong_is_one_line_and_nothing_is_handed_over(
    slurm: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (slurm.parent / "bad.yaml").write_text("name: bad\nnodes: {n: {role: cleint}}\n")
    assert "bad.yaml:2:" in refused(capfd, 3, "bad.yaml")
    (slurm.parent / "routed.yaml").write_text(
        "name: r\nhosts: {a: {routed: 10.8.1.0/24}}\nnodes: {n: {role: client}}\n"
    )
    assert "ranges are `routed` to machines" in refused(capfd, 4, "routed.yaml")
    assert "no option of sbatch" in refused(capfd, 2, "small.yaml", "hw.yaml")
    assert "--name and --set are for topologies" in refused(capfd, 2, "night.yaml", "--name", "x")
    assert "there is no topology file" in refused(capfd, 2, "nothing")
    assert not list(slurm.glob("*.argv"))
    (slurm / "refuse").write_text("0")
    said = refused(capfd, 4, "small.yaml")
    assert "Slurm does not take small: sbatch: error: Batch job submission failed: Invalid account" in said
    monkeypatch.setenv("PATH", "/nowhere")
    assert refused(capfd, 4, "small.yaml") == "vmlab: `sbatch` is not installed\nhint: apt-get install slurm-client\n"


def test_a_night_is_a_job_for_each_entry_and_one_behind_them(slurm: Path, capfd: pytest.CaptureFixture[str]) -> None:
    jobs = told(capfd, "night.yaml", "--partition", "lab")
    assert [(job["job"], job["name"]) for job in jobs] == [
        ("101", "n-small-1"),
        ("102", "n-small-2"),
        ("103", "n-bad"),
        ("104", "n"),
    ]
    night = str(slurm.parent / "night.yaml")
    assert jobs[1]["command"][-3:] == ["night", night, "small-2"]
    assert "--cpus-per-task=2" in options(jobs[1])
    assert jobs[3]["command"][-3:] == ["join", night, "101,102,103"]
    assert options(jobs[3])[-2:] == ["--partition=lab", "--dependency=afterany:101:102:103"]
    assert not any(topology(job) for job in jobs)


def test_of_a_night_that_is_cut_off_it_is_said_what_is_queued(slurm: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (slurm / "refuse").write_text("2")
    said = refused(capfd, 4, "night.yaml")
    assert "of this night these are queued: 101 102\nhint: scancel 101 102" in said


def test_a_part_of_a_night_is_on_the_host_that_slurm_chooses(slurm: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (slurm.parent / "night.yaml").write_text(NIGHT.replace("small.yaml, name", "wide.yaml, name"))
    assert "bad names its hosts" in refused(capfd, 4, "night.yaml")
    assert not list(slurm.glob("*.argv"))


def test_the_parts_of_a_night_become_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT_BEDS", str(place / "beds"))
    (place / "beds").mkdir()
    known = options_by_name()
    whole = loads_night(NIGHT, place / "night.yaml", workloads=known, find=Path)
    for job, entry in (("12", "small-1"), ("14", "bad")):
        part = loads_night(NIGHT, place / "night.yaml", workloads=known, find=Path, name=f"j{job}")
        state = place / "state" / "farm" / job
        part = replace(part, entries=tuple(one for one in part.entries if one.name == entry))
        night_of(
            part,
            Places(state / "nights", state / "runs"),
            room_kib={"": None},
            expectations=(),
            accel="",
            resume=False,
            say=lambda _: None,
            program=STAND_IN,
        )
    places = Places(place / "state" / "nights", place / "state" / "runs")
    parts = {job: place / "state" / "farm" / job for job in ("12", "13", "14")}
    record, folder = joined(whole, places, parts, ())
    assert record.name == "n"
    assert [(entry.name, entry.bed) for entry in record.entries] == [
        ("small-1", "j12-small-1"),
        ("small-2", "n-small-2"),
        ("bad", "j14-bad"),
    ]
    assert [(test.test, test.status, test.lab) for entry in record.entries for test in entry.tests] == [
        ("good", "pass", False),
        ("good", "not run", True),
        ("bad", "fail", False),
    ]
    assert (record.product, record.lab, record.status, record.incomplete) == (1, 1, 8, "")
    assert dict(record.entries[0].conditions)["nodes.client1.cpus"] == "1"
    assert (folder / "entries" / "bad" / "topology.yaml").exists()
    assert (folder / record.entries[2].steps[0].evidence).is_dir()
    assert not any(path.exists() for path in parts.values())
    with pytest.raises(UsageError, match="no job of 12, 13, 14 has left a part of n"):
        joined(whole, places, parts, ())


def test_entries_and_names_of_a_night_are_checked(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    del place
    for argv, words in (
        (("--entry", "bda"), "has no entry 'bda' (did you mean `bad`?)"),
        (("--as", "No"), "is no night's name"),
        (("--join", "12;13"), "is no list of jobs"),
        (("--join", "12"), "no job of 12 has left a part of n"),
    ):
        assert called("nightly", "night.yaml", *argv) == 2
        assert words in capfd.readouterr().err
    assert called("nightly", "night.yaml", "--entry", "small-2", "--as", "j7", "--dry-run", "-o", "json") == 0
    (entry,) = json.loads(capfd.readouterr().out)
    assert (entry["entry"], entry["bed"]) == ("small-2", "j7-small-2")


def test_a_night_that_is_being_joined_is_busy(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "state" / "farm" / "12" / "nights").mkdir(parents=True)
    with held("night.n", what="the night n"):
        assert called("nightly", "night.yaml", "--join", "12") == 9
    assert "the night n is in use" in capfd.readouterr().err
