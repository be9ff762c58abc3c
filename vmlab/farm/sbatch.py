"""The command that hands a job to Slurm, sbatch(1)."""

from collections.abc import Sequence
from dataclasses import dataclass

from vmlab.farm.wanted import Wanted

LEAD_S = 300
"""So long before its time limit a job is told to end, for what it runs to end and its bed to go."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the user says of a job; None where Slurm's own default holds. `more` are options of sbatch, as written."""

    partition: str | None = None
    time: str | None = None
    account: str | None = None
    more: tuple[str, ...] = ()


def sbatch(
    name: str, wanted: Wanted, given: Given, script: str, arguments: Sequence[str], *, after: Sequence[str] = ()
) -> tuple[str, ...]:
    """The command line. The user's own options come last: of one that is given twice, sbatch takes the last.

    `after` are the jobs that must be over first, however they end.
    """
    gres = ",".join(f"{name}:{count}" for name, count in wanted.gres.items())
    own = {"partition": given.partition, "time": given.time, "account": given.account}
    return (
        "sbatch",
        "--parsable",
        f"--job-name={name}",
        f"--nodes={wanted.machines}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={wanted.cpus}",
        f"--mem={wanted.memory_mib}M",
        *([f"--gres={gres}"] if gres else []),
        *([f"--constraint={'&'.join(wanted.features)}"] if wanted.features else []),
        f"--signal=B:USR1@{LEAD_S}",
        "--open-mode=append",
        *(f"--{option}={value}" for option, value in own.items() if value is not None),
        *given.more,
        *([f"--dependency=afterany:{':'.join(after)}"] if after else []),
        script,
        *arguments,
    )
