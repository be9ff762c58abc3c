"""Figures that are judged, on the command line: the measuring itself is made up, all else is as it is."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from some_runs import DELAY, SPEED, figures, kept, some_host, some_run
from typer.testing import CliRunner

from vmlab.cli.app import app
from vmlab.judgement.references import load
from vmlab.judgement.verdicts import judge
from vmlab.metrics import Metric
from vmlab.records.run import RunRecord

BED = """
name: ha
references: refs/ha.yaml
nodes: {n1: {role: client}}
workloads: [{rdma: {}}]
"""
REFERENCES = """\
references:
  - {metric: speed, labels: {size: 1MiB}, value: 100, unit: MiB/s, lower: -0.05, reason: as of May}
"""


class Cli:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "state" / "runs"

    def __call__(self, *argv: str) -> Any:
        result = CliRunner().invoke(app, argv)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def json(self, *argv: str, status: int = 0) -> Any:
        result = self(*argv, "-o", "json")
        assert result.exit_code == status, result.output
        return json.loads(result.stdout)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    for name in ("state", "pool", "lock"):
        monkeypatch.setenv(f"VMLAB_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "test:///default")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refs").mkdir()
    (tmp_path / "ha.yaml").write_text(BED)
    (tmp_path / "refs/ha.yaml").write_text(REFERENCES)
    return Cli(tmp_path)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Let runs measure these figures; what measuring was asked for."""

    def be(*values: float) -> list[Any]:
        asked: list[Any] = []

        def measure(*_: object, **how: Any) -> RunRecord:
            asked.append(how["references"])
            run = some_run(*figures(SPEED, values, size="1048576"), workload="rdma")
            return RunRecord(**{n: getattr(run, n) for n in RunRecord.__dataclass_fields__ if n != "verdicts"})

        monkeypatch.setattr("vmlab.lab.measuring.run.measure", measure)
        return asked

    return be


def test_a_miss_ends_with_8_and_names_the_number_the_bound_and_the_line(
    cli: Cli, measured: Callable[..., list[Any]]
) -> None:
    measured(90, 91, 99)
    missed = cli("run", "ha.yaml")
    assert missed.exit_code == 8
    told = "91 MiB/s, the median of 3, is below the bound 95 MiB/s (100 -5 %)"
    assert f"rdma speed size=1MiB: {told}: {cli.folder}/refs/ha.yaml:2, as of May" in missed.stderr
    assert missed.stdout.index("MEDIAN") < missed.stdout.index("judged by references")
    assert "missed" in missed.stdout
    measured(96)
    assert cli("run", "ha.yaml", "rdma").exit_code == 0


def test_a_named_file_counts_instead_of_the_topologys(cli: Cli, measured: Callable[..., list[Any]]) -> None:
    asked = measured(96)
    (cli.folder / "other.yaml").write_text(REFERENCES.replace("100", "200").replace("1MiB", "2MiB"))
    absent = cli("run", "ha.yaml", "--judge", "other.yaml")
    assert (absent.exit_code, asked[0][0].value) == (7, 200)
    assert "no such figure was measured: other.yaml:2" in absent.stderr


@pytest.mark.parametrize("argv", [["run", "ha.yaml"], ["run", "ha.yaml", "rdma", "--judge", "bad.yaml"]])
def test_bad_references_are_refused_before_anything_is_measured(
    cli: Cli, measured: Callable[..., list[Any]], argv: list[str]
) -> None:
    asked = measured(96)
    for file in ("refs/ha.yaml", "bad.yaml"):
        (cli.folder / file).write_text(REFERENCES.replace("-0.05", "5").replace("metric", "metrik"))
    refused = cli(*argv)
    assert (refused.exit_code, asked) == (3, [])
    assert refused.stderr.count(":2:") == 2  # both that is wrong
    (cli.folder / "refs/ha.yaml").unlink()
    assert ("cannot be read" in cli("run", "ha.yaml").stderr, asked) == (True, [])


def test_references_for_other_hosts_judge_nothing_and_that_is_told(
    cli: Cli, measured: Callable[..., list[Any]]
) -> None:
    measured(1)
    (cli.folder / "refs/ha.yaml").write_text("host: {cpu: '*EPYC*'}\n" + REFERENCES)
    done = cli("run", "ha.yaml")
    assert done.exit_code == 0
    assert "1 for other hosts: the reference is for the host's cpu *EPYC*" in done.stdout
    assert "nothing was judged" in done.stdout


