"""Outputs like the recorded ones: repeats and foreign ways to write numbers make no other figures of them."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.errors import WorkloadError
from vmlab.workloads import Measurement, Output, Task, workloads

CASES = Path(__file__).parents[2] / "cases"
TASKS = {"osu": "osu", "iozone": "iozone", "io500": "io500", "obdfilter_survey": "survey"}
GOOD = [(name, path) for name in TASKS for path in sorted((CASES / name / "good").glob("*.txt"))]
FOREIGN: tuple[Callable[[str], str], ...] = (
    lambda number: number.replace(".", ","),
    lambda number: f"1.{number.replace('.', ',')}",
    lambda number: f"1,{number}",
    lambda number: f"1'{number}",
    lambda number: number[:-1],
    lambda number: number.partition(".")[0],
    lambda number: f"{number}e+02",
    lambda number: "9" * 40 + number,
)

every_case = pytest.mark.parametrize(("name", "path"), GOOD, ids=lambda one: getattr(one, "stem", one))


def read(name: str, path: Path) -> tuple[Measurement, str]:
    first, _, rest = path.read_text().partition("\n")
    argv = tuple(shlex.split(first.removeprefix("$ ")))
    task = Task(name=TASKS[name], node="n1", argv=argv, deadline_s=60)
    return Measurement(name="m", labels={}, tasks=(task,)), rest.rsplit("# rc=", 1)[0]


def figures(name: str, measurement: Measurement, text: str) -> list[tuple[str, list[tuple[str, str]], float]] | None:
    """None where nothing was taken for measured."""
    workload = workloads()[name]
    try:
        found = workload.parse(workload.options(), measurement, {TASKS[name]: Output(0, text, "", 1.0)})
    except WorkloadError:
        return None
    return sorted((sample.metric.name, sorted(sample.labels.items()), sample.value) for sample in found)


@every_case
@given(where=st.floats(0, 1, exclude_max=True), foreign=st.sampled_from(FOREIGN))
def test_a_number_as_others_write_it_is_no_other_figure(
    name: str, path: Path, where: float, foreign: Callable[[str], str]
) -> None:
    measurement, text = read(name, path)
    numbers = list(re.finditer(r"\b\d+\.\d{2,}\b", text))
    number = numbers[int(where * len(numbers))]
    written = text[: number.start()] + foreign(number[0]) + text[number.end() :]
    assert figures(name, measurement, written) in (None, figures(name, measurement, text))


@every_case
@given(where=st.floats(0, 1, exclude_max=True))
def test_a_line_that_is_there_twice_is_no_second_figure(name: str, path: Path, where: float) -> None:
    measurement, text = read(name, path)
    lines = text.splitlines(keepends=True)
    place = int(where * len(lines))
    doubled = "".join([*lines[:place], lines[place], *lines[place:]])
    assert figures(name, measurement, doubled) in (None, figures(name, measurement, text))


@every_case
def test_two_reports_are_not_one(name: str, path: Path) -> None:
    """One behind the other, and line by line, as two ranks that both print."""
    measurement, text = read(name, path)
    whole = figures(name, measurement, text)
    assert whole
    lines = text.splitlines(keepends=True)
    for both in (text + text, "".join(line + line for line in lines)):
        assert figures(name, measurement, both) in (None, whole)
    assert figures(name, measurement, text.replace("\n", "\r\n")) in (None, whole)
