"""Templates as files."""

import os
from pathlib import Path

import pytest

from vmlab.store.templates import Template, Templates


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    found = Templates(tmp_path)
    found.folder.mkdir()
    return found


def add(templates: Templates, digit: str, size: int = 0) -> str:
    key = digit * 16
    for suffix in (".memory", ".qcow2"):
        templates.file(key, suffix).write_bytes(bytes(size))
    templates.add(Template(key, "demo", "/images/demo.qcow2", 7002022, 524288, 2, "2026-11-29T12:00:00+00:00", 9.5))
    return key


def test_a_whole_one_is_found(templates: Templates) -> None:
    key = add(templates, "a")
    found = templates.find(key)
    assert found is not None
    assert (found.key, found.image, found.seconds) == (key, "demo", 9.5)
    assert [kept.template for kept in templates.all()] == [found]
    assert templates.half_made() == []


@pytest.mark.parametrize("lost", [".memory", ".qcow2", ".json"])
def test_one_that_lacks_a_file_is_half_made(templates: Templates, lost: str) -> None:
    key = add(templates, "a")
    templates.file(key, lost).unlink()
    assert templates.find(key) is None
    assert templates.broken(key) is templates.rotten(key) is (lost != ".json")
    assert templates.all() == []
    assert len(templates.half_made()) == 2


@pytest.mark.parametrize("suffix", [".memory", ".qcow2"])
@pytest.mark.parametrize("size", [1 << 12, (1 << 13) - 1])
def test_one_that_was_cut_or_written_to_is_none_any_more(templates: Templates, suffix: str, size: int) -> None:
    key = add(templates, "a", 1 << 13)
    assert not templates.broken(key)
    assert not templates.rotten(key)
    os.truncate(templates.file(key, suffix), size)
    os.truncate(templates.file(key, suffix), 1 << 13)  # its size tells nothing
    assert templates.find(key) is None
    assert templates.broken(key)
    assert len(templates.half_made()) == 3
    templates.remove(key)
    assert add(templates, "a") == key
    assert templates.find(key) is not None
    assert not templates.broken(key)


def test_what_a_disk_lost_shows_when_it_is_read(templates: Templates) -> None:
    key = add(templates, "a", 1 << 13)
    memory = templates.file(key, ".memory")
    written = memory.stat().st_mtime_ns
    memory.write_bytes(b"x" * (1 << 13))
    os.utime(memory, ns=(written, written))
    assert templates.find(key) is not None
    assert not templates.broken(key)
    assert templates.rotten(key)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"template": {}, "files": {}}', '{"key": "b"}', '{"key": 1, "more": 2}']
)
def test_a_broken_description_is_half_made(templates: Templates, text: str) -> None:
    key = add(templates, "a")
    templates.file(key, ".json").write_text(text)
    assert templates.find(key) is None
    assert len(templates.half_made()) == 3


def test_those_that_were_used_last_stay(templates: Templates) -> None:
    keys = [add(templates, digit, 1 << 20) for digit in "abc"]
    for age, key in enumerate(keys):
        os.utime(templates.file(key, ".json"), (1000 - age, 1000 - age))
    assert [kept.template.key for kept in templates.all()] == keys
    assert [kept.template.key for kept in templates.over(5 << 20)] == [keys[2]]
    assert [kept.template.key for kept in templates.over(0)] == keys[1:]
    templates.touch(keys[2])
    assert [kept.template.key for kept in templates.over(0)] == keys[:2]


def test_it_goes_with_all_its_files_and_no_others(templates: Templates) -> None:
    key, other = add(templates, "a"), add(templates, "b")
    foreign = templates.folder / f"{key}"
    foreign.write_text("")
    templates.file(key, ".console").write_text("")
    templates.remove(key)
    assert templates.find(other) is not None
    assert sorted(path.name for path in templates.folder.iterdir()) == [
        key,
        f"{other}.json",
        f"{other}.memory",
        f"{other}.qcow2",
    ]


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    templates = Templates(tmp_path / "nowhere")
    assert templates.all() == []
    assert templates.half_made() == []
    assert templates.find("a" * 16) is None