def test_a_run_that_is_shown_later_has_its_verdicts(cli: Cli) -> None:
    (cli.folder / "refs.yaml").write_text(REFERENCES)
    run = some_run(*figures(SPEED, [90], size="1048576"))
    judged = RunRecord(
        **{n: getattr(run, n) for n in RunRecord.__dataclass_fields__ if n != "verdicts"},
        verdicts=judge([run], load(Path("refs.yaml"))),
    )
    name = kept(cli.runs, judged)
    assert cli.json("results", "show", name)["verdicts"][0]["verdict"] == "missed"
    assert "judged by references" in cli("results", "show", name).stdout


def test_a_runs_figures_become_references_that_it_keeps_to(cli: Cli, measured: Callable[..., list[Any]]) -> None:
    assert "there are no runs yet" in cli("results", "reference").stderr
    run = some_run(*figures(SPEED, [100], size="1048576"), *figures(DELAY, [7]), workload="rdma")
    name = kept(cli.runs, run)
    assert cli("results", "reference", "--from", name, "-o", "new.yaml", "--lower", "10%").exit_code == 0
    text = (cli.folder / "new.yaml").read_text()
    assert ("lower: -0.1" in text, "size: 1MiB" in text) == (True, True)
    assert cli("results", "reference", "--upper", "none").stdout.count("upper: null") == 2
    again = cli("results", "reference", "-o", "new.yaml")
    assert (again.exit_code, "may have been edited" in again.stderr) == (2, True)
    for wrong in ("5", "ten%", "101%", "-5%"):
        assert cli("results", "reference", f"--lower={wrong}").exit_code == 2
    (cli.folder / "new.yaml").write_text(text[: text.index("  # one trial, lower")])
    measured(91)
    assert cli("run", "ha.yaml", "rdma", "--judge", "new.yaml").exit_code == 0
    measured(89)
    assert cli("run", "ha.yaml", "rdma", "--judge", "new.yaml").exit_code == 8


FAST, SLOW = (100, 101, 99, 100.5), (90, 91, 89, 90.5)


def test_a_run_that_is_worse_ends_with_8(cli: Cli) -> None:
    before = kept(cli.runs, some_run(*figures(SPEED, FAST, size="1048576"), *figures(DELAY, FAST)))
    after = kept(cli.runs, some_run(*figures(SPEED, SLOW, size="1048576"), *figures(DELAY, FAST), day=1))
    worse = cli("results", "compare", before, after)
    assert worse.exit_code == 8
    assert "speed size=1MiB: 100.2, then 90.25 MiB/s, -9.98 %, p 0.029" in worse.stderr
    assert "Mann-Whitney U test, two-sided, at 5%" in worse.stdout
    assert [line.split()[0] for line in worse.stdout.splitlines()[2:4]] == ["worse", "no"]
    told = cli.json("results", "compare", before, after, status=8)
    assert [(one["metric"], one["verdict"]) for one in told["figures"]] == [
        ("speed", "worse"),
        ("delay", "no difference"),
    ]
    assert cli("results", "compare", after, before).exit_code == 0


def test_a_run_beside_those_before_it(cli: Cli) -> None:
    names = [kept(cli.runs, some_run(*figures(SPEED, [v + d / 10 for v in FAST]), day=d)) for d in range(4)]
    kept(cli.runs, some_run(*figures(SPEED, SLOW), day=4, bed="other"))
    latest = kept(cli.runs, some_run(*figures(SPEED, SLOW), day=5))
    told = cli.json("results", "compare", latest, "--last", "3", status=8)
    assert (told["before"], told["after"]) == (names[1:], latest)
    assert told["figures"][0]["before"]["trials"] == 12
    assert (
        f"3 runs from {names[1]} to {names[3]}, then {latest}"
        in cli("results", "compare", latest, "--last", "3").stdout
    )


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["{0}"], "two runs, or one and --last N"),
        (["{0}", "{1}", "--last", "2"], "two runs, or one and --last N"),
        (["{0}", "--last", "2"], "no run before"),
        (["{0}", "{1}"], "they have no figure in common"),
        (["{0}", "none"], "there is no run 'none'"),
    ],
)
def test_what_cannot_be_compared(cli: Cli, argv: list[str], why: str) -> None:
    one = kept(cli.runs, some_run(*figures(SPEED, FAST)))
    other = kept(cli.runs, some_run(*figures(DELAY, FAST), day=1))
    refused = cli("results", "compare", *(word.format(one, other) for word in argv))
    assert (refused.exit_code, why in refused.stderr) == (2, True)


