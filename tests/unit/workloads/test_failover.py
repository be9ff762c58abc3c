"""The scripts, run for real on this machine with something that happens to the files; and recorded output.

A case is `$ COMMAND` with what it printed, for the deed and for each node that read its files again.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_guest import LocalGuest, nodes

from vmlab.errors import UsageError, WorkloadError
from vmlab.lab.measuring.workload import run_workload
from vmlab.records.run import RunRecord
from vmlab.runtime import process
from vmlab.workloads import Deed, Measurement, Node, Output
from vmlab.workloads._options import Point
from vmlab.workloads.failover import Failover, Options

CASES = Path(__file__).parents[2] / "cases" / "failover"
FAILOVER = Failover()
MOUNTED = {"mounts": "8388608 /mnt/lustre\n"}
BED = [Node("oss1", ("oss",)), Node("client1", ("client",), (), MOUNTED), Node("client2", ("client",), (), MOUNTED)]


def phases(bed: Sequence[Node] = BED, **options: object) -> dict[str, Measurement]:
    rounds = FAILOVER.measurements(Options.model_validate(options), bed)
    return {measurement.name: measurement for (measurement,) in rounds}


def deeds(measurement: Measurement) -> list[str]:
    return [" ".join(task.argv) for task in measurement.tasks if isinstance(task, Deed)]


def test_all_clients_write_in_both_directions() -> None:
    found = phases()
    assert deeds(found["failover"]) == ["vmlab fs failover BED --how power"]
    assert deeds(found["failback"]) == ["vmlab up BED", "vmlab fs failback BED"]
    for measurement in found.values():
        assert [service.node for service in measurement.services] == ["client1", "client2"]
        assert [task.node for task in measurement.tasks if task.name.startswith("verify.")] == ["client1", "client2"]
    assert FAILOVER.takes_part(Options(), BED) == ("client1", "client2")


def test_chosen_failure() -> None:
    found = phases(target="OST0001", how="umount", failback=False, nodes="client2")
    assert list(found) == ["failover"]
    assert deeds(found["failover"]) == ["vmlab fs failover BED OST0001 --how umount"]
    assert [service.node for service in found["failover"].services] == ["client2"]


def test_what_cannot_be_written_to() -> None:
    with pytest.raises(WorkloadError, match="no node has the role client or fta"):
        phases(BED[:1])
    with pytest.raises(UsageError, match="no node 'client9'"):
        phases(nodes="client9")
    with pytest.raises(WorkloadError, match="no Lustre file system is mounted"):
        phases([BED[1], Node("client2", ("client",))])


# What the workload's own scripts do, and find. --------------------------------------------------------------------


class Here(LocalGuest):
    """A guest's commands on this machine, with its notes in a folder of the test's."""

    def __init__(self, mark: str, notes: Path) -> None:
        super().__init__(mark)
        self.notes = notes
        self.drops = True

    def run(self, argv: Sequence[str], **how: Any) -> process.Result:
        dropping = "true" if self.drops else "false"
        words = [
            word.replace("/var/tmp/", f"{self.notes}/").replace("echo 3 >/proc/sys/vm/drop_caches", dropping)
            for word in argv
        ]
        return super().run(words, **how)


Lab = Callable[..., RunRecord]
MGS = {
    "how": "power",
    "down_s": 1.5,
    "total_s": 4.0,
    "moved": [
        {
            "target": "lustre-MGS",
            "source": "n9",
            "destination": "n8",
            "mount_s": 2.0,
            "recovery_s": 2.5,
            "recovery": "",
            "clients": 0,
            "expected": 0,
            "evicted": 0,
        },
    ],
}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    def run(happens: Callable[[Path], None], *, drops: bool = True) -> RunRecord:
        files = tmp_path / "files"
        files.mkdir()

        def deed(asked: Deed) -> process.Result:
            happens(files / "vmlab-failover/n1")
            return process.Result(asked.argv, 0, json.dumps(MGS), "")

        here = Here(f"VMLAB_TEST_{tmp_path.name}", tmp_path)
        here.drops = drops
        return run_workload(
            {"n1": here},
            nodes("n1", role="client"),
            FAILOVER,
            [Point({}, Options(directory=str(files), before_s=1, after_s=1, failback=False))],
            runs_dir=tmp_path / "runs",
            accel="tcg",
            bed="bed",
            deeds=deed,
            progress=lambda _: None,
        )

    return run


def test_all_is_well(lab: Lab) -> None:
    record = lab(lambda _: None)
    assert (record.problems, record.faults, record.notes) == ((), (), ())
    figures = {sample.metric.name: sample.value for sample in record.samples}
    assert figures["writes"] > 5
    assert 0 < figures["outage"] < 2
    assert (figures["down"], figures["total"], figures["mount"], figures["evicted"]) == (1.5, 4.0, 2.0, 0)


def test_what_was_read_again_from_a_cache_is_marked(lab: Lab) -> None:
    (note,) = lab(lambda _: None, drops=False).notes
    assert note.startswith("failover: files were read again from the client's own cache, for ")
    assert note.endswith("drop_caches cannot be written")


def test_a_changed_and_a_lost_file_are_found(lab: Lab) -> None:
    def harm(files: Path) -> None:
        (files / "1").write_bytes(b"something else")
        (files / "2").unlink()

    record = lab(harm)
    assert record.faults == ()
    (problem,) = record.problems
    assert re.fullmatch(r"failover: n1: 2 of \d+ acknowledged files are lost or changed: 1, 2", problem)


def test_a_write_that_fails_is_a_problem(lab: Lab) -> None:
    def full(files: Path) -> None:
        files.rename(files.with_name("gone"))

    (problem,) = lab(full).problems
    assert problem.startswith("failover: a write on n1 failed: dd: failed to open")


# Recorded output. -------------------------------------------------------------------------------------------------


def recorded(path: Path) -> tuple[Measurement, dict[str, Output]]:
    sections = re.split(r"^\$ ", path.read_text(), flags=re.MULTILINE)[1:]
    outputs = {}
    for section in sections:
        command, _, text = section.partition("\n")
        text, _, status = text.rpartition("# rc=")
        outputs[command.strip()] = Output(int(status), text, "", 1.0)
    return phases()["failback" if "failback" in outputs else "failover"], outputs


@pytest.mark.parametrize("path", sorted((CASES / "good").glob("*.txt")), ids=lambda path: path.stem)
def test_good_output(path: Path, golden: Callable[[Path, str], None]) -> None:
    measurement, outputs = recorded(path)
    samples = FAILOVER.parse(Options(), measurement, outputs)
    said = [f"{s.metric.name} {s.value:g} {' '.join(s.labels.values())}" for s in samples]
    golden(path.with_suffix(".json"), json.dumps(said, indent=1) + "\n")
    assert FAILOVER.sanity(Options(), measurement, outputs, samples) == ()


@pytest.mark.parametrize("path", sorted((CASES / "truncated").glob("*.txt")), ids=lambda path: path.stem)
def test_truncated_output(path: Path) -> None:
    measurement, outputs = recorded(path)
    with pytest.raises(WorkloadError):
        FAILOVER.parse(Options(), measurement, outputs)
    assert FAILOVER.sanity(Options(), measurement, outputs, ()) == ()


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("evicted-lustre-2.17.57", "lustre-OST0000 evicted 1 of 3 clients"),
        ("partner-did-not-mount-lustre-2.17.57", "failover failed: "),
    ],
)
def test_failed_output(case: str, said: str) -> None:
    measurement, outputs = recorded(CASES / "failed" / f"{case}.txt")
    problems = FAILOVER.sanity(Options(), measurement, outputs, ())
    assert any(said in problem for problem in problems), problems


@given(st.text(), st.text())
def test_nonsense_is_refused(deed: str, read: str) -> None:
    outputs = {"failover": Output(0, deed, "", 1.0), "verify.client1": Output(0, read, "", 1.0)}
    with pytest.raises(WorkloadError):
        FAILOVER.parse(Options(), phases()["failover"], outputs)
    FAILOVER.sanity(Options(), phases()["failover"], outputs, ())


def test_files_elsewhere_prove_nothing() -> None:
    measurement, outputs = recorded(next((CASES / "good").glob("panic-*.txt")))
    for name, output in outputs.items():
        if name.startswith("verify."):
            text = re.sub("^OST 2$", "OST 1", output.stdout, flags=re.MULTILINE)
            outputs[name] = Output(0, text, "", 1.0)
    with pytest.raises(WorkloadError, match="nothing was written to lustre-OST0002: this failover"):
        FAILOVER.parse(Options(), measurement, outputs)
