"""What a TAB offers."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmlab.cli import complete


def test_files_here_come_before_those_that_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    assert complete.topologies("mi") == ["mine.yaml", "minimal.yaml"]
    (tmp_path / "beds").mkdir()
    (tmp_path / "beds" / "other.yaml").touch()
    assert complete.topologies("beds/") == ["beds/other.yaml"]


def domains(monkeypatch: pytest.MonkeyPatch, *names: str) -> Any:
    monkeypatch.setattr(complete, "_domains", lambda: list(names))
    return SimpleNamespace(params={"bed": "ha"})


def test_beds_are_those_on_the_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    domains(monkeypatch, "ha.oss1", "ha.oss2", "hb.oss1")
    for name in ("ha.yaml", "other.yaml"):
        (tmp_path / name).touch()
    assert complete.beds("h") == ["ha", "hb"]


def test_files_are_offered_for_a_bed_only_where_no_bed_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    domains(monkeypatch, "ha.oss1")
    for name in ("ha.yaml", "other.yaml"):
        (tmp_path / name).touch()
    assert complete.beds("") == ["ha"]
    assert complete.beds("ha.") == ["ha.yaml"]
    assert complete.beds("o") == ["other.yaml"]


def test_nodes_are_the_bed_s_and_the_last_of_a_list_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    context = domains(monkeypatch, "ha.oss1", "ha.oss2", "ha.mds1", "hb.oss9")
    assert complete.nodes(context, "os") == ["oss1", "oss2"]
    assert complete.nodes(context, "mds1,oss") == ["mds1,oss1", "mds1,oss2"]
    assert complete.nodes(context, "@os") == ["@oss"]


def test_snapshots_are_those_of_the_bed_that_have_a_description(monkeypatch: pytest.MonkeyPatch) -> None:
    context = domains(monkeypatch)
    files = ["ha._snap.one.json", "ha._snap.one.oss1.memory", "ha._snap.two.begun", "hb._snap.old.json", "ha.oss1.json"]
    monkeypatch.setattr(complete, "_files", lambda: files)
    assert complete.snapshots(context, "") == ["one"]
    assert complete.snapshots(context, "t") == []


def test_a_host_that_does_not_answer_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", f"qemu+unix:///system?socket={tmp_path}/none")
    assert complete.beds("") == []


def test_a_host_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(complete, "_domains", lambda: time.sleep(60) or [])
    begin = time.monotonic()
    assert complete.beds("") == []
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("line", "offered"),
    [("vmlab va", "validate"), ("vmlab up mini", "minimal.yaml"), ("vmlab run ha rd", "rdma")],
)
def test_through_the_shell_s_protocol(line: str, offered: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        (sys.executable, "-m", "vmlab"),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={
            **os.environ,
            "_VMLAB_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split()) - 1),
        },
    )
    assert offered in ran.stdout.split()
    assert ran.stderr == ""


def test_what_means_something_to_a_shell_is_not_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The shell puts what is offered into the line as it is."""
    monkeypatch.chdir(tmp_path)
    for name in ("$(reboot).yaml", "a b.yaml", "-rf.yaml", "`id`.yaml", "é-1_b.yaml"):
        (tmp_path / name).touch()
    context = domains(monkeypatch, "$(id).oss1", "ha.`id`", "ha.a;b", "ha.ok", "h\x1b[2J.oss1")
    assert complete.beds("") == ["ha"]
    assert complete.beds("é") == ["é-1_b.yaml"]
    assert complete.nodes(context, "") == ["ok"]
