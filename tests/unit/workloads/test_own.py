"""A lab's own workloads: the example of docs/workloads.md is written to a folder, found there, and really run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from local_guest import LocalGuest, nodes

from vmlab.errors import WorkloadError
from vmlab.lab.measuring.workload import run_workload, verdict
from vmlab.registry import Registry
from vmlab.workloads import FOLDER, Node, Output, Workload, workloads
from vmlab.workloads._options import points

PAGE = (Path(__file__).parents[3] / "docs" / "workloads.md").read_text()
VMLAB = Path(sys.executable).with_name("vmlab")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = re.search(r"`copy.py`.\n\n```python\n(.*?)```\n", PAGE, re.DOTALL)
    assert found is not None
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "copy.py").write_text(found[1])
    return tmp_path / "own"


def asked(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VMLAB, *words], env=os.environ | {FOLDER: str(folder)}, capture_output=True, text=True, check=False
    )


def test_it_is_listed_with_its_options_and_its_own_unit(folder: Path) -> None:
    said = asked(folder, "workloads", "copy")
    assert said.returncode == 0, said.stderr
    assert "copy: how fast nodes copy memory" in said.stdout
    assert "GB/s" in said.stdout
    assert re.search(r"^block +size .*1MiB", said.stdout, re.MULTILINE)


def test_help_tells_the_variable(folder: Path) -> None:
    assert f"\n  {FOLDER}\n      A folder of workloads of your own" in asked(folder, "help", "environment").stdout


def test_what_cannot_be_loaded_is_named_and_the_others_are_there(folder: Path) -> None:
    (folder / "broken.py").write_text("import nosuchmodule\n")
    (folder / "_helper.py").write_text("raise RuntimeError\n")
    said = asked(folder, "workloads")
    assert (said.returncode, "copy: how fast" in said.stdout, "rdma: " in said.stdout) == (0, True, True)
    why = "cannot be used: ModuleNotFoundError: No module named 'nosuchmodule'"
    assert said.stderr == f"vmlab: warning: the workload in {folder}/broken.py {why}\n"
    assert "names no folder" in asked(folder / "none", "workloads").stderr
    said = asked(folder, "run", "nobody", "broken")
    assert said.returncode == 2
    assert "broken.py cannot be used" in said.stderr


@pytest.fixture
def copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Workload:  # type: ignore[type-arg]
    """The example, loaded as vmlab loads it, in a registry of the test's own."""
    monkeypatch.setenv(FOLDER, str(folder))
    import vmlab.workloads  # noqa: PLC0415

    registry: Registry[Workload] = Registry("vmlab.workloads", "workload", variable=FOLDER)  # type: ignore[type-arg]
    monkeypatch.setattr(vmlab.workloads, "register", registry.register)
    return registry.all()["copy"]


def test_the_example_runs_as_a_sweep(copy: Workload, tmp_path: Path) -> None:  # type: ignore[type-arg]
    guest = LocalGuest(f"VMLAB_TEST_{os.getpid()}")
    record = run_workload(
        {"n1": guest, "n2": guest},
        nodes("n1", "n2", role="client"),
        copy,
        points(copy, {"block": ["4k", "1m"], "blocks": 100}),
        runs_dir=tmp_path / "runs",
        accel="kvm",
        bed="bed",
        deeds=None,
        progress=lambda _: None,
    )
    assert verdict(record, tmp_path) is None
    assert [dict(sample.labels) for sample in record.samples] == [
        {"node": node, "block": block} for block in ("4096", "1048576") for node in ("n1", "n2")
    ]
    assert all(0.001 < sample.value < 1000 for sample in record.samples)
    assert "copy" not in workloads()


def test_the_example_counts_what_it_asked_for(copy: Workload) -> None:  # type: ignore[type-arg]
    [point] = points(copy, {})
    ((measurement,),) = copy.measurements(point.options, [Node("n1", ("client",))])
    short = Output(0, "", "1000000 bytes (1.0 MB, 977 KiB) copied, 0.1 s, 10 MB/s\n", 1.0)
    with pytest.raises(WorkloadError, match="did not say that it copied everything"):
        copy.parse(point.options, measurement, {"dd.n1": short})
