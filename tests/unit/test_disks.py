"""What lies below a disk, as qemu-img tells it of real files."""

import json
import subprocess
from pathlib import Path

import pytest

from vmlab.virt.disks import _by_qemu, _chains, _under

SIZE = str(1 << 20)


def create(path: Path, *options: str, size: str = SIZE) -> Path:
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), size), check=True)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "ha._lustre-OST0000.raw"
    path.write_bytes(bytes(1 << 20))
    return path


def backed(base: Path, name: str) -> Path:
    return create(base.parent / "top.qcow2", "-F", "raw", "-b", name)


@pytest.mark.parametrize("form", ["absolute", "relative", "protocol", "json", "flat json"])
def test_a_backing_file_is_found_however_it_is_written(base: Path, form: str) -> None:
    node = {"driver": "raw", "file": {"driver": "file", "filename": str(base)}}
    name = {
        "absolute": str(base),
        "relative": base.name,
        "protocol": f"file:{base}",
        "json": f"json:{json.dumps(node)}",
        "flat json": f"json:{json.dumps({'driver': 'raw', 'file.driver': 'file', 'file.filename': str(base)})}",
    }[form]
    assert _by_qemu(str(backed(base, name))) == [str(base)]


def test_a_data_file_is_below_its_image(base: Path) -> None:
    top = create(base.parent / "top.qcow2", "-o", f"data_file={base},data_file_raw=on")
    assert _by_qemu(str(top)) == [str(base)]


def test_nothing_is_below_a_whole_image_and_nothing_known_of_what_cannot_be_read(tmp_path: Path) -> None:
    assert _by_qemu(str(create(tmp_path / "whole.qcow2"))) == []
    assert _by_qemu(str(tmp_path / "absent.qcow2")) is None


def test_chains_are_followed_to_their_end_or_once_round_and_each_file_is_asked_once() -> None:
    links = {"a": ["b", "x"], "b": ["c"], "c": ["a"], "d": ["x"]}
    asked: list[str] = []

    def below(path: str) -> list[str]:
        asked.append(path)
        return links.get(path, [])

    under = _under(frozenset("ad"), {}, below)
    assert sorted(asked) == ["a", "b", "c", "d", "x"]
    assert _chains(frozenset("a"), under) == {"a", "b", "c", "x"}
    assert _chains(frozenset("d"), under) == {"x"}


def test_a_chain_whose_names_grow_without_end_is_given_up() -> None:
    assert len(_under(frozenset({"a"}), {}, lambda path: [f"{path}/a"])) == 64
