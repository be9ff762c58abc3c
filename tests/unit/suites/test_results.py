"""results.yml and logs of Lustre's test framework.

The cases were written by the framework's own functions (lustre/tests of 2.17.57), with messages of its own suites.
"""

import shutil
import subprocess
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.judgement.expectations import loads
from vmlab.judgement.expected import Outcome as Judged
from vmlab.judgement.expected import Result, Verdict, judge_tests
from vmlab.suites.consoles import read_console
from vmlab.suites.logs import Logs, read_log, read_logs
from vmlab.suites.outcomes import BAD, Asked, Outcome, Status, SuiteOutcome, crashes_of, everything, outcomes, passed
from vmlab.suites.quoting import unquoted
from vmlab.suites.written import read_results

CASES = Path(__file__).parents[2] / "cases" / "suites"
NO_LOGS = Logs({}, {})


def files(case: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in (CASES / case).glob("*.log")}


def case(name: str, *, logs: bool = True) -> tuple[SuiteOutcome, ...]:
    text = (CASES / name / "results.yml").read_text()
    return outcomes(read_results(text), read_logs(files(name)) if logs else NO_LOGS)


def by_status(tests: tuple[Outcome, ...], status: Status) -> list[str]:
    return [one.test.removeprefix("test_") for one in tests if one.status is status]


def one(suites: tuple[SuiteOutcome, ...], suite: str, test: str) -> Outcome:
    (found,) = [each for each in everything(suites) if (each.suite, each.test) == (suite, f"test_{test}")]
    return found


def test_reasons_are_what_the_test_said() -> None:
    (suite,) = case("n01-yml-reasons-with-quotes")
    assert (suite.suite, suite.status, suite.seconds, len(suite.tests)) == ("sanity", Status.FAIL, 106, 14)
    assert by_status(suite.tests, Status.PASS) == ["setup", "cleanup"]
    assert by_status(suite.tests, Status.SKIP) == ["17m", "17o", "27m", "27D", "42a"]
    assert by_status(suite.tests, Status.FAIL) == ["27d", "27u", "27y", "56b", "65a", "133a", "154B"]
    assert (suite.tests[0].test, suite.tests[-1].test) == ("test_setup", "test_cleanup")
    assert {each.test.removeprefix("test_"): each.why for each in suite.tests if each.why} == {
        "17m": "needs >= 2 MDTs",
        "17o": "LU-4221: no such proc params for ZFS OSTs",
        "27d": "/mnt/lustre/d27d.sanity/f27d.sanity not 'foo'",
        "27m": "skipping SLOW test 27m",
        "27u": "1500 objects created on OST-0. See /tmp/f27u.getstripe",
        "27D": "TCP secure port test, not useful for NETTYPE=o2ib",
        "27y": "stripes '0 1' not on given OSTs 0 1 2",
        "42a": "skipping ALWAYS excluded test 42a",
        "56b": "exp version '2.17.57'(34687808) != '2.15.8'(34538496)",
        "65a": "Expected 100 files, got 99 (98 unique foo .&..)",
        "133a": 'NIDs still configured "10.77.0.10@tcp 10.77.1.10@tcp"',
        "154B": "path $MOUNT/.lustre\\fid # not {a,b} [c]? ~*",
    }
    assert all(not each.log and "its log is missing" in each.notes[0] for each in suite.tests if each.status in BAD)


def test_a_cleanup_that_fails_is_no_death_and_a_symptom() -> None:
    sanityn, flr = case("n03-cleanup-failed-after-last-subtest")
    assert (sanityn.status, sanityn.seconds, sanityn.why) == (Status.FAIL, 358, "")
    assert by_status(sanityn.tests, Status.PASS) == ["setup", "80a", "80b", "81a"]
    assert one((sanityn,), "sanityn", "80b").seconds == 301
    cleanup = one((sanityn,), "sanityn", "cleanup")
    assert (cleanup.status, cleanup.why) == (Status.FAIL, "remove sub-test dirs failed")
    assert cleanup.cause.before[-1] == ("rm: cannot remove '/mnt/lustre/d80b.sanityn/migrate_dir': Directory not empty")
    assert cleanup.cause.place == "sanityn.sh:6072 main()"
    assert cleanup.symptom_of == "test_80b"
    assert (flr.status, flr.seconds, by_status(flr.tests, Status.PASS)) == (Status.PASS, 46, ["setup", "0", "cleanup"])
    all_of_them = everything((sanityn, flr))
    assert (len(all_of_them), len(by_status(all_of_them, Status.PASS))) == (8, 7)
    assert not passed((sanityn, flr))


