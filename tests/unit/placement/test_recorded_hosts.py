"""Topologies on recorded hosts: who goes where, or why nobody does, as the user sees it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.lab.beds.plan import look_at_records
from vmlab.lab.ground.progress import Silent
from vmlab.report.plain import dumped
from vmlab.report.plan import document
from vmlab.topology import load

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden/placement"
CASES = [
    # A file transfer agents' host as one socket and as two: eleven fit and leave a core, which a server shares with the
    # host; a twelfth does not.
    ("fta-sriov", "fta-1s"),
    ("fta-sriov", "fta-2s"),
    ("fta-twelve", "fta-1s"),
    ("fta-twelve", "fta-2s"),
    # Two OSS with two HCAs each, one per socket; a reserved core makes it impossible.
    ("oss-benchmark", "oss-x5670"),
    ("oss-benchmark", "mixed"),
    ("oss-reserve", "oss-x5670"),
    # What runs anywhere.
    ("oss-benchmark-small", "two-cores"),
    ("fta-sriov-small", "two-cores"),
    # HA beds with an HCA each: partners apart; five nodes are one more than that host has HCAs.
    ("ha-servers", "oss-x5670"),
    ("ha-five", "oss-x5670"),
    ("ha-five", "nps4"),
    ("ha-vf", "nps4"),
    ("ha-topology", "nps4"),
    ("ha-topology", "oss-x5670"),
    ("two-hop", "mixed"),
    ("dual-port", "dual-port"),
    ("group", "shared-group"),
    ("group-whole", "shared-group"),
    ("eight-cells", "nps4"),
    # An ARM host; cells with CPUs and no memory, where only nodes that are bound to nothing have enough of both.
    ("fta-sriov", "gh200"),
    ("cpu-only", "cpu-only-cells"),
    ("cpu-only-preferred", "cpu-only-cells"),
    ("cpu-only-none", "cpu-only-cells"),
]


def topology(name: str) -> Path:
    case = ROOT / f"tests/cases/placement/{name}.yaml"
    return case if case.exists() else ROOT / f"topologies/{name}.yaml"


@pytest.mark.parametrize(("bed", "host"), CASES)
def test_plans_are_golden(bed: str, host: str, golden: Callable[[Path, str], None]) -> None:
    wanted = load(topology(bed))
    try:
        prepared = look_at_records(wanted, [str(ROOT / f"tests/hosts/{host}")], progress=Silent())
    except HostError as error:
        golden(GOLDEN / f"{bed}-on-{host}.txt", f"{error.message}\nhint: {error.hint}\n")
        return
    told = json.loads(dumped(document(prepared)))
    del told["actions"]
    assert prepared.places.placement is not None
    told["notes"] = list(prepared.places.placement.notes)
    golden(GOLDEN / f"{bed}-on-{host}.txt", "\n".join(_lines(told)) + "\n")


def _lines(told: dict[str, object]) -> list[str]:
    """A line for each node's cell and device: what reads well in a review."""
    lines = [f"bed {told['bed']}", f"reserve {json.dumps(told['reserve'])}"]
    for node in told["nodes"]:  # type: ignore[attr-defined]
        lines.append(f"{node['name']} on {node['host']}, emulator {node['emulator_cpus']}, nids {node['nids']}")
        lines += [f"  cell {json.dumps(cell)}" for cell in node["cells"]]
        lines += [f"  device {json.dumps(device)}" for device in node["devices"]]
    lines += [f"route {json.dumps(route)}" for route in told["routes"]]  # type: ignore[attr-defined]
    return [*lines, *(f"note {note}" for note in told["notes"])]  # type: ignore[attr-defined]
