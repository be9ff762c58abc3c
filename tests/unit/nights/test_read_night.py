"""The file of a night: what it means, and each bad one with its golden error text."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from vmlab.errors import TopologyError, UsageError
from vmlab.nights.json_schema import schema
from vmlab.nights.night import Night
from vmlab.nights.paths import anchored
from vmlab.nights.read import load, loads_night
from vmlab.topology import loads
from vmlab.values.fault import Kind
from vmlab.workloads import options_by_name

TESTS = Path(__file__).parents[2]
BAD = TESTS / "golden" / "nights"
CASES = TESTS / "cases" / "nights"
SHIPPED = TESTS.parent / "topologies"
FILES = sorted(BAD.glob("*.yaml"))
WHOLE = """
name: nightly
description: every night
keep: always
retry: 2
history: 7
expected: expected.yaml
limits: {night: 8h, entry: 90m, step: 30m}
entries:
  - topology: ha-topology.yaml
    name: ha
    image: rocky9
    set: {nodes.@oss.memory: 1GiB}
    matrix: {backend: [ldiskfs, zfs], nodes.client1.cpus: [1, 2]}
    keep: never
    retry: 0
    limits: {step: 10m}
    steps:
      - {fio: {nodes: client1, block: [4k, 64k]}, limit: 90s}
      - fault: {kind: net, nodes: "@client", fabric: ib0, delay: 20ms, rate: 1Gbit/s, after: 10s, lasts: 1.5m}
      - fault: {kind: pause, nodes: oss1}
      - {command: {run: sync}, name: smoke}
      - command: {run: sync}
      - command: {run: sync}
  - topology: ha-topology.yaml
    steps: [{command: {run: sync}}]
