"""A night of beds that are folders: its processes are real, and are ended, killed and gone on with."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from vmlab.errors import UsageError
from vmlab.judgement.expectations import Expectation
from vmlab.lab.nightly.night import Places, night_of
from vmlab.nights.read import loads_night
from vmlab.records.night import NightRecord, NightTest
from vmlab.report.night.files import written
from vmlab.runtime.wait import Deadline, until
from vmlab.store.nights import events
from vmlab.topology import load
from vmlab.workloads import options_by_name

TESTS = Path(__file__).parents[1]
STAND_IN = (sys.executable, str(TESTS / "night_stand_in.py"))
TOPOLOGY = "name: small\nimage: demo\nnodes: {client1: {role: client, memory: 512MiB}}\n"
KIB = 512 << 10
PATIENCE_S = 150
DOWN = "down n-b1 --yes --no-keep-warm"


class Suites(BaseModel):
    """The options of a workload that has suites, as far as a night knows them."""

    suites: list[str] = []
    only: list[str] = []
    except_: list[str] = Field([], alias="except")


@dataclass
class Lab:
    """A place for nights, and for the beds that stand in for real ones."""

    folder: Path

    @property
    def places(self) -> Places:
        return Places(self.folder / "state" / "nights", self.folder / "state" / "runs")

    def night(self, text: str, **more: Any) -> NightRecord:
        known = {**options_by_name(), "lustre_tests": Suites}
        night = loads_night(text, self.folder / "night.yaml", workloads=known, find=Path)
        settings: dict[str, Any] = {"room_kib": {"": None}, "expectations": (), "accel": "", "resume": False} | more
        record, _ = night_of(night, self.places, say=lambda _: None, program=STAND_IN, **settings)
        return record

    def did(self, *verbs: str) -> list[str]:
        """What was done to beds, in order."""
        lines = (self.folder / "beds" / "log").read_text().splitlines()
        return [line for line in lines if line.split()[0] in verbs]

    def breaks(self, verb: str, *lines: str) -> None:
        (self.folder / "beds" / f"broken-{verb}").write_text("".join(f"{line}\n" for line in lines))

    @property
    def beds(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "beds").iterdir() if path.is_dir())


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    for name in ("state", "lock"):
        monkeypatch.setenv(f"VMLAB_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.setenv("NIGHT_BEDS", str(tmp_path / "beds"))
    (tmp_path / "beds").mkdir()
    (tmp_path / "small.yaml").write_text(TOPOLOGY)
    return Lab(tmp_path)


def night(*steps: str, more: str = "", entries: int = 1, keep: str = "never") -> str:
    lines = "".join(f"      - {step}\n" for step in steps)
    some = (f"  - topology: small.yaml\n    name: b{n}\n    steps:\n{lines}" for n in range(1, entries + 1))
    return f"name: n\nkeep: {keep}\n{more}entries:\n{''.join(some)}"


def command(run: str, **beside: str) -> str:
    told = "".join(f", {name}: {value}" for name, value in beside.items())
    return f"{{command: {{run: '{run}'}}{told}}}"


def results(record: NightRecord) -> list[NightTest]:
    return [test for entry in record.entries for test in entry.tests]


def test_what_fails_is_a_failed_test_with_evidence_and_its_bed_is_kept(lab: Lab) -> None:
    record = lab.night(night(command("true"), command("echo before; exit 3", name="bad"), keep="on-failure", entries=2))
    assert [(one.test, one.status) for one in results(record)] == [("command", "pass"), ("bad", "fail")] * 2
    assert (record.product, record.lab, record.status) == (2, 0, 8)
    bad = results(record)[1]
    assert (bad.said, bad.excerpt) == ("command: status 3", "before")
    assert lab.beds == ["n-b1", "n-b2"]
    assert [entry.kept for entry in record.entries] == [True, True]
    for entry in record.entries:
        folder = lab.places.nights / record.id / entry.steps[1].evidence
        assert (folder / "index.md").read_text() == f"# Evidence of {entry.bed}\n"
    assert lab.did("down") == [DOWN, DOWN.replace("b1", "b2")] or len(lab.did("down")) == 2


def test_a_kept_bed_goes_when_the_next_night_begins(lab: Lab) -> None:
    lab.night(night(command("touch here; false"), keep="on-failure"))
    record = lab.night(night(command("! [ -e here ]"), keep="on-failure"))
    assert [one.status for one in results(record)] == ["pass"]
    assert [one.verdict for one in record.findings] == ["fixed"]
    assert (record.status, lab.beds) == (0, [])


def test_what_the_lab_broke_is_tried_once_more_and_not_counted(lab: Lab) -> None:
    lab.breaks("up", "n-b1 6 client1 did not answer")
    lab.breaks("run", "n-b1 6 client1 was gone")
    record = lab.night(night(command("true")))
    assert [one.status for one in results(record)] == ["pass"]
    assert (record.lab, record.status, record.entries[0].steps[0].tries) == (0, 0, 2)
    assert lab.did("up", "down", "run", "rebuild") == [
        *(DOWN, "up n-b1", DOWN, "up n-b1", "run n-b1 -o json"),
        *("rebuild n-b1 --yes", "run n-b1 -o json", DOWN),
    ]


def test_a_bed_that_does_not_come_up_is_the_labs_fault(lab: Lab) -> None:
    lab.breaks("up", *["n-b1 6 client1 did not answer"] * 2)
    record = lab.night(night(command("true"), entries=2))
    assert record.entries[0].lab == "the bed did not come up: client1 did not answer"
    assert [(one.status, one.lab) for one in results(record)] == [("not run", True), ("pass", False)]
    assert (record.product, record.lab, record.status) == (0, 1, 7)
    assert record.entries[0].evidence == "evidence/b1/up"


def test_the_product_wins_over_the_lab_and_both_are_counted(lab: Lab) -> None:
    record = lab.night(night(command("exit 127", name="lab"), command("false", name="product")))
    assert (record.product, record.lab, record.status) == (1, 1, 8)
    assert record.entries[0].broken == ("lab: command: status 127",)
    assert [line.split()[0] for line in lab.did("run")] == ["run"] * 3  # the lab's once more


def test_what_is_expected_is_no_reason_for_8(lab: Lab) -> None:
    listed = [Expectation("command", "bad", "LU-1"), Expectation("command", "other", "LU-2", where={"entry": "b2"})]
    steps = (command("false", name="bad"), command("false", name="other"))
    record = lab.night(night(*steps, entries=2), expectations=listed)
    assert [(one.entry, one.test, one.verdict, one.ticket) for one in record.findings] == [
        ("b1", "other", "new failure", ""),
        ("b1", "bad", "known failure", "LU-1"),
        ("b2", "bad", "known failure", "LU-1"),
        ("b2", "other", "known failure", "LU-2"),
    ]
    assert (record.product, record.status) == (1, 8)


def test_what_is_expected_of_a_version_and_an_architecture_is_expected_there_only(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHT_SLEEPS", "0")
    for test in (1, 2, 3):
        (lab.folder / "beds" / f"s1.{test}").touch()
    here = {"version": "2.17.*", "arch": "x86_64"}
    listed = [
        Expectation("s1", "1", "LU-1", where=here),
        Expectation("s1", "2", "LU-2", where=here | {"version": "2.15.*"}),
        Expectation("s1", "3", "LU-3", where=here | {"arch": "aarch64"}),
    ]
    record = lab.night(night("{lustre_tests: {suites: [s1]}}"), expectations=listed)
    assert {one.test: one.verdict for one in record.findings if one.red or one.ticket} == {
        "1": "known failure",
        "2": "new failure",
        "3": "new failure",
    }
    assert dict(record.entries[0].under) == {"image": "demo", "version": "2.17.57", "arch": "x86_64"}


def test_at_its_limit_a_step_ends_after_evidence_and_the_next_has_a_fresh_bed(lab: Lab) -> None:
    record = lab.night(night(command("touch here; sleep 60", name="long", limit="5s"), command("! [ -e here ]")))
    assert [one.status for one in results(record)] == ["time-out", "pass"]
    assert results(record)[0].said == "it was ended at its limit of 5 s"
    order = [line.split()[0] for line in lab.did("run", "collect", "down", "up", "rebuild")]
    assert order == ["down", "up", "run", "collect", "rebuild", "run", "down"]


def test_what_failed_is_run_again_alone_on_a_fresh_bed(lab: Lab) -> None:
    once = lab.folder / "once"
    steps = (command(f"[ -e {once} ] || (touch {once}; false)", name="flaky"), command("false", name="broken"))
    record = lab.night(night(*steps, more="retry: 2\n"))
    assert [(one.test, one.again, one.shaky) for one in results(record)] == [
        ("flaky", ("pass", "pass"), "flaky"),
        ("broken", ("fail", "fail"), "broken"),
    ]
    assert record.product == 2
    assert lab.did("up", "rebuild") == ["up n-b1", *["rebuild n-b1 --yes --keep-new"] * 3, "rebuild n-b1 --yes"]


def test_what_failed_has_a_file_by_which_it_alone_is_repeated(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT_SLEEPS", "0")
    (lab.folder / "beds" / "s1.7").touch()
    suites = "{lustre_tests: {suites: [s1, s2], only: ['3', '7']}, name: all}"
    record = lab.night(night(suites, command("echo it; false", name="bad")))
    found = {f"{one.suite} {one.test}": one.repeat for one in results(record)}
    assert {name: file for name, file in found.items() if file} == {
        "s1 test_7": "entries/b1/all.s1.7.yaml",
        "command bad": "entries/b1/bad.yaml",
    }
    folder = lab.places.nights / record.id
    repeated = load(folder / found["s1 test_7"], workloads={"lustre_tests": Suites})
    assert (repeated.name, list(repeated.nodes)) == ("n-b1", ["client1"])
    assert [dict(one.options) for one in repeated.workloads] == [{"suites": ["s1"], "only": ["7"]}]
    written(lab.places.nights, record.name, None)
    assert "vmlab run entries/b1/all.s1.7.yaml" in (folder / "night.html").read_text()


def test_a_bed_that_cannot_be_rebuilt_comes_up_from_nothing(lab: Lab) -> None:
    lab.breaks("rebuild", "n-b1 6 what was new cannot be gone back to")
    record = lab.night(night(command("false"), more="retry: 1\n"))
    (found,) = results(record)
    assert found.again == ("fail",)
    assert lab.did("up", "rebuild", "down") == [
        *(DOWN, "up n-b1"),
        *("rebuild n-b1 --yes", DOWN, "up n-b1"),
        DOWN,
    ]


def test_faults_happen_in_time_and_stand_in_the_time_line(lab: Lab) -> None:
    faults = (
        "fault: {kind: power, nodes: client1, after: 500ms}",
        "fault: {kind: pause, nodes: client1}",
        "fault: {kind: nmi, nodes: client1, after: 1h}",
    )
    steps = [f"{{{one}}}".replace("500ms", "0.5s") for one in faults]
    record = lab.night(night(*steps, command("until grep -q add.power ../log; do sleep 0.1; done; sleep 1")))
    did = lab.did("run", "fault", "power")
    assert did[:3] == ["fault n-b1 add pause client1", "run n-b1 -o json", "fault n-b1 add power client1"]
    assert sorted(did[3:]) == ["fault n-b1 clear client1", "power n-b1 on client1"]
    injected = [one.what for one in record.time_line if one.injected]
    assert injected[:2] == ["on purpose: pause client1", "on purpose: power client1"]
    assert set(injected[2:]) == {
        "pause client1 is undone",
        "power client1 is undone",
        "nmi client1: the step was over before it",
    }


@pytest.mark.parametrize(("room", "at_once"), [(None, 3), (2 * KIB, 2), (KIB, 1), (1, 1)])
def test_as_many_beds_at_once_as_the_host_holds(room: int | None, at_once: int, lab: Lab) -> None:
    # Who comes waits for as many as there may be; nobody is to come beside them then.
    wait = f"for i in `seq 600`; do [ -e met ] || [ `ls | grep -c ^on-` -ge {at_once} ] && break; sleep 0.1; done"
    count = f"cd ..; touch on-$$; {wait}; touch met; sleep 0.3; ls | grep -c ^on- >> counts; rm on-$$"
    record = lab.night(night(command(count), entries=3), room_kib={"": room})
    assert [one.status for one in results(record)] == ["pass"] * 3
    assert max(map(int, (lab.folder / "beds" / "counts").read_text().split())) == at_once


def test_who_has_no_room_waits_until_another_is_gone(lab: Lab) -> None:
    lab.breaks("up", "n-b2 4 no CPUs are left")
    record = lab.night(night(command("sleep 0.5"), entries=2))
    assert [one.status for one in results(record)] == ["pass"] * 2
    assert (record.lab, record.status) == (0, 0)
    assert lab.did("up")[-1] == "up n-b2"


def shared(suites: int, beds: int, more: str = "") -> str:
    names = ", ".join(f"s{number}" for number in range(suites))
    step = f"{{lustre_tests: {{suites: [{names}]}}, name: all}}"
    return f"name: n\nkeep: never\n{more}entries:\n  - {{topology: small.yaml, beds: {beds}, steps: [{step}]}}\n"


def busiest(lab: Lab, record: NightRecord) -> float:
    """The part of all the time that the bed had which did most."""
    busy: dict[str, float] = {}
    for event in events(lab.places.nights / record.id):
        if event["event"] == "unit":
            bed = event["result"]["tests"][0]["bed"]
            busy[bed] = busy.get(bed, 0.0) + event["result"]["seconds"]
    return max(busy.values()) / sum(busy.values())


def test_beds_share_suites_and_the_results_are_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT_SLEEPS", "0.25")
    took = []
    for beds in (1, 3, 3):
        record = lab.night(shared(6, beds))
        ran = [test.partition(" ")[2].split() for test in lab.did("test")]
        assert len({bed for bed, _ in ran}) == beds
        assert sorted((one.suite, one.test) for one in results(record)) == sorted(
            (f"s{suite}", f"test_{test}") for suite in range(6) for test in range(12)
        )
        assert {one.status for one in results(record)} == {"pass"}
        assert (record.status, lab.beds) == (0, [])
        took.append(busiest(lab, record) if beds > 1 else 1.0)
        (lab.folder / "beds" / "log").unlink()
    assert min(took[1:]) <= 1.2 / 3  # a machine that does something else, too, spoils one of them at most


def test_a_bed_that_breaks_leaves_its_rest_to_others(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT_SLEEPS", "0.02")
    lab.breaks("run", "n-small-1 6 client1 was gone")
    lab.breaks("up", "n-small-2 6 no", "n-small-2 6 no")
    record = lab.night(shared(4, 2))
    assert {one.status for one in results(record)} == {"pass"}
    assert len(results(record)) == 48
    assert {test.split()[1] for test in lab.did("test")} == {"n-small-1"}
    assert (record.lab, record.status, lab.beds) == (0, 0, [])


def test_of_beds_that_share_one_runs_again_what_failed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT_SLEEPS", "0.02")
    (lab.folder / "beds" / "s1.7").touch()
    record = lab.night(shared(2, 2, "retry: 1\n"))
    (bad,) = [one for one in results(record) if one.status == "fail"]
    assert (bad.suite, bad.test, bad.again, bad.shaky) == ("s1", "test_7", ("pass",), "flaky")
    assert [test.split()[2] for test in lab.did("test")][-1] == "s1.7"
    assert (record.product, record.status) == (1, 8)


def test_what_beds_share_goes_on_where_it_was_cut_off(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT_SLEEPS", "0.02")
    text = shared(4, 2)
    record = lab.night(text)
    folder = lab.places.nights / record.id
    (folder / "night.json").unlink()
    journal = folder / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    second = [place for place, line in enumerate(lines) if '"event":"unit"' in line][1]
    kept = [json.loads(line)["result"]["tests"][0]["suite"] for line in lines[: second + 1] if '"unit"' in line]
    journal.write_text("".join(lines[: second + 1]))
    (lab.folder / "beds" / "log").unlink()
    again = lab.night(text, resume=True)
    assert len(results(again)) == 48
    assert {one.status for one in results(again)} == {"pass"}
    ran = {test.split()[2].partition(".")[0] for test in lab.did("test")}
    assert ran == {f"s{number}" for number in range(4)} - set(kept)


def test_where_no_bed_comes_up_nothing_ran(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT_SLEEPS", "0.02")
    lab.breaks("up", *[f"n-small-{number} 6 no" for number in (1, 2, 1, 2)])
    record = lab.night(shared(2, 2))
    assert [one.status for one in results(record)] == ["not run"] * 2
    assert (record.status, lab.beds) == (7, [])


SCRIPT = """
import sys
from pathlib import Path
from test_nightly import Lab
lab = Lab(Path(sys.argv[1]))
from vmlab.runtime.interrupt import be_interrupted
be_interrupted()
try:
    lab.night(Path(sys.argv[2]).read_text(), resume=sys.argv[3] == "resume")
