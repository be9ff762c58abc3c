"""Nights that nobody had: green, red, and as large as Lustre's own suites are. Nothing was tested."""

from dataclasses import replace

from vmlab.judgement.expectations import Expectation
from vmlab.judgement.expected_nights import judged
from vmlab.records.night import Happened, NightEntry, NightRecord, NightStep, NightTest

EXCERPT = """== sanity test 27J: basic ops on file with foreign LOV ====
CMD: oss1 lctl set_param fail_loc=0x1422
LustreError: 11-0: lustre-OST0000-osc-ffff: operation ost_statfs to node 10.77.1.11@o2ib failed: rc = -107
 sanity test_27J: @@@@@@ FAIL: <getstripe> & "layout" not found
"""
LISTED = (
    Expectation("sanity", "270a", "LU-18562"),
    Expectation("sanity", "51b", "LU-9693", flaky=0.1),
    Expectation("sanityn", "16a", "LU-1", where={"backend": "zfs"}),
)


def sub_test(name: str, status: str = "pass", suite: str = "sanity", seconds: float = 3.0, **more: object) -> NightTest:
    said = {"fail": '<getstripe> & "layout" not found', "skip": "needs >= 2 MDTs", "crash": "LBUG"}.get(status, "")
    excerpt = EXCERPT if status in ("fail", "crash") else ""
    return replace(NightTest(suite, f"test_{name}", status, seconds, said, excerpt), **more)


def entry(name: str, *tests: NightTest, lab: str = "", **more: object) -> NightEntry:
    """All on one step, unless the lab broke it."""
    step = NightStep("suites", "lustre_tests", 8, 100.0, tests, ("20260801T020000Z-x-lustre_tests",), evidence="")
    if any(one.status in ("fail", "crash") for one in tests):
        step = replace(step, evidence=f"evidence/{name}/suites")
    made = NightEntry(
        name,
        f"nightly-{name}",
        "/nights/ha.yaml",
        {"image": "rocky9", "backend": "zfs" if "zfs" in name else "ldiskfs"},
        {"suites": "lustre_tests"},
        () if lab else (step,),
        lab,
        started="2026-08-01T02:00:01+00:00",
        ended="2026-08-01T04:30:09+00:00",
    )
    return replace(made, **more)


def night(*entries: NightEntry, day: int = 14, **more: object) -> NightRecord:
    at = f"2026-08-{day:02}T02:00:00+00:00"
    name = f"202608{day:02}T020000Z-nightly"
    made = NightRecord(name, "nightly", "/nights/night.yaml", "0.1.0", at, at, entries)
    return replace(made, lab=sum(len(one.broken) for one in entries), **more)


def nights(tonight: NightRecord, *letters: str) -> tuple[NightRecord, tuple[NightRecord, ...]]:
    """A night with those before it: each of `letters` has what test_27J was, the oldest first."""
    words = {"P": "pass", "F": "fail", "S": "skip"}
    before = tuple(
        night(entry("ha-ldiskfs", sub_test("27J", words[letter]), sub_test("0a")), day=day)
        for day, letter in enumerate(letters, start=1)
    )
    return judged(tonight, before, LISTED), before


def green() -> tuple[NightRecord, tuple[NightRecord, ...]]:
    return nights(night(entry("ha-ldiskfs", sub_test("27J"), sub_test("0a"), sub_test("1", "skip"))), *"PPFFPPPP")


def red() -> tuple[NightRecord, tuple[NightRecord, ...]]:
    """Something of each kind."""
    tests = (
        sub_test(
            "27J", "fail", again=("pass", "fail"), log="../../runs/r/sanity.test_27J.log", evidence="../../runs/r/e"
        ),
        sub_test("270a", "fail"),
        sub_test("51b", "fail"),
        sub_test("0a"),
        sub_test("1", "skip"),
        sub_test("2", "time-out", said="it was ended at its limit of 600 s", round=2),
        sub_test("3", "not run", said="sanity ended before it"),
        sub_test("312", "crash", again=("crash",)),
    )
    beds = (
        entry("ha-ldiskfs", *tests, kept=True),
        entry("ha-zfs", sub_test("16a", "fail", suite="sanityn"), sub_test("16a", suite="sanity")),
        entry("fta", lab="the bed did not come up: mds1 did not answer", evidence="evidence/fta/up"),
    )
    line = (
        Happened("2026-08-14T02:00:01+00:00", "ha-ldiskfs", "is up after 70 s"),
        Happened("2026-08-14T02:10:01+00:00", "ha-ldiskfs", "on purpose: power oss1", injected=True),
        Happened("2026-08-14T02:11:01+00:00", "ha-ldiskfs", "power oss1 is undone", injected=True),
    )
    return nights(night(*beds, time_line=line), *"PPPPPP")


def huge(count: int = 20_000) -> tuple[NightRecord, tuple[NightRecord, ...]]:
    """So many sub-tests on four beds, of which each hundredth failed; and eight nights of that before."""

    def one(day: int, bed: int) -> NightEntry:
        suites = ("sanity", "sanityn", "replay-single", "conf-sanity", "recovery-small")
        tests = [
            sub_test(
                f"{number}a",
                "fail" if (number + day) % 100 == 0 else "skip" if number % 17 == 0 else "pass",
                suites[number % 5],
                0.5 + number % 300,
            )
            for number in range(count // 4)
        ]
        return entry(f"bed{bed}-{'zfs' if bed % 2 else 'ldiskfs'}", *tests)

    before = tuple(night(*(one(day, bed) for bed in range(4)), day=day) for day in range(1, 9))
    return judged(night(*(one(14, bed) for bed in range(4))), before, LISTED), before
