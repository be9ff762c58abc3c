"""The store's files: what an image by path is, and what nobody needs."""

import subprocess
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.store.images import Files, Manifest, add, at_path, begun, images, unused, work_folder


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "from" / "disk.qcow2"
    path.parent.mkdir()
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"), check=True)
    return path


def test_image_by_path_boots_from_itself_as_root(disk: Path) -> None:
    found = at_path(disk)
    assert (found.user, found.kernel, found.size) == ("root", "", 1 << 20)
    assert found.files.model_dump(exclude_none=True) == {"disk": str(disk)}


def test_image_by_path_is_what_the_manifest_beside_it_says(disk: Path) -> None:
    manifest = Manifest(name="x", user="debian", kernel="6.1", files=Files(disk="other", kernel="k", initrd="i"))
    for name in ("k", "i"):
        (disk.parent / name).touch()
    disk.with_suffix(".json").write_text(manifest.model_dump_json(by_alias=True))
    found = at_path(disk)
    assert (found.user, found.kernel, found.size) == ("debian", "6.1", 1 << 20)
    assert found.files.model_dump() == {"disk": str(disk), "kernel": "k", "initrd": "i"}


def test_image_by_path_with_a_broken_manifest_beside_it_names_that(disk: Path) -> None:
    disk.with_suffix(".json").write_text("{}")
    with pytest.raises(HostError, match=r"from/disk\.json is broken"):
        at_path(disk)


def test_folder_of_a_build_is_neither_image_nor_unused(disk: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    add(store, Manifest(name="demo", files=Files(disk=disk.name)), disk.parent)
    for name in ("lustre-2.17", "odd.json"):
        work_folder(store, name).mkdir()
    (store / ".demo-0.qcow2.partial").touch()
    assert begun(store) == ["lustre-2.17", "odd.json"]
    assert [image.name for image in images(store)] == ["demo"]
    assert unused(store, {}) == [store / ".demo-0.qcow2.partial"]
