"""`sweep: {bed: ...}`: the beds that a file makes, and what is wrong with one of them."""

import json
from dataclasses import asdict

import jsonschema
import pytest
import yaml

from vmlab.errors import TopologyError
from vmlab.topology import loads, schema
from vmlab.topology.bed import Shape

FILE = """
name: b
sweep:
  bed:
    {axes}
nodes:
  pair: {{role: client, cpus: 1, pin: shared, numa: none}}
  "oss[1-2]": {{role: oss}}
"""


def shapes(*axes: str, name: str | None = None) -> tuple[Shape, ...]:
    return loads(FILE.format(axes="\n    ".join(axes)), "f", name=name).shapes


def test_each_combination_is_a_bed_the_last_changing_fastest() -> None:
    found = shapes("nodes.pair.cpus: [2, 8]", '"nodes.@oss.memory": [1GiB, 512MiB]', name="other")
    assert [list(shape.labels.values()) for shape in found] == [
        ["2", "1GiB"], ["2", "512MiB"], ["8", "1GiB"], ["8", "512MiB"],
    ]  # fmt: skip
    assert [list(shape.labels) for shape in found] == [["nodes.pair.cpus", "nodes.@oss.memory"]] * 4
    assert [shape.topology.nodes["pair"].cpus for shape in found] == [2, 2, 8, 8]
    assert [str(shape.topology.nodes["oss2"].memory) for shape in found] == ["1GiB", "512MiB"] * 2
    assert {(shape.topology.name, shape.topology.shapes) for shape in found} == {("other", ())}


def test_a_folded_key_is_split_and_values_are_what_set_takes() -> None:
    found = shapes("nodes.oss1.cpus: [4]", '"nodes.*.numa": [none, {cells: 1}]')
    assert [shape.topology.nodes["oss1"].cpus for shape in found] == [4, 4]
    assert {shape.topology.nodes["oss2"].cpus for shape in found} == {1}
    assert [shape.labels["nodes.*.numa"] for shape in found] == ["none", "{cells: 1}"]
    assert found[1].topology.nodes["pair"].numa.cells == 1


def test_without_a_sweep_there_is_one_bed() -> None:
    assert loads("name: b\nnodes: {n: {role: client}}\n", "f").shapes == ()


def test_a_shape_is_data_as_a_record_has_it() -> None:
    [shape] = shapes("nodes.pair.cpus: [2]")
    assert json.loads(json.dumps(asdict(shape.topology), default=str))["shapes"] == []


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("nodes.pair.cpus: [2, 0]", "f:5:26: `cpus` is 0 (expected at least 1), with nodes.pair.cpus=0"),
        ("nodes.pair.cpus: 2", "f:5:22: `nodes.pair.cpus` is 2 (expected a list)"),
        ("nodes.pair.cpus: []", "f:5:22: `nodes.pair.cpus` is an empty list (expected at least one)"),
        ("nodes.pair.cpus: [2, 2]", "f:5:5: 'nodes.pair.cpus' has a value twice"),
        ("nodes.par.cpus: [2]", "f:5:5: `sweep`: no node is called `par` (did you mean `pair`?"),
        ("nodes.pair: [{role: mds}]", "f:5:5: `sweep`: 'nodes.pair' (expected nodes.NODES.KEY=VALUE)"),
        ("nodes.pair.cpu: [2]", "f:5:22: unknown key 'cpu' in node 'pair' (did you mean `cpus`?"),
        ("name: [a, b]", "f:5:5: 'name' is the same in all beds of a sweep"),
        ("workloads: [[]]", "f:5:5: 'workloads' is the same in all beds"),
        ("nodes.pair.numa: [{cells: 2}]", "2 cells for 1 vCPUs"),
        (f"nodes.pair.cpus: {list(range(1, 102))}", "the sweep has 101 beds (expected at most 100)"),
        ("{}", "is an empty"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(axes: str, said: str) -> None:
    with pytest.raises(TopologyError) as caught:
        shapes(axes)
    assert len(caught.value.problems) == 1
    assert said in caught.value.message


def test_what_is_wrong_in_several_beds_is_told_of_the_first() -> None:
    with pytest.raises(TopologyError) as caught:
        shapes("nodes.pair.cpus: [0, 2]", "nodes.oss1.cpus: [1, 2, 3]")
    [problem] = caught.value.problems
    assert problem.message.endswith("with nodes.pair.cpus=0, nodes.oss1.cpus=1")


def test_editors_know_it() -> None:
    check = jsonschema.Draft202012Validator(schema())
    assert check.is_valid(yaml.safe_load(FILE.format(axes="nodes.pair.cpus: [2, 8]")))
    assert not check.is_valid(yaml.safe_load(FILE.format(axes="nodes.pair.cpus: 2")))
