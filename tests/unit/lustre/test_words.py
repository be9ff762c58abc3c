"""Each row of the table explains something, and none is in the way of another one."""

from pathlib import Path

import pytest
import yaml

from vmlab.lustre import trouble

from .test_trouble import WANTED, said

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases" / "lustre" / "words.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["means"])
def test_the_cause_is_told_and_not_what_follows_from_it(case: dict[str, str]) -> None:
    found = trouble.explain(case["says"])
    assert found is not None
    assert found.message.startswith(case["means"])
    assert found.hint


def test_every_row_is_somebodys_first() -> None:
    texts = [case["says"] for case in CASES] + [said(name) for name in WANTED]
    first = [next((row for pattern, row in trouble.TABLE if pattern.search(text)), None) for text in texts]
    assert [row.message for _, row in trouble.TABLE if row not in first] == []


@pytest.mark.parametrize(
    "text",
    [
        "RTNETLINK answers: Network is down",
        "cat: /sys/module/zfs: No such file or directory",
        "mke2fs 1.47.0 (5-Feb-2023)\nCreating filesystem with 65536 1k blocks and 16384 inodes",
        "Lustre: lustre-OST0000: Imperative Recovery not enabled, recovery window 300-900",
        "wibble",
    ],
)
def test_other_words_are_not_understood(text: str) -> None:
    assert trouble.explain(text) is None