def test_a_metric_over_weeks(cli: Cli) -> None:
    names = [
        kept(cli.runs, some_run(*figures(SPEED, [(100 if day < 6 else 80) + day % 2], size="1048576"), day=day))
        for day in range(12)
    ]
    kept(cli.runs, some_run(*figures(SPEED, [1], size="4096"), day=13, bed="other"))
    told = cli.json("results", "trend", "speed", "--bed", "ha", "--where", "size=1MiB")
    (series,) = told["series"]
    assert [point["run"] for point in series["points"]] == names
    assert [(change["run"], change["verdict"]) for change in series["changes"]] == [(names[6], "worse")]
    shown = cli("results", "trend", "speed", "--workload", "copy").stdout
    assert next(line for line in shown.splitlines() if "worse -19.9 %" in line).startswith(names[6])
    assert "other: copy speed size=4KiB" in shown
    assert "1 run is too few to look for changes: 8 are needed" in shown
    assert "changes: PELT, least squares, penalty 4 s^2 ln n" in shown
    assert len(cli.json("results", "trend", "speed", "--since", "2026-11-08T00:00+00:00")["series"][0]["points"]) == 5


@pytest.mark.parametrize("option", ["--where=size", "--since=soon", "--bed=ha[", "--bed=none", "--workload=none"])
def test_a_trend_of_nothing(cli: Cli, option: str) -> None:
    kept(cli.runs, some_run(*figures(SPEED, [1])))
    refused = cli("results", "trend", "speed", option)
    assert (refused.exit_code, "hint: " in refused.stderr or "no time" in refused.stderr) == (2, True)


PAGE = (Path(__file__).parents[2] / "docs" / "results.md").read_text().partition("\n## Judging\n")[2]
BANDWIDTH = Metric("bandwidth", "MiB/s", "higher", "bandwidth")


def shown_on_page(after: str) -> str:
    return PAGE.partition(after)[2].partition("```\n")[0]


def measured_by_ior(write: Sequence[float], read: Sequence[float], day: int = 0) -> RunRecord:
    samples = [*figures(BANDWIDTH, write, operation="write", size="1048576")]
    samples += figures(BANDWIDTH, read, operation="read", size="1048576")
    return some_run(*samples, workload="ior", day=day, hosts=(some_host("kvm1"),))


def test_the_page_shows_what_happens(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (cli.folder / "refs.yaml").write_text(shown_on_page("```yaml\n"))
    record = measured_by_ior([8901, 8950, 8850], [10000, 10100, 9900])
    monkeypatch.setattr("vmlab.lab.measuring.run.measure", lambda *_, **__: record)
    done = cli("run", "ha", "ior", "--judge", "refs.yaml")
    assert (done.exit_code, done.stderr) == (8, shown_on_page("ends the command with 8:\n\n```\n"))


def test_the_page_shows_how_runs_compare(cli: Cli) -> None:
    before = kept(cli.runs, measured_by_ior([9400, 9480, 9520, 9600], [9900, 9980, 10020, 10100]))
    after = kept(cli.runs, measured_by_ior([8801, 8881, 8921, 9001], [9915, 9995, 10025, 10105], day=1))
    text = cli("results", "compare", before, after).stdout
    assert shown_on_page("--last 5\n```\n\n```\n") in text


def test_known_failures_are_written_listed_and_taken_out(cli: Cli) -> None:
    add = ("expected", "add", "expected.yaml", "sanity", "27J", "test_270a", "--ticket", "LU-18102")
    assert cli(*add, "--where", "backend=zfs", "--flaky", "0.1").exit_code == 0
    file = cli.folder / "expected.yaml"
    file.chmod(0o640)
    file.write_text(f"# Ours.\n{file.read_text()}")
    assert [(one["test"], one["flaky"], one["where"]) for one in cli.json("expected", "list", "expected.yaml")] == [
        ("27J", 0.1, {"backend": "zfs"}),
        ("270a", 0.1, {"backend": "zfs"}),
    ]
    before = file.read_text()
    for argv, status, told in (
        ((*add, "--where", "backend=zfs"), 3, "expected.yaml:4:5: sanity 27J is in line 3 already"),
        ((*add[:-1], "later"), 3, "'later' is no ticket"),
        ((*add, "--where", "zfs"), 2, "--where 'zfs' is no condition"),
        (("expected", "rm", "expected.yaml", "sanity", "1"), 2, "does not list sanity 1"),
        (("expected", "rm", "absent.yaml", "sanity", "1"), 3, "absent.yaml:1:1: cannot be read"),
    ):
        result = cli(*argv)
        assert (result.exit_code, told in result.stderr) == (status, True), result.stderr
        assert file.read_text() == before
    gone = cli("expected", "rm", "expected.yaml", "sanity", "27J")
    assert "sanity 27J (LU-18102) is not expected to fail any more" in gone.stderr
    assert (file.read_text().splitlines()[0], file.stat().st_mode & 0o777) == ("# Ours.", 0o640)
    assert "270a" in cli("expected", "list", "expected.yaml").stdout
