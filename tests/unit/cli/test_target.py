"""From a bed's name to its file."""

import os
from pathlib import Path

import pytest

from vmlab.cli.target import file_of


def test_what_is_no_file_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").mkdir()
    (tmp_path / "c.yaml").write_text("name: mine\n")
    assert file_of("mine") == "./c.yaml"
