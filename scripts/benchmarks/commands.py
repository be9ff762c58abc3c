"""Commands that do nothing to a host: the help, and what 1,000 nodes take to be checked and planned; and 3,000."""

import sys
from pathlib import Path

from benchmarks.clock import VMLAB, medians, pairs_of_servers, run, simulation
from benchmarks.line import Line

_NODES = 1000
_MANY = 3 * _NODES
_GROWTH = 3.5  # what 3 times as much may take, where 3 is what nobody can be below


def help_text(rounds: int) -> list[Line]:
    """`vmlab --help` can hardly be faster than the import of the library that it is made with."""
    ours, floor = medians(
        (lambda: run(*VMLAB, "--help"), lambda: run(sys.executable, "-c", "import typer")), rounds or 21
    )
    return [Line("help", "vmlab --help : import typer", ours, floor, 1.5)]


def thousands_of_nodes(rounds: int) -> list[Line]:
    """Whole commands on topologies of 1,000 and of 3,000 nodes."""
    with simulation() as path:
        few, many = (str(_written(path, nodes)) for nodes in (_NODES, _MANY))
        checked, planned, checked_many, planned_many = medians(
            [
                lambda argv=argv: run(*VMLAB, *argv)
                for argv in (("validate", few), ("plan", few), ("validate", many), ("plan", many))
            ],
            rounds or 5,
        )
    return [
        Line("plan", f"validate {_NODES} nodes", checked, None, 2.0),
        Line("plan", f"plan {_NODES} nodes", planned, None, 2.0),
        Line("plan", f"validate {_MANY} nodes : {_NODES}", checked_many, checked, _GROWTH),
        Line("plan", f"plan {_MANY} nodes : {_NODES}", planned_many, planned, _GROWTH),
    ]


def _written(folder: Path, nodes: int) -> Path:
    file = folder / f"{nodes}.yaml"
    file.write_text(pairs_of_servers(f"bed{nodes}", servers=nodes - 200, clients=200))
    return file
