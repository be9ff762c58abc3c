"""What every command has in common: help, examples, environment variables, quick start."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import vmlab
from vmlab.cli.app import _SECTIONS, app
from vmlab.cli.options import at_once, duration

RUNNER = CliRunner()
HEAVY = {
    "libvirt", "lxml", "pydantic", "rich", "ClusterShell", "yaml", "numpy", "scipy", "ruptures",
    "vmlab.lab", "vmlab.virt", "vmlab.topology", "vmlab.judgement",
}  # fmt: skip
# What commands that only look at libvirt do without, besides.
SPARED = HEAVY - {"libvirt", "lxml", "vmlab.lab", "vmlab.virt"} | {
    "tenacity", "highspy", "cryptography", "pycdlib", "typing_extensions", "logging.handlers", "json",
    "vmlab.guest", "vmlab.placement", "vmlab.workloads", "vmlab.runtime.process", "vmlab.runtime.lock",
}  # fmt: skip


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, member in command.commands.items():
        yield from leaves(member, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_an_example_of_the_command_itself(path: tuple[str, ...]) -> None:
    result = RUNNER.invoke(app, [*path, "--help"])
    assert result.exit_code == 0, result.output
    _, _, examples = result.output.partition("Example")
    assert f"    vmlab {' '.join(path)}" in examples or f"vmlab {' '.join(path)} " in examples


@pytest.mark.parametrize("path", [(), ("fs",), *COMMANDS], ids=" ".join)
def test_help_names_the_log(path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path))
    said = RUNNER.invoke(app, [*path, "--help"], terminal_width=200).output
    assert said.rstrip().endswith(f"The log: {tmp_path}/vmlab.log")


def test_all_variables_are_told() -> None:
    said = RUNNER.invoke(app, ["help", "environment"]).output
    assert re.search(r"^  VMLAB_ACCEL +plan, up, rebuild, run, nightly, submit, image build$", said, re.MULTILINE)
    source = "".join(path.read_text() for path in Path(vmlab.__file__).parent.rglob("*.py"))
    asked = set(re.findall(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"", source))
    options = {p.envvar for command in COMMANDS.values() for p in command.params if getattr(p, "envvar", None)}
    assert {"VMLAB_STATE_DIR", "NO_COLOR", "LIBVIRT_DEFAULT_URI"} <= asked
    for name in asked | options:
        assert f"\n  {name}" in said, name


def test_help_of_a_command_is_its_help() -> None:
    for path in (["fs", "mount"], ["status"], ["fs"], []):
        assert RUNNER.invoke(app, ["help", *path]).output == RUNNER.invoke(app, [*path, "--help"]).output
    assert RUNNER.invoke(app, ["help", "fs", "fly"]).exit_code == 2


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_short_help_is_not_cut_off(path: tuple[str, ...]) -> None:
    assert not COMMANDS[path].get_short_help_str(62).endswith("...")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_option_has_its_variable(path: tuple[str, ...]) -> None:
    for parameter in COMMANDS[path].params:
        if parameter.param_type_name == "option":
            long = next(name for name in parameter.opts if name.startswith("--"))
            if long == "--set":  # it means something else for each command
                assert parameter.envvar is None
                continue
            assert parameter.envvar == f"VMLAB_{long[2:].replace('-', '_').upper()}", long


def test_help_lists_all_commands_and_the_statuses() -> None:
    said = RUNNER.invoke(app, ["--help"]).output
    for path in COMMANDS:
        assert f"\n  {path[0]} " in said
    for status in ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "130"):
        assert f"\n    {status} " in said


@pytest.mark.parametrize(
    ("argv", "asked"),
    [
        (["--help"], {}),
        (["--version"], {}),
        (["status", "--help"], {}),
        (["image", "import", "--help"], {}),
        ([], {"_VMLAB_COMPLETE": "complete_bash", "COMP_WORDS": "vmlab sta", "COMP_CWORD": "1"}),
        ([], {"_VMLAB_COMPLETE": "complete_bash", "COMP_WORDS": "vmlab up mini", "COMP_CWORD": "2"}),
    ],
)
def test_nothing_heavy_is_imported_before_a_command_runs(argv: list[str], asked: dict[str, str]) -> None:
    assert not imported(argv, **asked) & HEAVY


@pytest.mark.parametrize("argv", [["list"], ["status", "ha", "--no-guests"]], ids=" ".join)
def test_who_only_looks_pays_for_nothing_else(argv: list[str], tmp_path: Path) -> None:
    modules = imported(argv, LIBVIRT_DEFAULT_URI="test:///default", VMLAB_STATE_DIR=str(tmp_path))
    assert "libvirt" in modules
    # There is no bed ha, and to say which name is near takes words of the topology's.
    assert modules & SPARED <= {"vmlab.topology"}


@pytest.mark.parametrize("group", ["fs", "image", "results"])
def test_what_is_below_a_word_has_no_options_of_the_whole_program(group: str) -> None:
    assert "--install-completion" not in RUNNER.invoke(app, [group, "--help"]).output


@pytest.mark.parametrize(
    ("argv", "module"),
    [(["list"], "beds"), (["workloads", "--help"], "measuring"), (["lnet", "show", "--help"], "lnet")],
)
def test_only_the_module_of_the_command_is_imported(argv: list[str], module: str, tmp_path: Path) -> None:
    modules = imported(argv, LIBVIRT_DEFAULT_URI="test:///default", VMLAB_STATE_DIR=str(tmp_path))
    verbs = {place.partition(".")[0] for section in _SECTIONS.values() for place in section.values()} - {"shells"}
    assert {verb for verb in verbs if f"vmlab.cli.{verb}" in modules} == {module}


def imported(argv: list[str], **variables: str) -> set[str]:
    """The modules that a whole command imports."""
    told = "import os, sys; os._exit = lambda _: print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run(
        (sys.executable, "-c", f"{told}\nfrom vmlab.cli.app import main\nmain()", *argv),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},
    )
    modules = set(ran.stderr.splitlines()[-1].split())
    assert "typer" in modules
    return modules


def test_without_a_command_the_help_is_shown() -> None:
    result = RUNNER.invoke(app, [])
    assert result.exit_code == 2
    assert "Exit statuses" in result.output


@pytest.mark.parametrize(
    "argv",
    [
        ["no-such-command"],
        ["up"],
        ["up", "minimal", "--accel", "warp"],
        ["up", "minimal", "--timeout", "soon"],
        ["up", "minimal", "--timeout", "0s"],
        ["up", "minimal", "-j", "0"],
        ["plan", "minimal", "--set", "image"],
        ["plan", "minimal", "--set", "nodes.oss9.cpus=2"],
        ["plan", "minimal", "--set", "nodes.oss1=2"],
        ["power", "explode", "ha"],
        ["validate", "no-such-file.yaml"],
        ["graph", "minimal", "-o", "bed.gif"],
        ["status", "no bed's name"],
        ["workloads", "no-such-workload"],
        ["run", "no-such-bed"],
        ["run", "ha", "rdma", "--set", "verbs"],
        ["run", "ha", "rdma", "--set", "verb=write"],
        ["rebuild", "no-such-bed"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2(argv: list[str]) -> None:
    result = RUNNER.invoke(app, argv)
    assert result.exit_code == 2, result.output
    assert result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0), (600.0, 600.0)]
)
def test_durations(text: str | float, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(("text", "jobs"), [("auto", 0), ("1", 1), (32, 32), ("1024", 1024)])
def test_nodes_at_a_time(text: str | int, jobs: int) -> None:
    assert at_once(text) == jobs


@pytest.mark.parametrize("text", ["0", "-1", "1025", "many", "", "1.5", "१"])
def test_nodes_at_a_time_that_are_no_number(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="neither auto nor a number"):
        at_once(text)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    ran = subprocess.run(
        (sys.executable, "-m", "vmlab", "completion", shell), capture_output=True, text=True, check=True
    )
    assert "_VMLAB_COMPLETE=complete_" in ran.stdout
