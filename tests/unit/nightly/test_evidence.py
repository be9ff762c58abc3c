"""What a guest is asked, on this machine; and what the index says."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from vmlab.guest.evidence import _ANSWER, _VMCORE, LAST, QUESTIONS
from vmlab.records.evidence import Evidence, Kept, Missing, OfNode, as_data, as_text

EVIDENCE = Evidence(
    bed="ha",
    at="2026-11-28T02:00:00+00:00",
    vmlab="0.1.0",
    nodes=(
        OfNode("oss1", "running", "", (Kept("oss1/dmesg.txt", "kernel messages", 1234),), ()),
        OfNode(
            "oss2",
            "running",
            "it does not answer",
            (Kept("oss2/console.log", "its console", 8 << 20, cut=True),),
            (Missing("memory", "it does not fit"),),
            ("LBUG: ASSERTION( 0 ) failed",),
        ),
        OfNode("client1", "shut off", "it is off", (), (Missing("console", "there is nothing in it"),)),
    ),
    kept=(Kept("status.json", "the nodes", 10),),
)


def answer(what: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ("sh", "-c", _ANSWER, "vmlab", what, "60"), capture_output=True, text=True, check=False, timeout=60
    )


def test_the_system_is_told() -> None:
    told = answer("system")
    assert told.returncode == 0
    assert "Linux version" in told.stdout or "Linux " in told.stdout
    assert "MemTotal:" in told.stdout


def test_packages_are_told_with_their_versions() -> None:
    told = answer("packages")
    assert told.returncode == 0
    assert any(len(line.split()) >= 1 and line.strip() for line in told.stdout.splitlines())


@pytest.mark.parametrize("what", ["lustre", "lustre-debug"])
def test_a_tool_that_is_not_there_is_named(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    told = subprocess.run(
        ("/bin/sh", "-c", _ANSWER.replace(":/usr/sbin:/sbin", ""), "vmlab", what, "0"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 127
    assert told.stderr == "lctl is not installed\n"


def test_each_question_is_understood() -> None:
    for what in QUESTIONS | LAST:
        assert f"\n{what})\n" in _ANSWER
    assert answer("nothing").returncode == 2


def test_the_index_says_first_what_is_wrong() -> None:
    text = as_text(EVIDENCE)
    assert text.index("**oss2** is running: it does not answer") < text.index("## oss1 (running)")
    assert "| `oss2/console.log` | its console, its end | 8,388,608 |" in text
    assert "- missing: memory: it does not fit" in text
    assert "- **oss2** LBUG: ASSERTION( 0 ) failed" in text


def test_the_index_as_data() -> None:
    data = json.loads(json.dumps(as_data(EVIDENCE)))
    assert data["schema"] == 1
    assert data["nodes"][1]["kept"] == [
        {"file": "oss2/console.log", "about": "its console", "size": 8 << 20, "cut": True}
    ]


def test_the_latest_memory_that_was_saved_whole_is_found(tmp_path: Path) -> None:
    def found() -> str:
        return subprocess.check_output(("sh", "-c", _VMCORE, "vmlab", str(tmp_path)), text=True).strip()

    assert found() == ""
    for age_s, name in enumerate(("b/vmcore", "a/dump.20261129", "c/vmcore.partial", "c/vmcore-dmesg.txt")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (1_000_000_000 + age_s, 1_000_000_000 + age_s))
    assert found() == str(tmp_path / "a/dump.20261129")
    os.utime(tmp_path / "b/vmcore")
    assert found() == str(tmp_path / "b/vmcore")
