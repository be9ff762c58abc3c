"""In which order nodes are taken: as the topology file has them, and without one by their numbers."""

from pathlib import Path

from local_guest import nodes

from vmlab.lab.measuring.run import _as_data, _in_order
from vmlab.topology import load, loads

FILE = "name: bed\nnodes:\n  b: {role: client}\n  a[9-10]: {role: client}\n  a1: {role: client}\n"


def test_the_file_s_order_counts_and_then_numbers() -> None:
    here = nodes("a1", "a10", "a9", "b", "stranger")
    assert list(_in_order(here, loads(FILE))) == ["b", "a9", "a10", "a1", "stranger"]
    assert list(_in_order(here, None)) == ["a1", "a9", "a10", "b", "stranger"]
    assert _in_order(here, None)["a9"] is here["a9"]


def test_a_topology_is_recorded_as_data() -> None:
    found = _as_data(load(Path(__file__).parents[3] / "topologies" / "ha-topology.yaml"))
    assert found is not None
    assert found["name"] == "ha"
    assert isinstance(next(iter(found["nodes"].values()))["memory"], int)
    assert _as_data(None) is None