def test_status_decides_and_the_first_error_is_shown_first() -> None:
    suites = case("n05-status-against-return-code")
    sanity, recovery = suites
    assert [(each.status, each.seconds) for each in suites] == [(Status.FAIL, 56)] * 2
    rounds = [each for each in sanity.tests if each.test == "test_64b"]
    assert [(each.round, each.rounds, each.status) for each in rounds] == [
        (1, 3, Status.PASS),
        (2, 3, Status.PASS),
        (3, 3, Status.FAIL),
    ]
    assert (rounds[2].why, rounds[2].return_code) == ("grant leak, client 2097152 server 4194304", 0)
    assert rounds[2].later == ()
    ignored = one(suites, "recovery-small", "24a")
    assert (ignored.status, ignored.why) == (Status.PASS, "")
    assert ignored.ignored is not None
    assert (ignored.ignored.text, ignored.ignored.ticket) == ("multiop didn't fail fsync: rc 0", "bz5494")
    failed = one(suites, "recovery-small", "50")
    assert (failed.why, [each.text for each in failed.later]) == ("first part failed", ["second part failed"])
    assert len(everything(suites)) == 10
    assert [len(by_status(everything(suites), each)) for each in (Status.PASS, Status.FAIL, Status.SKIP)] == [8, 2, 0]
    assert (len(sanity.tests), len(recovery.tests)) == (5, 5)


def test_the_first_error_of_a_log_is_the_cause() -> None:
    suites = case("n07-log-first-error-is-the-cause")
    failed = one(suites, "sanity", "100")
    assert (failed.status, failed.seconds, failed.return_code) == (Status.FAIL, 5, 1)
    assert (failed.why, failed.cause.place) == ("local: 35712 > 1024 remote: 988", "sanity.sh:13060 test_100()")
    assert [each.text for each in failed.later] == ["test_100 failed with 1"]
    assert "bad:  0 0 10.77.0.10:35712 10.77.0.12:988" in failed.cause.before
    assert by_status(everything(suites), Status.PASS) == ["setup", "101a", "cleanup"]
    (own,) = outcomes(
        read_results((CASES / "n07-log-first-error-is-the-cause" / "results.yml").read_text()),
        read_logs(
            {name: text for name, text in files("n07-log-first-error-is-the-cause").items() if "test_100" in name}
        ),
    )
    assert one((own,), "sanity", "100").cause == failed.cause  # the log of a sub-test will do


KNOWN = """
expected:
  - {suite: sanity, tests: 0d, ticket: LU-14590}
  - {suite: sanity, tests: 27J, ticket: LU-18102}
  - {suite: sanity, tests: 312, ticket: LU-15963}
"""


def test_a_bed_that_died_is_no_known_failure() -> None:
    suites = case("n13-expected-failures", logs=False)
    sanity, sanityn = suites
    assert (sanity.status, sanity.seconds) == (Status.CRASH, None)
    died = one(suites, "sanity", "312")
    assert (died.status, died.why) == (Status.CRASH, "the bed died in it: neither it nor its suite has an end")
    assert by_status(sanity.tests, Status.FAIL) == ["27j", "27J", "270", "270a"]
    assert by_status(sanity.tests, Status.SKIP) == ["27m", "42a", "56wa"]
    assert (sanityn.status, by_status(sanityn.tests, Status.FAIL)) == (Status.FAIL, ["27J"])
    words = {Status.PASS: Judged.PASS, Status.FAIL: Judged.FAIL, Status.SKIP: Judged.SKIP, Status.CRASH: Judged.DIED}
    tonight = [Result(t.suite, t.test, words[t.status], t.seconds, t.why) for t in everything(suites)]
    found = judge_tests(tonight, (), loads(KNOWN, "known.yaml"))
    told = {verdict: [f"{f.suite} {f.test}" for f in found if f.verdict is verdict] for verdict in Verdict}
    assert told[Verdict.DIED] == ["sanity 312"]
    assert told[Verdict.NEW] == ["sanity 27j", "sanity 270", "sanity 270a", "sanityn 27J"]
    assert told[Verdict.KNOWN] == ["sanity 27J"]
    assert told[Verdict.MISSING] == ["sanity 0d"]


