"""How fast vmlab is, against the least that any program could do: one table of ratios, measured in one run.

Sections: help, plan, placement, auto, simulated, hosts (these need nothing), looking (which defines nodes at the
system's libvirt), farm (a Slurm without hosts; needs root), beds, cold, warm, nodes (these start guests; beds, warm and
nodes need root).
Ends with status 8 if an aim was missed. The figures are only worth something on a machine that does nothing else.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from benchmarks import commands, farm, guests, hosts, looking, placement, simulated
from benchmarks.clock import environment
from benchmarks.line import Line, table

from vmlab.errors import VmlabError
from vmlab.report.errors import tell
from vmlab.report.plain import dumped
from vmlab.report.tables import show
from vmlab.runtime.lock import held

_SECTIONS = {
    "help": commands.help_text,
    "plan": commands.thousands_of_nodes,
    "placement": placement.many_cells,
    "auto": placement.one_device,
    "simulated": simulated.two_hundred_nodes,
    "hosts": hosts.hundred_hosts,
    "looking": looking.looking,
    "farm": farm.queued_beds,
    "beds": guests.five_nodes,
    "cold": guests.first_boots,
    "warm": guests.clones,
    "nodes": guests.eight_nodes,
}
_MISSED = 8


def main() -> int:
    """Measure and tell."""
    parser = argparse.ArgumentParser(
        prog="benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(_SECTIONS)}; all by default")
    parser.add_argument("-n", "--rounds", type=int, default=0, help="measurements of each, instead of each one's own")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.sections if name not in _SECTIONS]:
        parser.error(f"no such section: {', '.join(unknown)} (sections: {', '.join(_SECTIONS)})")
    signal.signal(signal.SIGTERM, _interrupted)
    lines: list[Line] = []
    try:
        with held("benchmark", what="the benchmark"), _compiled_once():
            for name, measure in _SECTIONS.items():
                if not arguments.sections or name in arguments.sections:
                    print(f"measuring {name}", file=sys.stderr, flush=True)
                    lines += measure(max(0, arguments.rounds))
    except VmlabError as error:
        tell(error, sys.stderr)
        return error.status
    except subprocess.CalledProcessError as error:
        print(f"benchmark: {error}\n{error.stderr or ''}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if arguments.output == "json":
        host = {"cpus": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()[0]}
        print(dumped({"schema": 1, "host": host, "lines": [line.document() for line in lines]}))
    else:
        show(table(lines))
    return 0 if all(line.ok for line in lines) else _MISSED


@contextmanager
def _compiled_once() -> Iterator[None]:
    """As for who has vmlab installed, whatever Python is told here: to compile it takes longer than many a command."""
    with (
        tempfile.TemporaryDirectory(prefix="vmlab-benchmark-") as folder,
        environment(PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=folder),
    ):
        yield


def _interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    """A request to end is an interrupt: whatever was made is removed on the way out."""
    raise KeyboardInterrupt
