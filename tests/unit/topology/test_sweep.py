"""Sweeps in the `workloads:` of a file: what the loader and editors take, and refuse in the same places."""

import jsonschema
import pytest
import yaml

from vmlab.errors import TopologyError
from vmlab.topology import loads, schema
from vmlab.workloads import options_by_name

FILE = "name: b\nnodes:\n  c1: {role: client}\nworkloads:\n"
GOOD = (
    "- {ior: {block: [4m, 64MiB], tasks_per_node: [1, 2], nodes: 1..11}}",
    "- {ior: {transfer_sizes: [[4k], [1m, 10KB]], nodes: [1, 2, 'c[1-2]']}}",
    "- {rdma: {sizes: all, iterations: [100, 200]}}",
    "- {ior: {cases: [{block: [4m, 8m], tasks_per_node: 4}, {block: 64m}]}}",
)
BAD = {
    "- {ior: {block: [4k, 5x]}}": "`block`: '5x' is no size",
    "- {ior: {transfer_sizes: [[4k], [9x]]}}": "`transfer_sizes`: '9x' is no size",
    "- {ior: {cases: 5}}": "workload `ior`: cases is no list of points",
    "- {ior: {nodes: 5..2}}": "workload `ior`: nodes: 5..2 is no range",
    "- {ior: {cases: [{blok: 4k}]}}": "unknown key 'blok' in workload `ior`",
    "- {ior: {tasks_per_node: [0, 1]}}": "`tasks_per_node` is 0",
}


def editors(text: str) -> bool:
    validator = jsonschema.Draft202012Validator(schema(options_by_name()))
    return not list(validator.iter_errors(yaml.safe_load(text)))


@pytest.mark.parametrize("line", GOOD)
def test_sweeps_are_taken_as_written(line: str) -> None:
    text = f"{FILE}  {line}\n"
    [workload] = loads(text, "f", workloads=options_by_name()).workloads
    assert workload.options == yaml.safe_load(line)[0][workload.name]
    assert editors(text)


@pytest.mark.parametrize("line", BAD)
def test_a_wrong_value_in_a_sweep_is_told_once(line: str) -> None:
    with pytest.raises(TopologyError) as caught:
        loads(f"{FILE}  {line}\n", "f", workloads=options_by_name())
    told = "\n".join([caught.value.message, *(cause.message for cause in caught.value.causes)])
    assert told.count(BAD[line]) == 1


def test_editors_see_what_is_no_sweep() -> None:
    assert not editors(f"{FILE}  - {{ior: {{block: []}}}}\n")
    assert not editors(f"{FILE}  - {{ior: {{tasks_per_node: [1, x]}}}}\n")
    assert not editors(f"{FILE}  - {{ior: {{cases: {{}}}}}}\n")


def test_a_topology_key_takes_no_short_sizes() -> None:
    with pytest.raises(TopologyError, match="'1g' is no size"):
        loads("name: b\nnodes:\n  c1: {role: client, memory: 1g}\n", "f")