# --- results.yml ---------------------------------------------------------------------------------------------------

HEAD = """\
TestGroup:
    test_group: acc-sm-n10
    testhost: n10
    submission: Sat Nov 21 00:51:50 UTC 2026
    user_name: root
project: LUSTRE

Tests:
"""


def suite_text(name: str, *records: str, end: str = "        duration: 9\n        status: PASS\n") -> str:
    begin = f"-\n        name: {name}\n        description: auster {name}\n        SubTests:\n"
    return begin + "".join(records) + end


def record_text(name: str, status: str = "PASS", error: str = "") -> str:
    quoted = f' "{error}"' if error else ""
    keys = (f"status: {status}", "duration: 5", "return_code: 0", f"error:{quoted}") if status else ()
    return f"        -\n            name: test_{name}\n" + "".join(f"            {key}\n" for key in keys)


def read(text: str) -> tuple[SuiteOutcome, ...]:
    return outcomes(read_results(text), NO_LOGS)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (r"needs\ \>=\ 2\ MDTs", "needs >= 2 MDTs"),
        (r"$'two\nlines\tand \'quotes\''", "two\nlines\tand 'quotes'"),
        (r"$'gr\303\274n \xc3\xbc \u00fc \U1F600'", "grün ü ü 😀"),
        (r"$'\a\b\E\cA'", "\a\b\x1b\x01"),
        (r"$'\377 alone'", "\ufffd alone"),
        (r"\~\#\ \\n", "~# \\n"),
        ("''", ""),
        (r"größer\ als", "größer als"),
    ],
)
def test_words_of_bash(word: str, text: str) -> None:
    assert unquoted(word) == text


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_what_bash_quotes_is_read_back(locale: str) -> None:
    texts = [
        "a b",
        "x\ny",
        "tab\t'",
        '"',
        "\\",
        'ends in "',
        "ends in \\",
        "$'a'",
        "ümläut",
        "\x1b[31m red",
        "a,b;{c}",
        "!",
    ]
    script = 'for x; do printf "            error: \\"%q\\"\\n" "$x"; done'
    done = subprocess.run(
        ("bash", "-c", script, "bash", *texts), capture_output=True, text=True, check=True, env={"LC_ALL": locale}
    )
    lines = done.stdout.splitlines()
    records = "".join(
        f"        -\n            name: test_{n}\n            status: FAIL\n{line}\n" for n, line in enumerate(lines)
    )
    (suite,) = read_results(HEAD + suite_text("sanity", records)).suites
    assert [record.error for record in suite.records] == texts


def test_a_file_of_windows() -> None:
    text = HEAD + suite_text("sanity", record_text("1", "FAIL", "a\\ b"))
    assert read_results(text.replace("\n", "\r\n")) == read_results(text)


def test_names_are_names() -> None:
    (suite,) = read(HEAD + suite_text("sanity-lnet", *map(record_text, ("27oo", "0", "1_1", "270", "yes", "fio"))))
    assert [each.test for each in suite.tests] == [f"test_{name}" for name in ("27oo", "0", "1_1", "270", "yes", "fio")]
    assert passed((suite,))


