"""Each bad file has its golden error text: positions, words and order are what users see."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vmlab.errors import TopologyError
from vmlab.topology import load, loads

BAD = Path(__file__).parents[2] / "golden" / "bad"
FILES = sorted(BAD.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_problems_of_a_bad_file(path: Path, golden: Callable[[Path, str], None]) -> None:
    with pytest.raises(TopologyError) as caught:
        loads(path.read_text(), path.name)
    golden(path.with_suffix(".txt"), f"{caught.value}\n")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_problem_says_what_was_expected_on_one_line(path: Path) -> None:
    with pytest.raises(TopologyError) as caught:
        load(path)
    problems = caught.value.problems
    for problem in problems:
        assert problem.file == str(path)
        assert problem.message.isprintable()
        assert problem.message.startswith("not YAML") or problem.message.endswith(")")
        assert 1 <= problem.line <= len(path.read_text().splitlines()) + 1
    assert list(problems) == sorted(problems, key=lambda problem: (problem.line, problem.column))


def test_no_golden_text_without_its_file() -> None:
    assert {path.stem for path in BAD.glob("*.txt")} == {path.stem for path in FILES}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: a\ndescription: caf\xe9\n")
    for path, words in (
        (tmp_path / "absent.yaml", "1:1: cannot be read: No such file or directory"),
        (tmp_path, "1:1: cannot be read: Is a directory"),
        (latin, "2:17: not UTF-8"),
        (Path("nul\0.yaml"), "1:1: cannot be read"),
    ):
        with pytest.raises(TopologyError) as caught:
            load(path)
        assert words in str(caught.value)
        assert len(caught.value.problems) == 1
