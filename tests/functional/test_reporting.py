"""`vmlab results report` and `vmlab export prometheus`: from runs in a folder to files. The runs are simulated."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import simulated_runs as simulated
from typer.testing import CliRunner, Result

from vmlab.cli.app import app
from vmlab.records.run import RunRecord
from vmlab.store.runs import open_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state/runs"


def keep(runs: Path, record: RunRecord, load: str = "") -> RunRecord:
    at = datetime.fromisoformat(record.started)
    with open_run(runs, at=at, bed=record.bed, workload=record.workload) as run:
        kept = replace(record, id=run.id, load=run.keep_file("load.csv", load.encode()) if load else "")
        run.finish(kept)
    return kept


def called(*words: str, status: int = 0) -> Result:
    done = CliRunner().invoke(app, ["results", "report", *words])
    assert done.exit_code == status, done.output
    return done


def test_the_suffix_says_the_form(runs: Path, tmp_path: Path) -> None:
    record = keep(runs, simulated.rdma_table(), simulated.load(["vm01"]))
    called("-o", "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "99 %" in text
    assert f"During the run {record.id}" in text
    called("-o", "r.md")
    assert (tmp_path / "r.md").read_text().startswith("# simulation on simulated\n")
    called("-o", "r.csv")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 9
    called("-o", "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["runs"][0]["id"] == record.id
    called("-o", "r.xml")
    assert ET.parse(tmp_path / "r.xml").getroot().tag == "testsuites"  # noqa: S314
    called("-o", "plot.svg", "--plot", "bandwidth")
    assert "bandwidth [MiB/s]" in (tmp_path / "plot.svg").read_text()
    called("-o", "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert called().stdout.startswith("# simulation on simulated\n")
    called("-o", "page", "--format", "html")
    assert (tmp_path / "page").read_text().startswith("<!DOCTYPE html>")


def test_several_runs_and_what_others_published(runs: Path, tmp_path: Path) -> None:
    first, second = (keep(runs, record) for record in simulated.pinned_and_floating())
    (tmp_path / "them.yaml").write_text(
        "series: [{source: Them, name: a, metric: bandwidth, unit: MiB/s, x: size, points: {1024: 9}}]"
    )
    text = called(first.id, second.id, "--published", "them.yaml").stdout
    assert "Pinned beside floating" in text
    assert "Published by others" in text


def test_of_several_plots_each_is_a_file(runs: Path, tmp_path: Path) -> None:
    keep(runs, simulated.transfer_nodes(4, 3))
    said = called("-o", "p.svg", "--plot", "bandwidth", "--limit", "1GB/s").stderr
    assert [line.partition(":")[0] for line in said.splitlines()] == ["p.svg", "p-2.svg", "p-3.svg"]
    assert "limit: 1GB/s, as given" in (tmp_path / "p.svg").read_text()
    assert "over nodes and size" in (tmp_path / "p-3.svg").read_text()


def test_two_metrics_are_one_plot_where_they_belong_together(runs: Path, tmp_path: Path) -> None:
    keep(runs, simulated.burst_buffer(1, 1))
    called("-o", "both.svg", "--plot", "bandwidth,iops")
    text = (tmp_path / "both.svg").read_text()
    assert "bandwidth [MiB/s]" in text
    assert "iops [IOPS]" in text
    called("-o", "both.png", "--plot", "iops,bandwidth")
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert "nothing was measured of `rate`" in called("-o", "b.svg", "--plot", "bandwidth,rate", status=2).output
    apart = keep(runs, simulated.converged())
    words = (apart.id, "-o", "b.svg", "--plot", "bandwidth,iops")
    assert "make no chart together" in called(*words, status=2).output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["-o", "report.pdf"], "no suffix of a report"),
        (["-o", "r.html", "--plot", "bandwidth"], "--plot is for .svg and .png"),
        (["-o", "r.svg", "--plot", "bandwith"], "nothing was measured of `bandwith`"),
        (["--format", "svg"], "a plot needs a file"),
        (["--limit", "fast"], "no rate"),
        (["--published", "absent.yaml"], "absent.yaml cannot be read: No such file or directory"),
        (["no-such-run"], "there is no run 'no-such-run'"),
    ],
)
def test_what_does_not_fit_together_is_usage(runs: Path, words: list[str], complaint: str) -> None:
    keep(runs, simulated.rdma_table())
    assert complaint in called(*words, status=2).output


def test_without_runs_it_says_so(runs: Path) -> None:
    del runs
    assert "there are no runs yet" in called(status=2).output


def test_a_record_leads_to_no_file_outside_of_its_folder(runs: Path, tmp_path: Path) -> None:
    record = keep(runs, simulated.one_point())
    (tmp_path / "secret.csv").write_text(simulated.load(["stolen"]))
    path = runs / record.id / "run.json"
    path.write_text(path.read_text().replace('"load": ""', '"load": "../../../secret.csv"'))
    called("-o", "report.html")
    assert "stolen" not in (tmp_path / "report.html").read_text()


def test_prometheus_gets_the_last_run_of_each_workload_of_a_bed(runs: Path, tmp_path: Path) -> None:
    for number, workload in enumerate(("rdma", "rdma", "ior"), 1):
        keep(runs, replace(simulated.rdma_table(), workload=workload, started=f"2026-08-0{number}T02:00:00+00:00"))
    keep(runs, replace(simulated.rdma_table(), bed="other"))
    (tmp_path / "bed.yaml").write_text("name: simulated\nnodes: {a: {role: client}}\n")
    for bed in ("simulated", "bed.yaml"):
        done = CliRunner().invoke(app, ["export", "prometheus", bed])
        assert done.exit_code == 0, done.output
        assert re.findall(r'vmlab_run_info\{.*run="(\d+)T.*"', done.stdout) == ["20260802", "20260803"]
    done = CliRunner().invoke(app, ["export", "prometheus", "absent"])
    assert (done.exit_code, "of absent there are no runs" in done.output) == (2, True)


@pytest.mark.parametrize("words", [("report", "-o"), ("export", "--file"), ("export", "--format", "parquet", "--file")])
def test_a_file_that_cannot_be_written_is_told(runs: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    keep(runs, simulated.rdma_table())
    (tmp_path / "taken").write_text("no folder")
    done = CliRunner().invoke(app, ["results", *words, "taken/report.md"])
    assert done.exit_code == 4
    assert "taken/report.md cannot be written: " in done.output