def test_runs_that_were_appended_and_a_suite_twice() -> None:
    once = HEAD + suite_text("sanity", record_text("1"), record_text("2", "FAIL"), end="")
    twice = once + HEAD + suite_text("sanity", record_text("2")) + suite_text("sanity", record_text("1"))
    found = read(twice)
    assert read_results(twice).runs == 2
    assert [(each.suite, each.occurrence, each.status) for each in found] == [
        ("sanity", 1, Status.CRASH),
        ("sanity", 2, Status.PASS),
        ("sanity", 3, Status.PASS),
    ]
    assert found[0].why == "the bed died after test_2: the suite has no end"
    assert [each.round for each in everything(found)] == [1, 1, 1, 1]


def test_a_run_that_was_appended_to_half_a_line() -> None:
    begun = HEAD + suite_text("sanity", record_text("1"), "        -\n            name: test_3", end="")
    for more in (HEAD, ""):
        first, second = read(begun + more + suite_text("sanityn", record_text("2")))
        assert (first.suite, first.status, [each.test for each in first.tests]) == ("sanity", Status.CRASH, ["test_1"])
        assert (second.suite, second.status, [each.test for each in second.tests]) == (
            "sanityn",
            Status.PASS,
            ["test_2"],
        )
    status = HEAD + suite_text("sanity", "        -\n            name: test_1\n            status: PA", end="")
    (first, _) = read(status + suite_text("sanityn", record_text("2")))
    assert first.tests[0].status is Status.CRASH


def test_a_suite_that_fails_by_itself_or_runs_nothing() -> None:
    failed, empty, skipped = read(
        HEAD
        + suite_text("a", record_text("1"), end="        duration: 1\n        status: FAIL\n")
        + suite_text("b", end="        duration: 1\n        status: FAIL\n")
        + suite_text("c", end="        duration: 1\n        status: SKIP\n")
    )
    assert (failed.status, failed.why) == (Status.FAIL, "the suite failed, and none of its sub-tests did")
    assert (empty.status, empty.why) == (Status.FAIL, "it ran no sub-test")
    assert (skipped.status, skipped.why) == (Status.SKIP, "")
    assert not passed((failed,))


def test_nothing_is_no_success() -> None:
    assert read("") == ()
    assert not passed(())
    assert read_results("\0\0\0").suites == ()


WHOLE = (CASES / "n01-yml-reasons-with-quotes" / "results.yml").read_bytes()
ALL = read_results(WHOLE.decode()).suites[0].records


@given(st.integers(0, len(WHOLE)))
def test_a_file_that_is_cut_anywhere(length: int) -> None:
    written = read_results(WHOLE[:length].decode(errors="replace"))
    records = written.suites[0].records if written.suites else []
    for part, whole in zip(records, ALL, strict=False):
        assert part.name == whole.name
        assert part.status in (whole.status, None)
        assert part.seconds in (whole.seconds, None)
        assert part.return_code in (whole.return_code, None)
        assert whole.error.startswith(part.error.rstrip("\\"))
    complete = length >= len(WHOLE) - 1
    assert passed(outcomes(written, NO_LOGS)) is False
    assert all(suite.status is not None for suite in written.suites) == (complete or not written.suites)
    assert written.strange == ()


PASSING = (HEAD + suite_text("sanity", *map(record_text, ("1", "2", "3")))).encode()


@given(st.integers(0, len(PASSING) - 2))
def test_a_file_that_is_cut_has_not_passed(length: int) -> None:
    assert not passed(read(PASSING[:length].decode()))
    assert passed(read(PASSING.decode()))


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    read_results(text)
    read_results(HEAD + text)
    read_log(text)
    unquoted(text)


def test_twenty_thousand_subtests() -> None:
    records = [record_text(str(n), "FAIL" if n % 7 == 0 else "PASS", f"it\\ is\\ {n}") for n in range(20_000)]
    log = "\n".join(
        f"== big test {n}: nothing ===== 00:00:00 (1)\n big test_{n}: @@@@@@ FAIL: first {n} \nFAIL {n} (5s)"
        for n in range(0, 20_000, 7)
    )
    begin = process_time()
    (suite,) = outcomes(
        read_results(HEAD + suite_text("big", *records, end="        status: FAIL\n")),
        read_logs({"big.suite_log.n10.log": log}),
    )
    assert process_time() - begin < 8
    assert len(suite.tests) == 20_000
    assert suite.tests[7].why == "first 7"