except KeyboardInterrupt as error:
    print(error)
    sys.exit(130)
"""


@pytest.fixture
def apart(lab: Lab) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Nights in processes of their own."""
    begun: list[subprocess.Popen[str]] = []

    def begin(text: str, how: str = "anew") -> subprocess.Popen[str]:
        file = lab.folder / "text.yaml"
        file.write_text(text)
        path = os.pathsep.join((str(TESTS), str(TESTS / "functional")))
        argv = (sys.executable, "-c", SCRIPT, str(lab.folder), str(file), how)
        one = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)
        begun.append(one)
        return one

    yield begin
    for one in begun:
        one.kill()
        one.communicate()


def wait_for(condition: Callable[[], object]) -> None:
    assert until(lambda: bool(condition()), Deadline.after(PATIENCE_S), every_s=0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_measured_survives(
    number: signal.Signals, lab: Lab, apart: Callable[..., subprocess.Popen[str]]
) -> None:
    marks = lab.folder / "marks"
    marks.mkdir()
    steps = (
        command(f"echo x >> {marks}/$(basename $PWD)", name="first"),
        command(f"[ -e {marks}/go ] || (touch {marks}/sleeps-$$; sleep 600)", name="second"),
        command("true", name="third"),
    )
    text = night(*steps, entries=2)
    going = apart(text)
    wait_for(lambda: len(list(marks.glob("sleeps-*"))) == 2)
    sleeping = [int(path.name.removeprefix("sleeps-")) for path in marks.glob("sleeps-*")]
    going.send_signal(number)
    going.wait(timeout=PATIENCE_S)
    wait_for(lambda: not any(map(alive, sleeping)))
    (folder,) = lab.places.nights.iterdir()
    if number == signal.SIGTERM:
        assert going.returncode == 130
        assert lab.beds == []
        record = json.loads((folder / "night.json").read_text())
        assert record["incomplete"] == "interrupted"
        assert [[step["name"] for step in entry["steps"]] for entry in record["entries"]] == [["first"]] * 2
    else:
        assert not (folder / "night.json").exists()
    (marks / "go").touch()
    record = lab.night(text, resume=True)
    assert record.id == folder.name
    assert [one.status for one in results(record)] == ["pass"] * 6
    assert (record.incomplete, record.status, lab.beds) == ("", 0, [])
    assert [(marks / bed).read_text() for bed in ("n-b1", "n-b2")] == ["x\n"] * 2  # the first step was not repeated
    with pytest.raises(UsageError, match="no night n was cut off"):
        lab.night(text, resume=True)


def alive(pid: int) -> bool:
    try:
        return not re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except FileNotFoundError:
        return False


def test_a_line_that_was_cut_off_is_no_obstacle(lab: Lab) -> None:
    text = night(command("true"), keep="never")
    record = lab.night(text)
    folder = lab.places.nights / record.id
    (folder / "night.json").unlink()
    journal = folder / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    kept = next(place for place, line in enumerate(lines) if '"event":"step"' in line)
    journal.write_text("".join(lines[:kept]) + lines[kept][:40])
    again = lab.night(text, resume=True)
    assert [one.status for one in results(again)] == ["pass"]
    assert [event["event"] for event in events(folder)][kept] == "resumed"


def test_another_meaning_is_another_night(lab: Lab) -> None:
    record = lab.night(night(command("true")))
    (lab.places.nights / record.id / "night.json").unlink()
    with pytest.raises(UsageError, match="means something else than when"):
        lab.night(night(command("false")), resume=True)


def test_pages_lie_beside_the_record_and_where_they_are_wanted(lab: Lab) -> None:
    record = lab.night(night(command("false"), keep="on-failure"))
    to = lab.folder / "elsewhere"
    page = written(lab.places.nights, "n", to)
    assert page == lab.places.nights / record.id / "night.html"
    for file in ("night.html", "night.md", "junit.xml"):
        assert (to / file).read_bytes() == (page.parent / file).read_bytes()
    assert "evidence/b1/command/index.md" in page.read_text()


def test_a_night_takes_its_time_from_the_clock(lab: Lab) -> None:
    begin = time.monotonic()
    record = lab.night(night(command("sleep 600"), command("true", name="then"), more="limits: {entry: 2s}\n"))
    assert time.monotonic() - begin < PATIENCE_S
    assert [one.status for one in results(record)] == ["not run", "not run"]
    assert record.status == 7


PACKED = """
name: n
entries:
  - {topology: small.yaml, name: a, packages: debs, steps: [{command: {run: "true"}}]}
  - {topology: small.yaml, name: b, packages: [debs], steps: [{command: {run: "true"}}]}
"""


def test_packages_are_put_into_the_image_once(lab: Lab) -> None:
    (lab.folder / "debs").mkdir()
    package = lab.folder / "debs" / "tool.deb"
    package.write_text("1")
    for _ in range(2):
        assert lab.night(PACKED).status == 0
    (built,) = lab.did("image")
    assert re.fullmatch(rf"image build demo-[0-9a-f]{{12}} --from demo --packages {lab.folder}/debs", built)
    night = max(lab.places.nights.iterdir())
    assert f"image: {built.split()[2]}" in (night / "entries/a/topology.yaml").read_text()
    package.write_text("2")
    lab.night(PACKED)
    assert len(lab.did("image")) == 2


def test_packages_that_do_not_go_in_are_the_labs_fault(lab: Lab) -> None:
    (lab.folder / "debs").mkdir()
    (lab.folder / "debs" / "tool.deb").write_text("1")
    lab.breaks("image", "demo 6 tool needs libfoo", "demo 6 tool needs libfoo")
    record = lab.night(PACKED)
    assert record.status == 7
    assert {entry.lab for entry in record.entries} == {
        "the image with its packages could not be built: tool needs libfoo"
    }
    assert lab.did("up") == []
