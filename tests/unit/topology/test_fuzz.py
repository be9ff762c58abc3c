"""Whatever a file contains, the loader gives a Topology or a TopologyError, and nothing else."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vmlab.errors import TopologyError
from vmlab.topology import Topology, load, loads

ROOT = Path(__file__).parents[3]
SEEDS = [path.read_text() for path in sorted((ROOT / "topologies").glob("*.yaml"))]
SEEDS += [path.read_text() for path in sorted((ROOT / "tests" / "golden").glob("*/*.yaml"))]
WORDS = [
    "name", "nodes", "fabrics", "hosts", "filesystems", "workloads", "role", "cpus", "memory", "disk", "disks", "size",
    "count", "index", "servers", "mgt", "mdts", "osts", "clients", "device", "address", "pf", "numa", "cells", "avoid",
    "host", "reserve", "lnet", "kind", "attach", "bridge", "subnet", "mtu", "hugepages", "image", "template", "mount",
    "n1", "n[1-3]", "@oss", "oss", "mds", "client", "router", "ib0", "infiniband", "tcp0", "4GiB", "10.77.1.0/24",
    "n[1-99999999]", "<<", "0x15b3", "0000:41:00.0", "*", "/mnt", "/dev/vdb", "mgmt", "", "external",
    "ssh://root@cn1", "ssh://cn[1-3]:22", "10.77.1.[7-9]", "10.77.1.7-10.77.1.9",
]  # fmt: skip


def outcome(load_it: Callable[[], Topology]) -> Topology | TopologyError:
    try:
        return load_it()
    except TopologyError as error:
        return error


def survives(text: str) -> None:
    result = outcome(lambda: loads(text))
    if isinstance(result, Topology):
        assert result.nodes
        return
    assert result.problems
    for problem in result.problems:
        assert "\n" not in problem.message
        assert problem.line >= 1
        assert problem.column >= 1


@given(st.text())
@example("\ud800")
@example("\x00")
@example("\x85\u2028a: b")
@example("? ? ? ")
@example("%YAML 9.9\n---\n")
@example("{" * 100_000)
@example("- " * 100_000)
@example("a: " + "9" * 5000)
@example("1: 2\n.nan: .inf\n2024-01-01: 0o7\n")
def test_any_text(text: str) -> None:
    survives(text)


@given(st.binary())
@example(b"\xff\xfen\x00a\x00m\x00e\x00")
@example(b"\xef\xbb\xbfname: a")
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(data)
    result = outcome(lambda: load(path))
    assert isinstance(result, Topology) or result.problems


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=9)
)
structures = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=30,
)


def beds(values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Structures in which the keys are the right ones more often than chance would have it."""
    entries = st.dictionaries(st.sampled_from(WORDS), values, max_size=6)
    named = st.dictionaries(st.sampled_from(["n1", "n2", "oss[1-2]", "ib0", "lustre", "local"]), entries, max_size=4)
    return st.fixed_dictionaries(
        {"name": st.just("a"), "nodes": named},
        optional={"fabrics": named, "hosts": named, "filesystems": named, "workloads": st.lists(values, max_size=3)},
    )


@given(structures | beds(structures))
@settings(max_examples=300)
def test_any_structure(data: object) -> None:
    """JSON is YAML."""
    survives(json.dumps(data))


@given(st.sampled_from(SEEDS), st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=400)
def test_mutations_of_real_files(text: str, chance: random.Random, changes: int) -> None:
    for _ in range(changes):
        lines = text.splitlines(keepends=True) or [""]
        number = chance.randrange(len(lines))
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.randrange(12))
        match chance.randrange(5):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:start] + chance.choice([*WORDS, *"{}[]:,-&*!|>'\"%@`#?\t\n\x07"]) + text[end:]
            case 2:
                text = "".join([*lines[:number], lines[number], *lines[number:]])
            case 3:
                text = "".join([*lines[:number], *lines[number + 1 :]])
            case _:
                old, new = chance.choice(WORDS), chance.choice(WORDS)
                text = text.replace(old, new, 1) if old else text
    survives(text)