# --- with logs, limits, crashes ------------------------------------------------------------------------------------

LOG = """\
=== sanity: start setup 00:51:50 (1795567970) ===
=== sanity: finish setup 00:53:31 (1795568011) ===

== sanity test 1: one ==================================== 00:53:36 (1795568016)
PASS 1 (5s)

== sanity test 2: two ==================================== 00:53:41 (1795568021)
a line before
 sanity test_2: @@@@@@ FAIL: first
and its second line
  Trace dump:
  = /usr/lib/lustre/tests/test-framework.sh:7479:error_noexit()
  = /usr/lib/lustre/tests/sanity.sh:12:helper()
  = /usr/lib/lustre/tests/sanity.sh:13:test_2()
FAIL 2 (6s)

== sanity test 3: three ================================== 00:53:48 (1795568028)
"""


def with_log(text: str, log: str = LOG, **more: object) -> tuple[SuiteOutcome, ...]:
    return outcomes(read_results(text), read_logs({"logs/sanity.suite_log.n10.log": log}), **more)  # type: ignore[arg-type]


def test_what_results_lost_the_log_tells() -> None:
    (suite,) = with_log(HEAD + suite_text("sanity", record_text("setup"), record_text("1", ""), end=""))
    assert [(each.test, each.status, each.seconds) for each in suite.tests] == [
        ("test_setup", Status.PASS, 5),
        ("test_1", Status.PASS, 5),
        ("test_2", Status.FAIL, 6),
        ("test_3", Status.CRASH, None),
    ]
    assert suite.tests[2].cause.text == "first\nand its second line"
    assert suite.tests[2].why == "first and its second line"
    assert suite.tests[2].cause.place == "sanity.sh:12 helper()"
    assert suite.tests[2].cause.before == ("a line before",)
    assert suite.tests[1].notes == ("results.yml has no end of it, its log has",)
    assert suite.status is Status.CRASH


def test_an_error_over_two_lines_is_the_same_in_both() -> None:
    text = HEAD + suite_text("sanity", record_text("2", "FAIL", r"$'first\nand its second line'"))
    failed = one(with_log(text), "sanity", "2")
    assert failed.later == ()


@pytest.mark.parametrize("code", ["143", "124"])
def test_what_was_ended_from_outside_is_a_timeout(code: str) -> None:
    log = LOG + f"test_3 returned {code}\nFAIL 3 (300s)\n"
    text = HEAD + suite_text("sanity", record_text("3", "FAIL", rf"test_3\ returned\ {code}"))
    ended = one(with_log(text, log), "sanity", "3")
    assert (ended.status, ended.why) == (Status.TIMEOUT, f"test_3 returned {code}")
    assert ended.later == ()


def test_a_first_error_before_the_end_from_outside_is_a_failure() -> None:
    text = HEAD + suite_text("sanity", record_text("2", "FAIL", r"test_2\ returned\ 143"))
    assert one(with_log(text), "sanity", "2").status is Status.FAIL


def test_what_dmesg_had_is_the_cause() -> None:
    log = (
        "== sanity test 3: three ===== 00:53:48 (1795568028)\n"
        "Kernel error detected: [  812.5] BUG: KASAN: slab-use-after-free in ldlm_lock_put+0x1/0x2 [ptlrpc]\n"
        " sanity test_3: @@@@@@ FAIL: Error in dmesg detected \nFAIL 3 (3s)\n"
    )
    text = HEAD + suite_text("sanity", record_text("3", "FAIL", r"Error\ in\ dmesg\ detected"))
    failed = one(with_log(text, log), "sanity", "3")
    assert "BUG: KASAN: slab-use-after-free" in failed.why
    assert [each.text for each in failed.later] == ["Error in dmesg detected"]


