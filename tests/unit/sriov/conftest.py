"""Made trees of sysfs, and a double of ssh that runs the command here."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest


def make_tree(root: Path, files: Mapping[str, str]) -> Path:
    """Files by path; a text that begins with `-> ` makes a symbolic link."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text.removeprefix("-> "))
        else:
            path.write_text(text)
    return root


def put_double(folder: Path, name: str, script: str) -> None:
    """A program found by PATH that stands in for the real one."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that PATH names first."""
    folder = tmp_path / "doubles"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder
