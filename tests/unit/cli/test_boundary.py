"""Errors as messages and exit statuses: the one boundary."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vmlab import errors
from vmlab.cli.app import Root
from vmlab.report.errors import tell

ERRORS = [
    errors.UsageError("u"),
    errors.TopologyError([errors.Problem("f.yaml", 3, 4, "wrong")]),
    errors.HostError("h"),
    errors.LibvirtError("l"),
    errors.GuestError("g", node="oss1", stage="ssh"),
    errors.WorkloadError("w"),
    errors.ReferenceMissed("r"),
    errors.BusyError("b"),
]


def told(error: errors.VmlabError) -> str:
    stream = io.StringIO()
    tell(error, stream)
    return stream.getvalue()


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_status_is_the_error_s(error: errors.VmlabError) -> None:
    app = typer.Typer(cls=Root, rich_markup_mode=None)

    @app.callback()
    def nothing() -> None: ...

    @app.command()
    def fail() -> None:
        raise error

    result = CliRunner().invoke(app, ["fail"])
    assert result.exit_code == error.status
    assert error.message in result.stderr
    assert result.stdout == ""


def test_message_cause_console_and_hint_in_this_order() -> None:
    causes = [
        errors.GuestError(
            f"{node}: no ssh after 60 s", node=node, stage="ssh", console=("Booting", "panic"), hint="vmlab status ha"
        )
        for node in ("oss1", "oss2")
    ]
    assert told(errors.together(causes, "ha: not all nodes came up")).splitlines() == [
        "vmlab: ha: not all nodes came up",
        "  oss1: no ssh after 60 s",
        "  oss2: no ssh after 60 s",
        "  console of oss1:",
        "  | Booting",
        "  | panic",
        "  console of oss2:",
        "  | Booting",
        "  | panic",
        "hint: vmlab status ha",
    ]


def test_node_is_named_when_its_message_does_not() -> None:
    causes = [errors.GuestError("cut off", node=node, stage="ssh") for node in ("oss1", "oss2")]
    assert "  oss2: cut off\n" in told(errors.together(causes, "failed"))


def test_topology_problems_are_lines_that_an_editor_reads() -> None:
    error = errors.TopologyError([errors.Problem("f.yaml", 3, 4, "wrong"), errors.Problem("f.yaml", 9, 1, "too")])
    assert told(error) == "f.yaml:3:4: wrong\nf.yaml:9:1: too\n"


def test_guests_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in told(errors.GuestError("\x1b[2J", node="n", stage="ssh", console=("\x1b]0;title\x07",)))


def test_colours_only_on_a_terminal_and_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    coloured = Terminal()
    tell(errors.HostError("no"), coloured)
    assert coloured.getvalue() == "\x1b[31mvmlab: no\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    tell(errors.HostError("no"), plain)
    assert plain.getvalue() == "vmlab: no\n"


def process(code: str, tmp_path: Path, *argv: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        (sys.executable, "-c", f"import vmlab.cli.beds\n{code}\nfrom vmlab.cli.app import main\nmain()", *argv),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VMLAB_STATE_DIR": str(tmp_path)},
    )


BROKEN = """
import vmlab.lab.beds.status
def beds(host): raise ValueError("of a kind\\nthat nobody foresaw")
vmlab.lab.beds.status.beds = beds
"""
SLEEPING = """
import signal, threading, time, vmlab.lab.beds.status
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, as a nightly run, ignores it
def beds(host):
    threading.Thread(target=time.sleep, args=(60,)).start()
    print("asleep", flush=True)
    time.sleep(60)
vmlab.lab.beds.status.beds = beds
"""
TALKING = """
import vmlab.lab.beds.status
from vmlab.lab.beds.status import BedLine
vmlab.lab.beds.status.beds = lambda host: [BedLine(f"bed{i}", 1, 1, 1) for i in range(20_000)]
"""


def test_a_bug_is_one_line_and_a_traceback_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "test:///default")
    ran = process(BROKEN, tmp_path, "list")
    out, err = ran.communicate(timeout=60)
    log = tmp_path / "vmlab.log"
    assert (ran.returncode, out) == (1, "")
    assert err == f"vmlab: internal error: ValueError: of a kind that nobody foresaw; see {log}\n"
    assert "Traceback" in log.read_text()


def test_an_interrupt_ends_at_once_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "test:///default")
    ran = process(SLEEPING, tmp_path, "list")
    assert ran.stdout is not None
    assert ran.stdout.readline() == "asleep\n"
    ran.send_signal(signal.SIGINT)
    _, err = ran.communicate(timeout=10)
    assert ran.returncode == 130
    assert err.strip() == "vmlab: interrupted"


def test_a_closed_pipe_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "test:///default")
    ran = process(TALKING, tmp_path, "list", "-o", "json")
    assert ran.stdout is not None
    assert ran.stdout.readline() == "[\n"
    ran.stdout.close()
    ran.wait(timeout=60)
    assert ran.stderr is not None
    assert ran.stderr.read() == ""


@pytest.mark.parametrize("argv", [["--help"], ["list", "-o", "json"]], ids=" ".join)
def test_output_that_cannot_be_written_is_no_success(argv: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            (sys.executable, "-m", "vmlab", *argv),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "LIBVIRT_DEFAULT_URI": "test:///default", "VMLAB_STATE_DIR": str(tmp_path)},
        )
    assert ran.returncode not in (0, 120)
    assert "No space left on device" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
