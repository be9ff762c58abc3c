"""An image is built of another one that lies somewhere."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_users import MALLORY, as_user, needs_root

from vmlab.errors import HostError
from vmlab.lab.images.derive import _settled


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp())
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


def test_path_of_an_own_image_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "disk.qcow2").touch(mode=0o644)
    monkeypatch.chdir(folder)
    assert _settled("./disk.qcow2") == str(folder / "disk.qcow2")


@needs_root
def test_image_that_another_user_could_change_meanwhile_is_to_be_imported(folder: Path) -> None:
    as_user(MALLORY, (folder / "a disk").touch)
    with pytest.raises(HostError, match=r"could change while it is read: .* belongs to") as refused:
        _settled(f"{folder}/a disk")
    assert refused.value.hint == f"vmlab image import NAME '{folder}/a disk', then --from NAME"
