"""A farm of 100 hosts with 1,000 queued beds: what `vmlab submit` takes, beside sbatch alone with the same jobs.

slurmctld is real, the hosts are not: no slurmd answers for them, so all jobs stay in the queue.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.clock import VMLAB, environment, medians, run, seconds
from benchmarks.line import Line
from benchmarks.slurm import Slurm

from vmlab.errors import HostError

_HOSTS = 100
_BEDS = 1000
_FEW = 100
_GROWTH = 11.0  # what 10 times as many may take, where 10 is what nobody can be below
_BED = "name: bed\nimage: demo\nnodes: {c1: {role: client, memory: 512MiB}}\n"


def queued_beds(rounds: int) -> list[Line]:
    """Nights of 100 and of 1,000 beds; then one bed more, with 1,000 before it in the queue."""
    if os.geteuid():
        raise HostError("a Slurm of one's own takes root")
    with _farm() as (slurm, folder):
        one, few, many = folder / "bed.yaml", _night(folder, _FEW), _night(folder, _BEDS)
        script = folder / "job.sh"
        script.write_text("#!/bin/sh\n")
        alone = lambda: run("sbatch", "--parsable", str(script))  # noqa: E731
        submit = lambda file: run(*VMLAB, "submit", str(file))  # noqa: E731
        taken: dict[str, list[float]] = {"few": [], "many": [], "floor": []}
        for _ in range(rounds or 1):
            slurm.call("scancel", "--user=root")
            taken["few"].append(seconds(lambda: submit(few)))
            taken["floor"].append(seconds(lambda: [alone() for _ in range(_BEDS)]))
            slurm.call("scancel", "--user=root")
            taken["many"].append(seconds(lambda: submit(many)))
        validate = lambda: run(*VMLAB, "validate", str(one))  # noqa: E731
        behind, checked, handed = medians((lambda: submit(one), validate, alone), rounds or 5)
    middle = {name: median(lasted) for name, lasted in taken.items()}
    return [
        Line("farm", f"submit {_BEDS} beds : {_FEW}", middle["many"], middle["few"], _GROWTH),
        Line("farm", f"submit {_BEDS} beds : sbatch", middle["many"], middle["floor"], 2.0),
        Line("farm", f"submit behind {_BEDS} : validate, sbatch", behind, checked + handed, 1.5, {"sbatch": handed}),
    ]


@contextmanager
def _farm() -> Iterator[tuple[Slurm, Path]]:
    with tempfile.TemporaryDirectory(prefix="vmlab-benchmark-") as name:
        folder = Path(name)
        (folder / "bed.yaml").write_text(_BED)
        nodes = [f"NodeName=host[1-{_HOSTS}] NodeAddr=192.0.2.1 CPUs=32 RealMemory=256000 State=UNKNOWN"]
        slurm = Slurm(folder / "slurm", nodes)
        inside = {"SLURM_CONF": str(slurm.conf), "VMLAB_STATE_DIR": str(folder / "state")}
        try:
            slurm.start()
            with environment(**inside, VMLAB_LOCK_DIR=str(folder / "lock")):
                yield slurm, folder
        finally:
            slurm.stop()


def _night(folder: Path, beds: int) -> Path:
    entries = "".join(
        f"  - {{topology: bed.yaml, name: b{number}, steps: [{{command: {{run: 'true'}}}}]}}\n"
        for number in range(beds)
    )
    file = folder / f"{beds}.yaml"
    file.write_text(f"name: n{beds}\nentries:\n{entries}")
    return file
