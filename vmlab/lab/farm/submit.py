"""Hand beds and nights to Slurm. What is told to it is all that there is of a job until it begins: no file of ours."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from vmlab.errors import HostError
from vmlab.farm.allocated import allocated, autos
from vmlab.farm.sbatch import Given, sbatch
from vmlab.farm.wanted import Wanted, together, wanted
from vmlab.nights.night import Entry, Night
from vmlab.nights.paths import anchored
from vmlab.runtime.distribution import install_hint
from vmlab.runtime.files import state_dir
from vmlab.runtime.process import run
from vmlab.topology import Topology
from vmlab.topology.change import change
from vmlab.topology.tree import parse, plain

FARM = "farm"
"""The folder of the state folder in which each job has its own, called by its id."""

_SCRIPT = Path(__file__).with_name("job.sh")
_DEADLINE_S = 120.0
_JOIN = Wanted(machines=1, cpus=1, memory_mib=512)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is handed over. `text` is the script that Slurm keeps; `id` "" until it is told."""

    name: str
    argv: tuple[str, ...]
    text: str
    id: str = ""


def content_of(text: str, settings: Sequence[str], folder: Path) -> dict[str, Any]:
    """The content of a checked topology file that lies in `folder`, with KEY=VALUE over it, all paths absolute."""
    tree = parse(text, lambda *_: None)
    change(tree, settings, lambda *_: None)
    return anchored(plain(tree, None), folder)


def of_bed(topology: Topology, content: Mapping[str, Any], given: Given, *, accel: str) -> Job:
    """The job that a bed is: up, what it lists, down. `content` is that of its checked file; `accel` "" if not said."""
    if topology.routed:
        raise HostError(
            f"{topology.name}: ranges are `routed` to machines, and a job is on those that Slurm chooses",
            hint="`management: {bridge: ...}`; or `address` of each host, for VXLAN",
        )
    for fabric in topology.described:
        if len(set(fabric.bridges.values())) > 1:
            raise HostError(
                f"{topology.name}: {fabric.name} has bridges of hosts, and a job is on those that Slurm chooses",
                hint="one name, which is a feature of the machines that have such a bridge: `bridge: NAME`",
            )
    work = "sweep" if topology.shapes else "run" if topology.workloads else "up"
    text: str = yaml.safe_dump(allocated(content, autos(topology)), sort_keys=False, allow_unicode=True, width=1 << 20)
    asked = wanted(topology, kvm=accel == "kvm")
    return _job(topology.name, asked, given, (work, *_accel(accel)), text)


def of_night(night: Night, given: Given, *, accel: str) -> tuple[Job, ...]:
    """The jobs that a night is, one for each entry. Raises HostError for what a part of a night cannot have."""
    file = str(Path(night.file).absolute())
    return tuple(
        _job(
            f"{night.name}-{entry.name}",
            _of_entry(entry, accel),
            given,
            ("night", file, entry.name, *_accel(accel)),
        )
        for entry in night.entries
    )


def joining(night: Night, parts: Sequence[Job], given: Given) -> Job:
    """The job that makes one record of the parts of a night, when all of them are over."""
    ids = [part.id for part in parts]
    file = str(Path(night.file).absolute())
    return _job(night.name, _JOIN, given, ("join", file, ",".join(ids)), after=ids)


def submit(job: Job) -> Job:
    """Hand it over: the job with its id. Raises HostError with Slurm's words if it is not taken."""
    with _written(job.text) as script:
        done = run([script if word == str(_SCRIPT) else word for word in job.argv], deadline_s=_DEADLINE_S)
    if not done.ok:
        late = f"no answer within {_DEADLINE_S:.0f} s" if done.timed_out else done.last_line
        raise HostError(f"Slurm does not take {job.name}: {late}", hint="sinfo -o '%P %D %c %m %G %f'; vmlab submit -h")
    number = done.stdout.strip().partition(";")[0]
    return Job(job.name, job.argv, job.text, number)


def refuse_without_slurm() -> None:
    """Raise HostError where no job can be handed over, before anything else is read."""
    from shutil import which  # noqa: PLC0415

    if which("sbatch") is None:
        raise HostError("`sbatch` is not installed", hint=install_hint("sbatch"))


def _job(
    name: str, asked: Wanted, given: Given, work: Sequence[str], topology: str = "", *, after: Sequence[str] = ()
) -> Job:
    arguments = (str(state_dir().absolute()), sys.executable, *work)
    argv = sbatch(f"vmlab-{name}", asked, given, str(_SCRIPT), arguments, after=after)
    return Job(name, argv, _SCRIPT.read_text(encoding="utf-8") + topology)


def _accel(accel: str) -> tuple[str, ...]:
    return ("--accel", accel) if accel else ()


def _of_entry(entry: Entry, accel: str) -> Wanted:
    if len(entry.topology.hosts) > 1 or urlsplit(entry.host).hostname:
        raise HostError(
            f"{entry.name} names its hosts, and a part of a night is on the one that Slurm chooses",
            hint=f"vmlab submit {entry.topology.file}; or vmlab nightly, where those hosts are reached from",
        )
    return together([wanted(entry.topology, kvm=accel == "kvm")] * entry.beds)


@contextmanager
def _written(text: str) -> Iterator[str]:
    """sbatch reads it while it runs, and Slurm keeps a copy."""
    with tempfile.NamedTemporaryFile("w", prefix="vmlab-", suffix=".sh", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield file.name
