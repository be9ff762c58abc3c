"""Known failures written into a file and taken out of it: what else is in there stays, and the file stays sound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.errors import TopologyError, UsageError
from vmlab.judgement.expectations import Expectation, loads
from vmlab.judgement.listed import with_expected, without_expected

FILE = """\
# Ours.
expected:
  # Since the merge of LU-1.
  - {suite: sanity, tests: [27J, 270a, 3], ticket: LU-18102}   # three
  - suite: sanity
    tests:
      - 398m
    ticket: LU-17253
    where: {backend: zfs}

  # The last.
  - {suite: replay-single, tests: 59, ticket: LU-2, flaky: 0.1}
"""


def listed(text: str) -> set[tuple[str, str, str]]:
    return {(one.suite, one.test, one.ticket) for one in loads(text, "e.yaml")}


def test_it_is_added_at_the_end_and_nothing_else_changes() -> None:
    text = with_expected(FILE, "e.yaml", {"suite": "sanity", "tests": ["51b"], "ticket": "LU-9693", "flaky": 0.2})
    assert text == f"{FILE}  - {{suite: sanity, tests: [51b], ticket: LU-9693, flaky: 0.2}}\n"


def test_a_file_begins_with_it() -> None:
    text = with_expected("", "e.yaml", {"suite": "sanity", "tests": ["1e3", "270"], "ticket": "LU-1"})
    assert listed(text) == {("sanity", "1e3", "LU-1"), ("sanity", "270", "LU-1")}


@pytest.mark.parametrize(
    ("one", "told"),
    [
        ({"suite": "sanity", "tests": ["27J"], "ticket": "LU-1"}, "sanity 27J is in line 4 already"),
        ({"suite": "sanity", "tests": ["1"], "ticket": "later"}, "'later' is no ticket"),
        ({"suite": "sanity", "tests": ["1"], "ticket": "LU-1", "flaky": 1.5}, "1.5 is no rate"),
        ({"suite": "sanity", "tests": ["a b"], "ticket": "LU-1"}, "'a b' is no test"),
    ],
)
def test_what_the_file_may_not_have_is_not_written(one: dict[str, object], told: str) -> None:
    with pytest.raises(TopologyError) as caught:
        with_expected(FILE, "e.yaml", one)
    assert told in str(caught.value)


def test_one_of_several_goes_and_the_others_stay() -> None:
    text, gone = without_expected(FILE, "e.yaml", "sanity", ["test_270a"], {})
    assert [one.test for one in gone] == ["270a"]
    assert "  - {suite: sanity, tests: [27J, '3'], ticket: LU-18102}\n" in text
    assert [line for line in text.splitlines() if "#" in line] == [
        "# Ours.",
        "  # Since the merge of LU-1.",
        "  # The last.",
    ]


def test_an_item_of_several_lines_goes_whole() -> None:
    text, _ = without_expected(FILE, "e.yaml", "sanity", ["398m"], {"backend": "zfs"})
    assert text == FILE.replace(FILE[FILE.index("  - suite") : FILE.index("\n  # The last")], "")


@pytest.mark.parametrize(
    ("tests", "where", "told"),
    [
        (["27j"], {}, "does not list sanity 27j"),
        (["398m"], {"backend": "ldiskfs"}, "does not list sanity 398m"),
    ],
)
def test_what_is_not_listed_cannot_go(tests: list[str], where: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        without_expected(FILE, "e.yaml", "sanity", tests, where)


def test_a_list_in_one_line_is_left_to_its_author() -> None:
    text = "expected: [{suite: sanity, tests: 1, ticket: LU-1}]\n"
    for change in (
        lambda: with_expected(text, "e.yaml", {"suite": "sanity", "tests": ["2"], "ticket": "LU-1"}),
        lambda: without_expected(text, "e.yaml", "sanity", ["1"], {}),
    ):
        with pytest.raises(UsageError, match="is in one line"):
            change()


def test_the_last_one_is_not_taken_out() -> None:
    text = "expected:\n- {suite: sanity, tests: 1, ticket: LU-1}\n"
    with pytest.raises(UsageError, match="nothing would be left"):
        without_expected(text, "e.yaml", "sanity", ["1"], {})


names = st.text("abcJ0123456789._-", min_size=1, max_size=6).filter(lambda name: not name.startswith("test_"))


@given(st.lists(names, min_size=1, max_size=5, unique=True), st.data())
def test_what_goes_in_comes_out(tests: list[str], data: st.DataObject) -> None:
    text = with_expected(FILE, "e.yaml", {"suite": "other", "tests": tests, "ticket": "LU-7"})
    some = data.draw(st.lists(st.sampled_from(tests), min_size=1, unique=True))
    left, gone = without_expected(text, "e.yaml", "other", some, {})
    assert {one.test for one in gone} == set(some)
    assert listed(left) == listed(FILE) | {("other", test, "LU-7") for test in set(tests) - set(some)}
    assert all(isinstance(one, Expectation) for one in gone)
