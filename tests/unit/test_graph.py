import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.errors import HostError, UsageError
from vmlab.report.graph import dot, mermaid, render
from vmlab.runtime.distribution import install_hint
from vmlab.topology import Topology, load, loads

ROOT = Path(__file__).parents[2]
BEDS = [*sorted((ROOT / "topologies").glob("*.yaml")), *sorted((ROOT / "tests" / "golden" / "graph").glob("*.yaml"))]
needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


@pytest.mark.parametrize("path", BEDS, ids=lambda path: path.stem)
def test_golden_pictures(path: Path, golden: Callable[[Path, str], None]) -> None:
    golden(ROOT / "tests" / "golden" / "graph" / f"{path.stem}.mmd", mermaid(load(path)))


@pytest.mark.parametrize("path", BEDS, ids=lambda path: path.stem)
def test_graphviz_is_told_what_mermaid_is(path: Path) -> None:
    source, text = dot(load(path)), mermaid(load(path))
    shapes = re.findall(r'^ *(\w+)[(\[]+"(.*?)"[)\]]+$', text, re.MULTILINE)
    drawn = {name: label.replace("&amp;", "&").replace("#quot;", '"') for name, label in shapes}
    assert {name: label.replace("&amp;", "&") for name, label in pictures.nodes(source).items()} == drawn
    lines = re.findall(r"^ *(\w+) (---|-\.-) (\w+)$", text, re.MULTILINE)
    assert pictures.edges(source) == [(one, other, kind == "-.-") for one, kind, other in lines]


def test_primary_and_partner() -> None:
    text = dot(load(ROOT / "topologies" / "ha-topology.yaml"))
    assert text.count("style=solid") == text.count("style=dashed") == 4
    assert "failover partner" in text
    assert "failover partner" not in dot(load(ROOT / "topologies" / "burst-buffer.yaml"))


def test_many_equal_nodes_become_a_stack() -> None:
    text = mermaid(load(ROOT / "topologies" / "fta-sriov.yaml"))
    assert text.count("fta") == 2  # the title and the stack
    assert 'n0["fta[01-11]<br/>11 \u00d7 (1 vCPU, 4GiB)"]' in text
    few = "name: a\nnodes:\n  n[1-8]: {role: client}"
    assert mermaid(loads(few)).count("vCPU") == 8
    assert mermaid(loads(few.replace("8", "9"))).count("vCPU") == 1


@pytest.fixture(scope="module")
def mixed() -> Topology:
    return load(ROOT / "tests" / "golden" / "graph" / "mixed.yaml")


def test_targets_of_the_same_servers_are_one_disk_with_all_their_indices(mixed: Topology) -> None:
    text = mermaid(mixed)
    assert '[("scratch-OST0000-0003<br/>4 \u00d7 1GiB")]' in text
    assert '[("home-OST0000, 0002<br/>2 \u00d7 1GiB")]' in text


@needs_graphviz
def test_clients_are_above_and_routers_between(mixed: Topology) -> None:
    heights = [height(mixed, name) for name in ("client[001-100]", "xge", "router1", "ib0", "mds1", "scratch-MGS")]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == len(heights)


def height(bed: Topology, name: str) -> float:
    """Where Graphviz puts the node with this label; Graphviz counts upwards."""
    source = dot(bed)
    number = source.partition(f"<B>{name}</B>")[0].rpartition(" [shape=")[0].split()[-1]
    return next(float(line.split()[3]) for line in plain(source) if line.startswith(f"node {number} "))


def plain(source: str) -> list[str]:
    done = subprocess.run(["dot", "-Tplain"], input=source, text=True, capture_output=True, check=True, timeout=60)
    assert not done.stderr
    return done.stdout.splitlines()


@needs_graphviz
def test_render(tmp_path: Path, mixed: Topology) -> None:
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".dot", b"graph bed {"), (".mmd", b"---\ntitle")):
        path = tmp_path / f"bed{suffix}"
        render(mixed, path)
        assert path.read_bytes().startswith(start)
    with pytest.raises(HostError, match="Graphviz could not draw"):
        render(mixed, tmp_path / "absent" / "bed.svg")


def test_other_suffixes_are_refused(tmp_path: Path, mixed: Topology) -> None:
    for name in ("bed.pdf", "bed", ".svg", "bed.SVG.exe"):
        with pytest.raises(UsageError, match="no suffix of a picture"):
            render(mixed, tmp_path / name)


def test_without_graphviz(tmp_path: Path, mixed: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="`dot` is not installed") as caught:
        render(mixed, tmp_path / "bed.svg")
    assert caught.value.hint == install_hint("dot")


def described(text: str) -> Topology:
    topology = loads("name: a\nnodes: {n1: {role: client}}")
    object.__setattr__(topology, "description", text)
    return topology


@needs_graphviz
@pytest.mark.parametrize(
    "text", ['"]; n9 [label="x', "</B>>]; n9 <", "&amp; &#x0; \\N \\G", "a\\", "<TABLE>", "\u00e9\u4e2d"]
)
def test_graphviz_takes_any_description(text: str) -> None:
    assert [line.split()[1] for line in plain(dot(described(text))) if line.startswith("node ")] == ["n0"]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_any_description_stays_text(text: str) -> None:
    source = dot(described(text))
    assert source.count("[shape=") == 1
    assert source.count("\n") == dot(described("")).count("\n")
