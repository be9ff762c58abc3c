"""Folded output of `exec`."""

import pytest

from vmlab.cli.nodes import _command
from vmlab.lab.beds.execute import Answer
from vmlab.report.answers import tell


def test_equal_answers_are_one_under_their_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    tell(
        [
            Answer("oss1", 0, "6.12\n", ""),
            Answer("oss2", 0, "6.12\n", ""),
            Answer("oss3", 0, "6.1", ""),
            Answer("client1", 3, "", "no such file\n"),
            Answer("client2", 3, "", "no such file\n"),
        ]
    )
    said = capsys.readouterr()
    rule = "---------------"
    assert said.out.splitlines() == [rule, "oss[1-2] (2)", rule, "6.12", rule, "oss3", rule, "6.1"]
    assert said.err.splitlines() == ["client[1-2]: no such file", "client[1-2]: exit status 3"]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["uname", "-r"], ("uname", "-r")),
        (["--", "uname", "-r"], ("uname", "-r")),
        (["dmesg | tail"], ("sh", "-c", "dmesg | tail")),
        (["hostname"], ("hostname",)),
        ([], ()),
    ],
)
def test_one_word_with_blanks_is_for_the_shell(words: list[str], command: tuple[str, ...]) -> None:
    assert _command(words) == command
