"""A disk to make images of."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "from" / "disk.qcow2"
    path.parent.mkdir()
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"), check=True)
    return path
