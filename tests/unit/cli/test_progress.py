"""What `up` looks like while it goes on."""

import io
import os
import pty
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from vmlab.report.live import Lines
from vmlab.report.progress import Plain

if TYPE_CHECKING:
    from vmlab.lab.ground.progress import Progress


def drawn(lines: Lines, console: Console) -> list[str]:
    with console.capture() as captured:
        console.print(lines)
    return [line.rstrip() for line in captured.get().splitlines()]


def terminal(height: int = 24) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, height=height, color_system=None)


def test_both_are_progress() -> None:
    kinds: list[Progress] = [Plain(io.StringIO()), Lines(terminal(), ("oss1",))]
    assert len(kinds) == 2


def test_plain_lines_have_seconds_node_and_stage() -> None:
    stream = io.StringIO()
    progress = Plain(stream)
    progress.stage("oss1", "ssh")
    progress.say("five guests")
    progress.warn("slow")
    one, two, three = stream.getvalue().splitlines()
    assert re.fullmatch(r"\[ +\d+\.\d s\] oss1: ssh", one)
    assert re.fullmatch(r"\[ +\d+\.\d s\] five guests", two)
    assert three == "vmlab: warning: slow"


def test_plain_lines_of_many_threads_stay_whole() -> None:
    stream = io.StringIO()
    progress = Plain(stream)
    threads = [
        threading.Thread(target=lambda n=n: [progress.stage(f"n{n}", "boot") for _ in range(200)]) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1600
    assert all(re.fullmatch(r"\[ +\d+\.\d s\] n\d: boot", line) for line in lines)


def test_one_live_line_per_node() -> None:
    console = terminal()
    lines = Lines(console, ("oss1", "oss2"))
    lines.stage("oss1", "ready")
    one, two = drawn(lines, console)
    assert re.fullmatch(r"● +oss1 +ready +\d\.\d s", one)
    assert re.fullmatch(r"○ +oss2 +waiting +\d\.\d s", two)


def test_nodes_that_are_ready_fold_when_the_terminal_is_too_low() -> None:
    console = terminal(height=10)
    names = tuple(f"n{number:03}" for number in range(200))
    lines = Lines(console, names)
    for name in names[:190]:
        lines.stage(name, "ready")
    shown = drawn(lines, console)
    assert len(shown) <= 10
    assert not any("n000" in line for line in shown)
    assert any("n190" in line for line in shown)
    assert shown[-1] == "190 of 200 nodes are done, 4 more are not"


LIVE = """
from vmlab.report.progress import shown
from vmlab.runtime.wait import sleep
with shown(("oss1",)) as progress:
    progress.stage("oss1", "ssh")
    sleep(0.4)
    progress.warn("slow")
    progress.stage("oss1", "ready")
"""


FILLED = """
from dataclasses import replace
from vmlab.lab.beds.status import NodeStatus
from vmlab.report.progress import filled
from vmlab.runtime.wait import sleep
node = NodeStatus("oss1", ("oss",), "running", "", 1, 512, "any", (), {}, (), "demo", "")
with filled([node, replace(node, name="oss2")], live=True) as tell:
    sleep(0.4)
    tell(replace(node, stage="ready"))
    sleep(0.4)
print("over")
"""


def on_a_terminal(code: str = LIVE, **env: str) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        (sys.executable, "-c", code),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm", **env},
    )
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 4096):
            said += part
    except OSError:
        pass
    assert process.wait(30) == 0
    os.close(ours)
    return said.decode()


def test_a_terminal_gets_lines_that_are_redrawn() -> None:
    said = on_a_terminal()
    assert "ssh" in said
    assert "ready" in said
    assert "warning: slow" in said
    assert "\x1b[1A" in said or "\x1b[2K" in said
    assert "\x1b[36m" in said


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_they_are_not_wanted(env: dict[str, str]) -> None:
    said = on_a_terminal(**env)
    assert "ready" in said
    assert not re.search(r"\x1b\[[349][0-9]m", said)


def test_the_rows_of_status_are_there_before_guests_answer() -> None:
    said = on_a_terminal(FILLED)
    first, answered = said.index("oss1"), said.index("ready")
    assert re.search(r"oss2 .*running", said[first:answered])
    rows, _, after = said.partition("over")
    assert rows.rstrip().endswith("\x1b[2K")  # the rows are gone again: the whole table comes now
    assert "oss" not in after


def test_rows_stay_away_from_terminals_that_cannot_redraw() -> None:
    assert on_a_terminal(FILLED, TERM="dumb").split() == ["over"]
