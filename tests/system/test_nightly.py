"""A night of two beds of guests: a command that fails, vmlab killed in between, and gone on with."""

import json
import signal
from pathlib import Path

from vmlab.runtime.wait import Deadline, until

from .conftest import Vmlab, remains

BED = "name: one\nnodes: {c1: {role: client, memory: 512MiB}}\n"
NIGHT = """
name: t-night
retry: 2
entries:
  - topology: one.yaml
    name: a
    steps:
      - {command: {run: "date +%s%N"}, name: first}
      - fault: {kind: pause, nodes: c1, after: 1s, lasts: 3s}
      - {command: {run: "sleep 5; echo it is broken; exit 3"}, name: bad}
  - topology: one.yaml
    name: b
    steps: [{command: {run: "! [ -e /run/none ]"}, name: good}]
"""
KILLED_AFTER_S = 300


def journal(vmlab: Vmlab, others: set[Path]) -> list[dict[str, object]]:
    """That of the only night that is none of the others."""
    found = [path for path in (vmlab.state / "nights").glob("*/journal.jsonl") if path.parent not in others]
    return [json.loads(line) for path in found for line in path.read_text().splitlines()]


def test_a_night_survives_sigkill(vmlab: Vmlab, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(BED)
    file = tmp_path / "night.yaml"
    file.write_text(NIGHT)
    others = set((vmlab.state / "nights").glob("*"))
    going = vmlab.start("nightly", str(file), "--accel", "tcg")

    def reached() -> bool:
        events = journal(vmlab, others)
        measured = any(event["event"] == "step" for event in events if event.get("entry") == "a")
        return going.poll() is not None or measured

    try:
        assert until(reached, Deadline.after(KILLED_AFTER_S))
        assert going.poll() is None, going.communicate()
        going.send_signal(signal.SIGKILL)
        going.communicate()
        before = [event for event in journal(vmlab, others) if event["event"] == "step"]
        assert before
        vmlab.run("nightly", str(file), "--accel", "tcg", "--resume", "--to", str(tmp_path / "to"), status=8)
        (folder,) = set((vmlab.state / "nights").iterdir()) - others
        record = json.loads((folder / "night.json").read_text())
        tests = {test["test"]: test for entry in record["entries"] for step in entry["steps"] for test in step["tests"]}
        assert {name: test["status"] for name, test in tests.items()} == {
            "first": "pass",
            "bad": "fail",
            "good": "pass",
        }
        assert (tests["bad"]["excerpt"], tests["bad"]["again"]) == ("it is broken", ["fail", "fail"])
        # Each time on a fresh bed: made anew at first, and then gone back to.
        told = (folder / "entries/a/messages.log").read_text()
        ways = [line.partition("rebuilt: ")[2].split()[0] for line in told.splitlines() if "rebuilt: " in line]
        assert (len(ways), ways[1]) == (2, "revert")
        assert (record["product"], record["lab"], record["incomplete"]) == (1, 0, "")
        results = [event for event in journal(vmlab, others) if event["event"] == "step"]
        assert results[: len(before)] == before
        assert len(results) == 3  # nothing was measured twice
        injected = [line["what"] for line in record["time_line"] if line["injected"]]
        assert injected[-2:] == ["on purpose: pause c1", "pause c1 is undone"]
        evidence = folder / "evidence/a/bad/c1"
        assert (evidence / "console.log").read_text().strip()
        assert (evidence / "dmesg.txt").exists() or (evidence / "dmesg.txt.gz").exists()
        assert {path.name for path in (tmp_path / "to").iterdir()} == {"junit.xml", "night.html", "night.md"}
        assert [line["name"] for line in vmlab.json("list") if line["name"].startswith("t-night")] == ["t-night-a"]
    finally:
        going.kill()
        for bed in ("t-night-a", "t-night-b"):
            vmlab.run("down", bed, "--yes")
    assert not remains("t-night-a", vmlab) + remains("t-night-b", vmlab)
