"""Images from anywhere: what refers to another file of the host is refused before QEMU hears of it."""

import json
import os
import shlex
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vmlab.errors import HostError, UsageError
from vmlab.runtime.process import Result
from vmlab.store import images, qcow2
from vmlab.store.images import (
    Files,
    Manifest,
    add,
    at_path,
    check_disk,
    check_name,
    check_user,
    copy,
    find,
    manifest_of,
)

SIZE = 1 << 20


def qemu_img(*argv: object) -> None:
    subprocess.run(("qemu-img", *map(str, argv)), check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "from"
    path.mkdir()
    return path


@pytest.fixture
def disk(folder: Path) -> Path:
    path = folder / "disk.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, SIZE)
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A file of the host that is nobody's business."""
    path = tmp_path / "other"
    path.write_bytes(b"root:secret:" + bytes(4084))
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that were run."""
    seen: list[tuple[str, ...]] = []

    def spy(argv: tuple[str, ...], **more: Any) -> Result:
        seen.append(tuple(argv))
        return run(argv, **more)

    run = images.run
    monkeypatch.setattr(images, "run", spy)
    return seen


def backing_file(path: Path, other: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", other, path)


def backing_file_that_is_absent(path: Path, other: Path) -> None:
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", f"{other}-absent", path, SIZE)


def backing_file_in_json(path: Path, other: Path) -> None:
    name = "json:" + json.dumps({"driver": "raw", "file": {"driver": "file", "filename": str(other)}})
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", name, path, SIZE)


def data_file(path: Path, other: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={other},data_file_raw=on", path, 4096)


def data_file_in_json(path: Path, other: Path) -> None:
    """What no well-meaning program writes."""
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={other}", path, 4096)
    content = path.read_bytes()
    (length,) = struct.unpack_from(">I", content, qcow2._HEADER_LENGTH)
    name = b'json:{"driver":"file","filename":"/etc/shadow"}'
    extension = struct.pack(">II", qcow2._DATA_FILE, len(name)) + name.ljust((len(name) + 7) // 8 * 8, b"\0")
    path.write_bytes(content[:length] + extension + bytes(512) + content[length + len(extension) + 512 :])


def data_file_by_name_only(path: Path, other: Path) -> None:
    data_file_in_json(path, other)
    content = bytearray(path.read_bytes())
    struct.pack_into(">Q", content, qcow2._INCOMPATIBLE, 0)
    path.write_bytes(content)


def data_file_by_bit_only(path: Path, other: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={other}", path, 4096)
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack_from(">I", content, qcow2._HEADER_LENGTH)
    struct.pack_into(">Q", content, length, 0)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "made",
    [
        backing_file,
        backing_file_that_is_absent,
        backing_file_in_json,
        data_file,
        data_file_in_json,
        data_file_by_name_only,
        data_file_by_bit_only,
    ],
)
def test_image_that_needs_another_file_is_refused_unopened(
    made: Callable[[Path, Path], None], folder: Path, other: Path, asked: list[tuple[str, ...]], tmp_path: Path
) -> None:
    content = other.read_bytes()
    image = folder / "image.qcow2"
    made(image, other)
    other.write_bytes(content)
    for door in (check_disk, at_path, lambda path: add(tmp_path / "store", manifest(path), folder)):
        with pytest.raises(HostError, match=r"is not whole: it needs (a backing|an external data) file") as refused:
            door(image)
        assert "if you trust it" in refused.value.hint
    assert not asked
    assert other.read_bytes() == content
    assert not (tmp_path / "store").exists()


def manifest(disk: Path) -> Manifest:
    return Manifest(name="x", files=Files(disk=disk.name))


def test_the_file_that_is_needed_is_named(folder: Path, other: Path) -> None:
    backing_file(folder / "image", other)
    with pytest.raises(HostError, match=rf"it needs a backing file, {other}$"):
        check_disk(folder / "image")


@pytest.mark.parametrize(
    ("form", "options"),
    [("vmdk", ()), ("vmdk", ("-o", "subformat=monolithicFlat")), ("vpc", ()), ("vhdx", ()), ("vdi", ()), ("qed", ())],
)
def test_other_formats_are_named_and_never_probed(
    form: str, options: tuple[str, ...], folder: Path, asked: list[tuple[str, ...]]
) -> None:
    image = folder / "image.qcow2"
    qemu_img("create", "-q", "-f", form, *options, image, SIZE)
    with pytest.raises(HostError, match="is no qcow2 image") as refused:
        check_disk(image)
    assert f"qemu-img convert -f {form} -O qcow2 {image} whole.qcow2" in refused.value.hint
    assert not asked


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "convert -f raw"),
        (b"QFI\xfb", "convert -f raw"),
        (b"LUKS\xba\xbe" + bytes(200), "convert -f luks"),
        (b"\x1f\x8b" + bytes(200), "gzip -d"),
        (b"QFI\xfb\0\0\0\4" + bytes(200), "convert"),
        (b"QFI\xfb\0\0\0\3" + bytes(64), "convert"),
    ],
)
def test_what_is_no_qcow2_is_refused_with_what_to_do(
    content: bytes, hint: str, folder: Path, asked: list[tuple[str, ...]]
) -> None:
    (folder / "image").write_bytes(content)
    with pytest.raises(HostError, match="is no qcow2 image: ") as refused:
        check_disk(folder / "image")
    assert hint in refused.value.hint
    assert not asked


@pytest.mark.parametrize("method", [1, 2], ids=["AES", "LUKS"])
def test_encrypted_image_is_refused(method: int, folder: Path) -> None:
    """By AES, as qemu-img makes it at once. For LUKS it takes the CPU's time first, which fails on a busy machine."""
    how = "encrypt.format=aes,encrypt.key-secret=s"
    qemu_img("create", "-q", "--object", "secret,id=s,data=x", "-f", "qcow2", "-o", how, folder / "image", SIZE)
    image = bytearray((folder / "image").read_bytes())
    assert int.from_bytes(image[32:36]) == 1  # crypt_method, docs/interop/qcow2.txt of QEMU
    image[32:36] = method.to_bytes(4)
    (folder / "image").write_bytes(image)
    with pytest.raises(HostError, match="is encrypted"):
        check_disk(folder / "image")


@pytest.mark.parametrize("options", ["compat=0.10", "extended_l2=on", "compression_type=zstd", "cluster_size=2M"])
def test_every_kind_of_whole_qcow2_is_taken(options: str, folder: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, folder / "image", SIZE)
    assert check_disk(folder / "image") == SIZE


NAMES = ("-O.qcow2", "nbd:x.qcow2", "json:{}.qcow2", "a,b.qcow2", "a b;$(x).qcow2", "ä\n.qcow2")


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_file(name: str, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = disk.rename(disk.with_name(name))
    monkeypatch.chdir(disk.parent)
    assert at_path(Path(name)).files.disk == str(image)
    added = add(tmp_path / "store", manifest(image), Path())
    assert check_disk(tmp_path / "store" / added.files.disk) == SIZE


def test_hints_can_be_pasted_whatever_a_file_is_called(folder: Path) -> None:
    image = folder / "x; touch here.img"
    image.write_bytes(bytes(200))
    with pytest.raises(HostError) as refused:
        check_disk(image)
    assert str(image) in shlex.split(refused.value.hint.rstrip(", "))


@pytest.mark.parametrize("name", ["../other", "/etc/shadow", "..", ".", "a/b", "a\0b"])
@pytest.mark.parametrize("kind", ["disk", "kernel", "initrd"])
def test_manifest_that_names_a_path_is_refused(name: str, kind: str, disk: Path, tmp_path: Path) -> None:
    content = {"name": "x", "files": {"disk": disk.name} | {kind: name}}
    disk.with_suffix(".json").write_text(json.dumps(content))
    for door in (at_path, manifest_of):
        with pytest.raises(HostError, match=rf"disk\.json is broken: files\.{kind}: .* is no file's name"):
            door(disk)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("kind", ["kernel", "initrd"])
def test_link_out_of_the_folder_is_refused(kind: str, disk: Path, other: Path, tmp_path: Path) -> None:
    told = manifest(disk).model_copy(update={"files": Files(disk=disk.name, **{kind: "boot"})})
    disk.with_suffix(".json").write_text(told.model_dump_json(by_alias=True))
    (disk.parent / "boot").symlink_to(other)
    for door in (at_path, lambda path: add(tmp_path / "store", told, path.parent)):
        with pytest.raises(HostError, match=rf"boot is a link to {other}"):
            door(disk)
    assert not (tmp_path / "store").exists()


def test_disk_that_is_a_link_out_of_its_folder_is_refused_with_the_name_to_give(disk: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.qcow2"
    link.symlink_to(disk)
    for door in (check_disk, at_path, lambda path: add(tmp_path / "store", manifest(path), path.parent)):
        with pytest.raises(HostError, match="is a link to") as refused:
            door(link)
        assert refused.value.hint == f"name that file itself: {disk}"


def test_link_inside_of_the_folder_is_followed(disk: Path, tmp_path: Path) -> None:
    link = disk.with_name("latest.qcow2")
    link.symlink_to(disk.name)
    assert at_path(link).files.disk == str(disk)
    added = add(tmp_path / "store", manifest(link), link.parent)
    assert not (tmp_path / "store" / added.files.disk).is_symlink()


@pytest.mark.parametrize("kind", ["disk", "kernel", "manifest"])
@pytest.mark.parametrize("what", ["FIFO", "folder", "device"])
def test_what_is_no_file_is_refused_and_not_waited_for(kind: str, what: str, disk: Path) -> None:
    path = {"disk": disk, "kernel": disk.with_name("kernel"), "manifest": disk.with_suffix(".json")}[kind]
    if kind == "kernel":
        told = manifest(disk).model_copy(update={"files": Files(disk=disk.name, kernel="kernel")})
        disk.with_suffix(".json").write_text(told.model_dump_json(by_alias=True))
    path.unlink(missing_ok=True)
    if what == "FIFO":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(HostError):
        at_path(disk)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"{}", b"null", b'{"name": "x"}' + b" " * (2 << 20)])
def test_manifest_of_any_content_is_named_as_broken(content: bytes, disk: Path) -> None:
    disk.with_suffix(".json").write_bytes(content)
    with pytest.raises(HostError, match=r"from/disk\.json is broken") as refused:
        at_path(disk)
    assert "image rm" not in refused.value.hint


def test_words_of_a_manifest_are_text() -> None:
    evil = "a\x1b[2J\nb"
    told = Manifest(name="x", distribution=evil, kernel=evil, cmdline=evil, carries={evil: evil}, files=Files(disk=""))
    clean = r"a\x1b[2J b"
    assert (told.distribution, told.kernel, told.cmdline, told.carries) == (clean, clean, clean, {clean: clean})


@pytest.mark.parametrize("user", ["-oProxyCommand=x", "a b", "", "a\n", "a@b", "$(id)", "x" * 33, "<b/>"])
def test_user_of_an_image_is_a_name(user: str) -> None:
    with pytest.raises(UsageError):
        check_user(user)
    with pytest.raises(ValueError, match="user"):
        Manifest(name="x", user=user, files=Files(disk=""))


@pytest.mark.parametrize("name", ["../x", "-x", "a/b", "", "X", "a\n", "a\x1b"])
def test_name_of_an_image_leads_nowhere(name: str, disk: Path, tmp_path: Path) -> None:
    disk.with_suffix(".json").write_text("{}")
    with pytest.raises(UsageError):
        check_name(name)
    with pytest.raises(HostError, match="there is no image"):
        find(tmp_path / "store", name)


def test_image_that_changes_while_it_is_read_is_refused(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is of what was copied: between the two somebody else may have written."""

    def late(source: Path, destination: Path) -> bytes:
        backing_file_that_is_absent(source, Path("/etc/shadow"))
        return copy(source, destination)

    monkeypatch.setattr(images, "copy", late)
    with pytest.raises(HostError, match="changed while it was read"):
        add(tmp_path / "store", manifest(disk), disk.parent)
    assert not list((tmp_path / "store").iterdir())