"""


class Suites(BaseModel):
    """The options of a workload that has suites."""

    suites: list[str] = []
    group: str | None = None


def find(name: str) -> Path:
    """As the command line does: beside this, then those that ship."""
    for folder in (CASES, SHIPPED):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"there is no topology file {name}")


def read(text: str, path: Path = Path("night.yaml")) -> Night:
    return loads_night(text, path, workloads=options_by_name(), find=find)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_problems_of_a_bad_file(
    path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(TESTS)
    with pytest.raises(TopologyError) as caught:
        loads_night(
            path.read_text(),
            Path(path.name),
            workloads={**options_by_name(), "suite_runner": Suites},
            find=lambda name: Path(os.path.relpath(find(name), TESTS)),
        )
    for problem in caught.value.problems:
        assert problem.message.isprintable()
        assert problem.message.endswith(")")
    golden(path.with_suffix(".txt"), f"{caught.value}\n")


def test_no_golden_text_without_its_file() -> None:
    assert {path.stem for path in BAD.glob("*.txt")} == {path.stem for path in FILES}


def test_a_file_with_everything() -> None:
    night = read(WHOLE, Path("/nights/night.yaml"))
    assert (night.name, night.limit_s, night.history) == ("nightly", 8 * 3600, 7)
    assert night.expected == Path("/nights/expected.yaml")
    assert [entry.name for entry in night.entries] == ["ha-ldiskfs-1", "ha-ldiskfs-2", "ha-zfs-1", "ha-zfs-2", "ha"]
    first, last = night.entries[0], night.entries[-1]
    assert (first.bed, first.keep, first.retry, first.limit_s) == ("nightly-ha-ldiskfs-1", "never", 0, 90 * 60)
    assert (last.bed, last.keep, last.retry) == ("nightly-ha", "always", 2)
    assert first.topology.name == "nightly-ha-ldiskfs-1"
    assert first.conditions == {"image": "rocky9", "backend": "ldiskfs", "nodes.client1.cpus": "1"}
    assert night.entries[3].topology.nodes["client1"].cpus == 2
    assert {one.backend for one in night.entries[2].topology.filesystems.values()} == {"zfs"}
    assert [str(node.memory) for node in first.topology.nodes.values() if "oss" in node.roles] == ["1GiB"] * 2
    assert [step.name for step in first.steps] == ["fio", "smoke", "command", "command-2"]
    assert [step.limit_s for step in first.steps] == [90, 600, 600, 600]
    assert last.steps[0].limit_s == 1800
    delay, pause = first.steps[1].faults
    assert (delay.kind, delay.nodes, delay.after_s, delay.for_s) == (Kind.NET, "@client", 10, 90)
    assert delay.how == {"fabric": "ib0", "delay": "20ms", "rate": "125MB/s"}
    assert (pause.kind, pause.after_s, pause.for_s) == (Kind.PAUSE, 0, None)
    assert not any(step.faults for step in first.steps if step.name != "smoke")


def test_what_is_written_for_a_bed_means_the_same() -> None:
    for entry in read(WHOLE).entries:
        text = yaml.safe_dump(dict(entry.content), sort_keys=False)
        again = loads(text, entry.topology.file, workloads=options_by_name())
        assert again == entry.topology


def test_a_night_is_found_beside_its_topologies(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("name: mine\nnodes: {one: {role: client}}")
    file = tmp_path / "night.yaml"
    file.write_text("name: n\nentries: [{topology: small.yaml, steps: [{command: {run: sync}}]}]")
    (entry,) = load(file, workloads=options_by_name(), find=find).entries
    assert (entry.bed, list(entry.topology.nodes)) == ("n-mine", ["one"])


@given(st.text("abcdefghijklmnopqrstuvwxyz-0123456789", max_size=14), st.lists(st.text(max_size=30), max_size=4))
def test_a_bed_has_a_name_that_libvirt_and_guests_can_bear(name: str, values: list[str]) -> None:
    text = json.dumps(
        {
            "name": "n",
            "entries": [
                {
                    "topology": "small.yaml",
                    "name": f"b{name}",
                    "set": {"description": "x"},
                    "matrix": {"description": values or ["x"]},
                    "steps": [{"command": {"run": "true"}}],
                }
            ],
        }
    )
    try:
        night = read(text)
    except TopologyError:
        return  # two of one name, or text that no topology can have
    for entry in night.entries:
        assert len(entry.bed) <= 31
        assert entry.topology.name == entry.bed


def test_paths_are_absolute_and_names_stay() -> None:
    content: dict[str, Any] = {
        "image": "rocky9",
        "references": "refs.yaml",
        "nodes": {
            "a": {
                "image": "./a.qcow2",
                "template": "server",
                "kernel": {"image": "bzImage", "args": "quiet"},
                "share": [{"host": "src", "at": "/src"}],
            },
            "b": {"image": "/there/b.qcow2", "template": "t/x.xml"},
            "c": None,
        },
    }
    assert anchored(content, Path("/beds")) == {
        "image": "rocky9",
        "references": "/beds/refs.yaml",
        "nodes": {
            "a": {
                "image": "/beds/a.qcow2",
                "template": "server",
                "kernel": {"image": "/beds/bzImage", "args": "quiet"},
                "share": [{"host": "/beds/src", "at": "/src"}],
            },
            "b": {"image": "/there/b.qcow2", "template": "/beds/t/x.xml"},
            "c": None,
        },
    }


def test_the_schema_takes_what_is_good() -> None:
    made = schema(options_by_name())
    jsonschema.Draft202012Validator.check_schema(made)
    jsonschema.Draft202012Validator(made).validate(yaml.safe_load(WHOLE))


@pytest.mark.parametrize("name", ["keys", "faults", "no-entries"])
def test_the_schema_refuses_what_is_bad(name: str) -> None:
    validator = jsonschema.Draft202012Validator(schema(options_by_name()))
    assert list(validator.iter_errors(yaml.safe_load((BAD / f"{name}.yaml").read_text())))


def test_beds_that_share_are_alike() -> None:
    text = "name: n\nentries: [{topology: small.yaml, name: a, beds: 3, whole: [x], steps: [{suites: {suites: [x]}}]}]"
    night = loads_night(text, Path("night.yaml"), workloads={"suites": Suites}, find=find)
    (entry,) = night.entries
    assert entry.memory_kib == 3 * 512 << 10
    assert [(one.bed, one.content["name"], one.beds) for one in entry.each_bed()] == [
        (f"n-a-{number}", f"n-a-{number}", 1) for number in (1, 2, 3)
    ]
    assert entry.whole == ("x",)
