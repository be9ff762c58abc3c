"""What holds for each workload, and how its options are read."""

import subprocess
import sys
from pathlib import Path

import pytest

from vmlab.errors import UsageError
from vmlab.workloads import options_by_name, warnings, workloads
from vmlab.workloads._options import describe, parse_set, validated

CASES = Path(__file__).parents[2] / "cases"
RDMA = workloads()["rdma"]


@pytest.mark.parametrize("name", workloads())
def test_each_workload_has_cases_of_each_kind(name: str) -> None:
    for kind in ("good", "truncated", "failed"):
        assert list((CASES / name / kind).glob("*.txt")), f"tests/cases/{name}/{kind} has no recorded output"


@pytest.mark.parametrize("name", workloads())
def test_each_workload_says_what_it_is(name: str) -> None:
    told = describe(workloads()[name])
    assert told.summary
    assert told.metrics
    assert all(option.help and option.form for option in told.options)
    config = options_by_name()[name].model_config
    assert config.get("frozen")
    assert config.get("extra") == "forbid"
    assert validated(workloads()[name], {}) == options_by_name()[name]()


def test_options_from_the_command_line() -> None:
    settings = parse_set(
        RDMA, ["verbs=write,read", "iterations=200", "from=oss[1-2],mds1", "both=true", "sizes=[64B, 1MiB]"]
    )
    assert settings == {
        "verbs": ["write", "read"],
        "iterations": 200,
        "from": "oss[1-2],mds1",
        "both": True,
        "sizes": ["64B", "1MiB"],
    }
    options = validated(RDMA, settings)
    assert [str(size) for size in options.sizes] == ["64B", "1MiB"]
    assert parse_set(RDMA, ["sizes=64KiB"]) == {"sizes": ["64KiB"]}
    assert parse_set(RDMA, ["sizes=all"]) == {"sizes": "all"}


def test_a_command_that_begins_with_a_bracket_is_one() -> None:
    command = workloads()["command"]
    assert parse_set(command, ["run=[ -e done ] && echo 1"]) == {"run": "[ -e done ] && echo 1"}
    assert parse_set(command, ["run=[true, 'false']"]) == {"run": [True, "false"]}
    assert validated(RDMA, {"sizes": "all"}).sizes == "all"
    assert validated(RDMA, {"sizes": ["4k", "1m", "1KB"]}).sizes == (4096, 1 << 20, 1000)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("verb=write", r"rdma has no option 'verb' \(did you mean `verbs`\? One of verbs, "),
        ("from_=oss1", r"rdma has no option 'from_' \(did you mean `from`\? One of verbs, "),
        ("verbs", "has no value"),
        ("iterations=[", "is no YAML value"),
    ],
)
def test_wrong_settings(pair: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_set(RDMA, [pair])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"iterations": 4}, "iterations: .* 5"),
        ({"verbs": ["wipe"]}, "verbs: "),
        ({"verbs": []}, "verbs: "),
        ({"sizes": ["8XB"]}, "8XB"),
        ({"sizes": ["8GB"]}, "no message size"),
        ({"sizes": ["2g"]}, "2GiB is no message size .expected 1B to 1GiB"),
        ({"sizes": ["4GiB"]}, "no message size"),
        ({"sizes": "all", "duration_s": 5}, "duration_s needs a list of sizes"),
        ({"from": "oss[1-"}, "from: .* is no node set"),
        ({"form": "oss1"}, r"form: no such option \(did you mean `from`\? One of verbs, "),
    ],
)
def test_wrong_options(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        validated(RDMA, settings)
    assert "\n" not in caught.value.message


def test_a_workload_from_elsewhere_and_a_broken_one(tmp_path: Path) -> None:
    """Real entry points of an installed distribution: one works, one cannot be imported; the others are there."""
    info = tmp_path / "lab_kinds-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-kinds\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[vmlab.workloads]\nours = lab_ours\nbroken = lab_broken\n")
    (tmp_path / "lab_broken.py").write_text("import nosuchmodule\n")
    (tmp_path / "lab_ours.py").write_text(
        "from pydantic import BaseModel\n"
        "from vmlab.workloads import Workload, register\n"
        "class Options(BaseModel): ...\n"
        "@register\n"
        "class Ours(Workload[Options]):\n"
        "    name = 'ours'; summary = 'ours'; metrics = (); options = Options\n"
        "    def takes_part(self, options, nodes): return ()\n"
        "    def measurements(self, options, nodes): return ()\n"
        "    def parse(self, options, measurement, outputs): return ()\n"
    )
    code = "from vmlab.workloads import warnings, workloads; print(*workloads()); print(*warnings(), sep='\\n')"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tmp_path)}
    ).stdout.splitlines()
    names, *warned = said
    assert names.split() == sorted({*workloads(), "ours"})
    assert warned == [
        "the workload broken (lab_broken) cannot be used: ModuleNotFoundError: No module named 'nosuchmodule'"
    ]
    assert warnings() == ()
