"""Commands that do nothing to a host: the help, and what 1,000 nodes take to be checked and planned."""

import sys

from benchmarks.clock import VMLAB, medians, pairs_of_servers, run, simulation
from benchmarks.line import Line

_NODES = 1000


def help_text(rounds: int) -> list[Line]:
    """`vmlab --help` can hardly be faster than the import of the library that it is made with."""
    ours, floor = medians(
        (lambda: run(*VMLAB, "--help"), lambda: run(sys.executable, "-c", "import typer")), rounds or 21
    )
    return [Line("help", "vmlab --help : import typer", ours, floor, 1.5)]


def thousand_nodes(rounds: int) -> list[Line]:
    """Whole commands on a topology of 1,000 nodes."""
    with simulation() as path:
        file = path / "thousand.yaml"
        file.write_text(pairs_of_servers("thousand", servers=_NODES - 200, clients=200))
        checked, planned = medians(
            (lambda: run(*VMLAB, "validate", str(file)), lambda: run(*VMLAB, "plan", str(file))), rounds or 5
        )
    return [
        Line("plan", f"validate {_NODES} nodes", checked, None, 2.0),
        Line("plan", f"plan {_NODES} nodes", planned, None, 2.0),
    ]
