"""The store's files: what an image by path is, and what nobody needs."""

import subprocess
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.runtime.log import tell_warnings
from vmlab.store.images import (
    Files,
    Manifest,
    add,
    at_path,
    begun,
    find,
    images,
    removable,
    remove,
    unused,
    work_folder,
)
from vmlab.values.identity import image_of


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
    assert found.files.model_dump(exclude_none=True) == {"disk": str(disk), "kernel": "k", "initrd": "i"}


def test_image_by_path_with_a_broken_manifest_beside_it_names_that(disk: Path) -> None:
    disk.with_suffix(".json").write_text("{}")
    with pytest.raises(HostError, match=r"from/disk\.json is broken"):
        at_path(disk)


def test_folder_of_a_build_is_neither_image_nor_unused(disk: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    add(store, Manifest(name="demo", files=Files(disk=disk.name)), disk.parent)
    for name in ("lustre-2.17", "odd.json"):
        work_folder(store, name).mkdir()
    (store / ".build-No Image").mkdir()
    half = store / ".demo-0123456789ab.qcow2.partial"
    half.touch()
    assert begun(store) == ["lustre-2.17", "odd.json"]
    assert [image.name for image in images(store)] == ["demo"]
    assert unused(store, {}) == [half]


FOREIGN = ("Rocky-9.qcow2", "iso", "lost+found", "demo.qcow2", "demo-notes.qcow2", "demo-0123.qcow2", ".hidden")


@pytest.fixture
def store(disk: Path, tmp_path: Path) -> Path:
    """The image demo twice, the second time with other content, and what others put beside."""
    folder = tmp_path / "store"
    add(folder, Manifest(name="demo", files=Files(disk=disk.name)), disk.parent)
    subprocess.run(("qemu-img", "resize", "-q", str(disk), "2M"), check=True)
    add(folder, Manifest(name="demo", files=Files(disk=disk.name)), disk.parent)
    add(folder, Manifest(name="demo-2", files=Files(disk=disk.name)), disk.parent)
    for name in FOREIGN:
        if name in {"iso", "lost+found"}:
            (folder / name).mkdir()
        else:
            (folder / name).write_text("somebody's")
    return folder


def listed(store: Path) -> set[str]:
    return {path.name for path in store.iterdir()}


def current(store: Path, name: str = "demo") -> str:
    return find(store, name).files.disk


def test_what_others_put_into_the_store_is_neither_unused_nor_removed(store: Path) -> None:
    (older,) = unused(store, {})
    assert older.name not in (current(store), *FOREIGN)
    goes = {path.name for path in removable(store, "demo", {})}
    assert goes == {"demo.json", current(store), older.name}
    remove(store, "demo", {})
    assert listed(store) == {*FOREIGN, "demo-2.json", current(store, "demo-2")}
    assert unused(store, {}) == []


def test_an_older_file_that_a_clone_needs_stays(store: Path) -> None:
    (older,) = unused(store, {})
    used = {older.name: ["ha.oss1"]}
    assert unused(store, used) == []
    remove(store, "demo", used)
    assert older.exists()


@pytest.mark.parametrize(("user", "hint"), [("ha.oss1", "vmlab down ha"), ("windows", "virsh dumpxml windows")])
@pytest.mark.parametrize("suffix", [".qcow2", ".vmlinuz"])
def test_an_image_that_is_needed_is_not_removed(store: Path, user: str, hint: str, suffix: str) -> None:
    used = {str(Path(current(store)).with_suffix(suffix)): [user]}
    with pytest.raises(HostError, match=f"the image demo is in use: .* {user}$") as refused:
        remove(store, "demo", used)
    assert refused.value.hint == hint


@pytest.fixture
def warnings() -> list[str]:
    told: list[str] = []
    tell_warnings(told.append)
    return told


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "demo"}', "\0\0"])
def test_a_broken_manifest_is_named_and_skipped_and_nothing_of_its_image_is_unused(
    store: Path, warnings: list[str], content: str
) -> None:
    (store / "demo.json").write_text(content)
    assert [image.name for image in images(store)] == ["demo-2"]
    assert [line.startswith(f"the image manifest {store}/demo.json is broken: ") for line in warnings] == [True]
    assert unused(store, {}) == []
    before = listed(store)
    files = {name for name in before if image_of(name) == "demo"}
    with pytest.raises(HostError, match="in use"):
        remove(store, "demo", {min(files): ["ha.oss1"]})
    remove(store, "demo", {})
    assert listed(store) == before - {"demo.json"} - files


def test_a_broken_manifest_of_no_image_is_somebody_else_s(store: Path) -> None:
    (store / "notes.json").write_text("[]")
    with pytest.raises(HostError, match=r"notes\.json is broken"):
        remove(store, "notes", {})
    assert (store / "notes.json").exists()


def test_what_a_killed_vmlab_left_half_written_is_unused(store: Path) -> None:
    left = {".demo.json.0a1b2c3d", ".demo-2-0123456789ab.initrd.partial", ".build", "..build.building"}
    for name in left:
        (store / name).touch()
    assert left < {path.name for path in unused(store, {})}
    (store / ".demo.json.swp").touch()  # an editor's
    assert store / ".demo.json.swp" not in unused(store, {})