def test_limits_and_crashes_are_told_from_deaths() -> None:
    text = HEAD + suite_text("sanity", record_text("3", ""), end="")
    (late,) = with_log(text, limits={("sanity", "test_3"): "no end after 300 s"})
    assert (late.status, late.tests[0].status, late.tests[0].why) == (
        Status.TIMEOUT,
        Status.TIMEOUT,
        "no end after 300 s",
    )
    (crashed,) = with_log(text, crashes={("sanity", "test_3"): "oss1: LBUG"})
    assert (crashed.status, crashed.tests[0].status, crashed.tests[0].why) == (
        Status.CRASH,
        Status.CRASH,
        "oss1: LBUG",
    )


def test_what_the_consoles_had_is_a_crash_and_no_failure() -> None:
    mark = "[    9.000001] Lustre: DEBUG MARKER: == sanity test {}: it == 00:00:00 (1)\n"
    bug = "[   10.000001] LustreError: 9:0:(a.c:1:f()) LBUG\n"
    asked = "[   11.000001] sysrq: Trigger a crash\n[   11.000002] Kernel panic - not syncing: sysrq\n"
    hung = "[   12.000001] INFO: task x:1 blocked for more than 120 seconds.\n"
    consoles = {
        "oss1": read_console(mark.format("2") + bug),
        "mds1": read_console(mark.format("1") + asked),
        "mds2": read_console(mark.format("3") + hung),
    }
    crashes = crashes_of(consoles)
    assert crashes == {("sanity", "test_2"): "oss1: LustreError: 9:0:(a.c:1:f()) LBUG"}
    text = HEAD + suite_text("sanity", record_text("1", "FAIL"), record_text("2", "FAIL"), record_text("3"))
    (suite,) = with_log(text, crashes=crashes)
    assert [each.status for each in suite.tests] == [Status.FAIL, Status.CRASH, Status.PASS]
    assert suite.tests[1].why.startswith("oss1: ")
    assert suite.tests[1].later[0].place == "sanity.sh:12 helper()"


def test_a_cleanup_that_hung_after_a_failure_is_its_symptom() -> None:
    text = HEAD + suite_text("sanity", record_text("1"), record_text("2", "FAIL"), record_text("cleanup", ""), end="")
    suites = with_log(text, limits={("sanity", "test_cleanup"): "no end after 300 s"})
    hung = one(suites, "sanity", "cleanup")
    assert (hung.status, hung.symptom_of) == (Status.TIMEOUT, "test_2")


def test_what_was_asked_for_and_did_not_run() -> None:
    text = HEAD + suite_text("sanity", record_text("1"), record_text("2", ""), end="")
    asked = (Asked("sanity", ("1", "2", "27oo")), Asked("sanityn", ("1",)), Asked("mmp"))
    sanity, sanityn, mmp = outcomes(read_results(text), NO_LOGS, asked=asked)
    assert [(each.test, each.status, each.why) for each in sanity.tests[2:]] == [
        ("test_27oo", Status.NOT_RUN, "sanity ended before it (crash)")
    ]
    assert (sanityn.status, sanityn.tests[0].status) == (Status.NOT_RUN, Status.NOT_RUN)
    assert (mmp.status, mmp.tests, mmp.why) == (Status.NOT_RUN, (), "the night ended before it")
    assert not passed((mmp,))


def test_a_failure_without_a_word() -> None:
    (suite,) = read(HEAD + suite_text("sanity", record_text("1", "FAIL")))
    assert suite.status is Status.FAIL
    assert suite.tests[0].why == "nothing says why (return code 0)"


def test_the_skip_that_only_the_log_explains() -> None:
    log = "== s test 3: skips ===== 00:49:45 (1795222185)\n\n SKIP: s test_3 no pairs\nSKIP 3 (3s)\n"
    text = HEAD + suite_text("s", record_text("3", ""), end="")
    (suite,) = outcomes(read_results(text), read_logs({"s.suite_log.n10.log": log}))
    assert (suite.tests[0].status, suite.tests[0].why) == (Status.SKIP, "no pairs")
