"""`vmlab results list`, `export`, `tag`, `note`, `rm`, and what a SIGKILL leaves. The runs are simulated."""

import csv
import io
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import simulated_runs as simulated
from typer.testing import CliRunner, Result

from vmlab.cli.app import app
from vmlab.records.run import RunRecord
from vmlab.records.selection import Selection
from vmlab.store.index import opened
from vmlab.store.runs import complete, open_run, read


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state/runs"


def keep(runs: Path, record: RunRecord) -> RunRecord:
    at = datetime.fromisoformat(record.started)
    with open_run(runs, at=at, bed=record.bed, workload=record.workload) as run:
        kept = replace(record, id=run.id)
        run.finish(kept)
    return kept


def called(*words: str, status: int = 0, answer: str = "") -> Result:
    done = CliRunner().invoke(app, ["results", *words], input=answer)
    assert done.exit_code == status, done.output
    return done


def listed(*words: str) -> list[str]:
    return [run["id"] for run in json.loads(called("list", "-o", "json", *words).stdout)]


@pytest.fixture
def three(runs: Path) -> list[str]:
    return [keep(runs, replace(simulated.rdma_table(), bed="ha")).id] + [
        keep(runs, record).id for record in simulated.pinned_and_floating()
    ]


def test_runs_are_selected_and_listed(three: list[str]) -> None:
    assert listed() == sorted(three)
    assert listed("--bed", "ha") == three[:1]
    assert listed("--bed", "ha,other", "--where", "size=64KiB", "--where", "from=vm01") == three[:1]
    assert listed("--since", "2026-08-02") == [three[2]]
    assert three[0] in called("list").stdout
    assert "no such runs" in called("list", "--bed", "absent").stderr


def test_a_list_brings_nothing_of_what_measures(three: list[str]) -> None:
    """Nine tenths of a second of imports once: more than it takes to find 10,000 runs."""
    code = (
        "import sys\nfrom vmlab.cli.app import app\ntry:\n    app()\nfinally:\n"
        "    print([name for name in sys.modules if name in {'libvirt', 'vmlab.lab'}], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "results", "list"], capture_output=True, text=True, check=True)
    assert three[0] in done.stdout
    assert done.stderr.splitlines()[-1] == "[]"


def test_tags_and_notes_are_seen_and_found(three: list[str]) -> None:
    assert "baseline" in called("tag", three[0], "baseline", "2.15.5").stderr
    called("note", three[0], "before the switch")
    assert listed("--tag", "baseline") == three[:1]
    assert "2.15.5,baseline (before the switch)" in called("list").stdout
    called("tag", three[0], "baseline", "--remove")
    assert listed("--tag", "baseline") == []
    assert "there is no run" in called("tag", "absent", "x", status=2).output


def test_figures_for_other_programs(three: list[str], tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(called("export", three[0]).stdout)))
    assert len(rows) == 24
    assert {row["run"] for row in rows} == {three[0]}
    lines = called("export", "--bed", "ha", "--format", "jsonl").stdout.splitlines()
    assert [float(row["value"]) for row in rows] == [json.loads(line)["value"] for line in lines]
    called("export", "--format", "parquet", "--file", "all.parquet")
    assert (tmp_path / "all.parquet").read_bytes().startswith(b"PAR1")
    assert "parquet is no text" in called("export", "--format", "parquet", status=2).output


def test_runs_are_thrown_away_when_that_is_meant(runs: Path, three: list[str]) -> None:
    assert "which runs?" in called("rm", "-y", status=2).output
    called("rm", "--bed", "absent", "-y")
    assert sorted(listed()) == sorted(three)
    called("rm", three[1], "-y")
    called("rm", "--bed", "ha", "-y")
    assert listed() == [three[2]]
    assert complete(runs) == (three[2],)


def test_a_report_of_runs_that_are_selected(three: list[str]) -> None:
    text = called("report", "--bed", "simulated").stdout
    assert "Pinned beside floating" in text
    assert three[0] not in text
    assert "no such runs" in called("report", "--bed", "absent", status=2).output


WRITER = """
import os, sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
import simulated_runs as simulated
from vmlab.store import about
from vmlab.store.index import opened
from vmlab.store.runs import open_run
runs, record = Path(sys.argv[1]), simulated.rdma_table()
while True:
    with open_run(runs, at=datetime.now(UTC), bed="ha", workload="rdma") as run:
        run.keep("a", "output", "")
        final = run.finish(replace(record, id=run.id))
    os.write(1, f"{final.name}\\n".encode())
    about.tag(final, ["kept"], remove=False)
    with opened(runs):
        pass
"""


def test_sigkill_at_any_moment_loses_no_complete_run(tmp_path: Path) -> None:
    told: list[str] = []
    for after in (0.0, 0.013, 0.031, 0.057):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/bin:/bin"},
        ) as writer:
            assert writer.stdout is not None
            told.append(writer.stdout.readline().strip())
            time.sleep(after)
            writer.send_signal(signal.SIGKILL)
            told += [line.strip() for line in writer.stdout if line.endswith("\n")]
    assert len(told) >= 4
    with opened(tmp_path) as index:
        found = [entry.id for entry in index.select(Selection())]
        assert index.damaged() == []
    assert set(told) <= set(found)
    assert found == list(complete(tmp_path))
    assert all(len(read(tmp_path, run).samples) == 24 for run in found)
