"""Writes that go on while a server fails: none that was acknowledged may be lost. And again while all moves back.

Each client writes one small file after the other and notes a file's checksum when its data are on the servers' disks
(fsync): that is the acknowledgement. Afterwards each drops what it has in its cache and reads all of them again.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.shell import script
from vmlab.steps import Command
from vmlab.values.size import Bytes
from vmlab.workloads import Deed, Measurement, Node, Output, Outputs, Service, Task, Workload, by_node, register
from vmlab.workloads._lustre import DROP_CACHES, MOUNTS, NETS, directory, kept_caches, over_soft_roce
from vmlab.workloads._nodes import NodeNames, clients_of
from vmlab.workloads._sizes import Size

_OUTAGE = Metric("outage", Unit.SECONDS, "lower", "outage", "the longest time without an acknowledged write")
_WRITES = Metric("writes", Unit.FILES, "higher", "outage", "files acknowledged, then read again and compared")
_MOUNT = Metric("mount", Unit.SECONDS, "lower", "targets", "a target's mount on its new server")
_RECOVERY = Metric("recovery", Unit.SECONDS, "lower", "targets", "from the begin of that mount to the recovery's end")
_EVICTED = Metric("evicted", Unit.CLIENTS, "lower", "targets", "clients that lost their state")
_DOWN = Metric("down", Unit.SECONDS, "lower", "total", "until the old server could write no more")
_TOTAL = Metric("total", Unit.SECONDS, "lower", "total", "until all targets had recovered")

_FOLDER = "vmlab-failover"
_NOTES = "/var/tmp/vmlab-failover"  # noqa: S108 - in the guest, whose disk stays when the servers' are away
_WELL = ("COMPLETE", "INACTIVE", "")  # INACTIVE: nobody had anything to recover; an MGT has no recovery
_SHORT_S = 60.0
_READY_S = 180.0
_READ_S = 1800.0
_NAMED = 5

_WRITE = script(__file__, "failover_write.sh")
# The writer may have to wait for a recovery first.
_STOP = """
touch "$1/enough"
until [ -e "$1/ended" ]; do sleep 0.2; done
cat "$1/failed" >&2
[ ! -s "$1/failed" ]
"""
# On which OSTs the files are tells whether the failure met any.
_VERIFY = DROP_CACHES + script(__file__, "failover_verify.sh")


class Options(BaseModel):
    """What may be written below `failover:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str = Field(
        "",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,80}$|^$",
        description="the target (OST0000) or server that fails (default: the first OST that has two servers)",
    )
    how: Literal["power", "panic", "umount"] = Field(
        "power", description="hard off; a kernel that crashes, then off; or a clean unmount"
    )
    failback: bool = Field(default=True, description="bring the server up again and move all back, while writing")
    nodes: NodeNames | None = Field(None, description="nodes that write (default: all clients)")
    size: Size = Field(Bytes(64 << 10), description="of each file")
    before_s: int = Field(10, ge=1, le=86_400, description="how long is written before anything happens")
    after_s: int = Field(10, ge=1, le=86_400, description="how long is written afterwards")
    directory: str | None = Field(
        None, pattern="^/", description="where the files go (default: the first Lustre file system that is mounted)"
    )
    timeout_s: int = Field(1800, ge=1, le=86_400, description="deadline of each failover, start and failback")


@register
class Failover(Workload[Options]):
    """A measurement for the failure, and one for the way back; the clients write in both."""

    name = "failover"
    summary = "writes with checksums while a server fails and while its targets move back"
    options = Options
    metrics = (_OUTAGE, _WRITES, _MOUNT, _RECOVERY, _EVICTED, _DOWN, _TOTAL)
    packages = ("lustre-client", "lustre-client-utils", "lustre-server-utils", "lustre")
    facts = MappingProxyType({"mounts": MOUNTS, "nets": NETS})

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        return tuple(node.name for node in clients_of(self.name, options.nodes, nodes))

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        writers = clients_of(self.name, options.nodes, nodes)
        folder, _ = directory(self.name, options.directory, writers)
        words = ("vmlab", "fs", "failover", "BED", *((options.target,) if options.target else ()), "--how", options.how)
        limit = float(options.timeout_s)
        down = Deed(
            name="failover", verb="failover", target=options.target, how=options.how, argv=words, deadline_s=limit
        )
        up = Deed(name="up", verb="up", argv=("vmlab", "up", "BED"), deadline_s=limit)
        back = Deed(name="failback", verb="failback", argv=("vmlab", "fs", "failback", "BED"), deadline_s=limit)
        phases = {"failover": (down,)} | ({"failback": (up, back)} if options.failback else {})
        names = [node.name for node in writers]
        return tuple(
            (_measurement(options, phase, deeds, names, f"{folder}/{_FOLDER}"),) for phase, deeds in phases.items()
        )

    @override
    def soft(self, options: Options, nodes: Sequence[Node]) -> bool:
        del options
        return over_soft_roce(nodes)

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        phase = measurement.labels["phase"]
        moves = _moved(outputs, phase)
        read = {node: _Read(node, output.stdout) for node, output in by_node("verify", outputs).items()}
        if not read:
            raise WorkloadError("no node read its files again")
        _check_met(phase, moves.moved, read.values())
        samples = [
            Sample(metric, value, {"phase": phase, "node": node})
            for node, found in read.items()
            for metric, value in ((_OUTAGE, found.outage), (_WRITES, float(found.writes)))
        ]
        for one in moves.moved:
            labels = {"phase": phase, "target": one.target, "from": one.source, "to": one.destination}
            values = ((_MOUNT, one.mount_s), (_RECOVERY, one.recovery_s), (_EVICTED, float(one.evicted)))
            samples += [Sample(metric, value, labels) for metric, value in values]
        how = options.how if phase == "failover" else "umount"
        for metric, seconds in ((_DOWN, moves.down_s), (_TOTAL, moves.total_s)):
            samples += [Sample(metric, seconds, {"phase": phase, "how": how})] if seconds is not None else []
        return tuple(samples)

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        del options, samples
        deeds = [task.name for task in measurement.tasks if isinstance(task, Deed)]
        problems = [
            f"{name} failed: {outputs[name].last_line}" for name in deeds if name in outputs and not outputs[name].ok
        ]
        problems += [_unwritten(node, output) for node, output in by_node("stop", outputs).items() if not output.ok]
        try:
            problems += list(_lost(outputs))
            moves = _moved(outputs, measurement.labels["phase"])
        except WorkloadError:  # `parse` says so
            return tuple(problems)
        for one in moves.moved:
            if one.evicted:
                problems.append(f"{one.target} evicted {one.evicted} of {one.expected} clients")
            if one.recovery not in _WELL:
                problems.append(f"the recovery of {one.target} ended as {one.recovery}")
        return tuple(problems)

    @override
    def notes(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[str, ...]:
        del options, measurement
        kept = [
            why for _, output in by_node("verify", outputs).items() if output.ok and (why := kept_caches(output.stdout))
        ]
        return tuple(f"files were read again from the client's own cache, for {why}" for why in kept)


class _Move(BaseModel):
    """As `lab.filesystems.failover.Moved`."""

    target: str
    source: str
    destination: str
    mount_s: FiniteFloat
    recovery_s: FiniteFloat
    recovery: str
    expected: int
    evicted: int


class _Moves(BaseModel):
    """As `lab.filesystems.failover.Failover`; without times nothing had to move."""

    down_s: FiniteFloat | None = None
    total_s: FiniteFloat | None = None
    moved: tuple[_Move, ...] = ()


class _Read:
    """What `_VERIFY` printed on a node. Raises WorkloadError if that is not all of it."""

    def __init__(self, node: str, text: str) -> None:
        lines = [line.split() for line in text.splitlines()]
        if ["verified"] not in lines:
            raise WorkloadError(f"{node} did not read all of its files again")
        times = [float(at) for at in _values(lines, "at", r"\d{1,12}\.\d{1,9}")]
        if len(times) < 2:  # noqa: PLR2004 - between two there is a time
            raise WorkloadError(f"{node} wrote {len(times)} files, which is too few")
        self.writes = len(times)
        self.outage = max(later - earlier for earlier, later in pairwise(times))
        self.lost = _values(lines, "lost", r"\d+")
        self.places = {
            f"{fsname}-{kind}{int(index):04x}"
            for fsname in _values(lines, "filesystem", r"\S{1,8}")
            for kind in ("OST", "MDT")
            for index in _values(lines, kind, r"\d{1,5}")
        }


def _values(lines: Sequence[Sequence[str]], word: str, form: str) -> list[str]:
    return [line[1] for line in lines if len(line) > 1 and line[0] == word and re.fullmatch(form, line[1])]


def _measurement(options: Options, phase: str, deeds: Sequence[Deed], names: Sequence[str], folder: str) -> Measurement:
    def script(text: str, *values: str) -> Command:
        return ("sh", "-c", text, "vmlab", *values)

    def pause(name: str, seconds: int) -> Task:
        return Task(name=name, node=names[0], argv=("sleep", str(seconds)), deadline_s=seconds + _SHORT_S)

    limit = float(options.timeout_s)
    return Measurement(
        name=phase,
        labels={"phase": phase},
        services=tuple(
            Service(
                name=f"write.{node}",
                node=node,
                argv=script(_WRITE, f"{folder}/{node}", _NOTES, str(int(options.size))),
                deadline_s=options.before_s + options.after_s + limit * (len(deeds) + 1) + _READ_S,
                ready=("test", "-s", f"{_NOTES}/acknowledged"),
                ready_s=_READY_S,
            )
            for node in names
        ),
        tasks=(
            pause("before", options.before_s),
            *deeds,
            pause("after", options.after_s),
            *(Task(name=f"stop.{node}", node=node, argv=script(_STOP, _NOTES), deadline_s=limit) for node in names),
            *(
                Task(
                    name=f"verify.{node}",
                    node=node,
                    argv=script(_VERIFY, f"{folder}/{node}", _NOTES),
                    deadline_s=_READ_S,
                )
                for node in names
            ),
        ),
    )


def _unwritten(node: str, output: Output) -> str:
    if output.timed_out:
        return f"a write on {node} hangs, {output.seconds:.0f} s after it should have been the last"
    return f"a write on {node} failed: {output.cause}"


def _moved(outputs: Outputs, phase: str) -> _Moves:
    """What `lab.filesystems.failover.Failover` became as JSON. Raises WorkloadError."""
    output = outputs.get(phase)
    if output is None or not output.ok:
        raise WorkloadError(f"there was no {phase}")
    try:
        return _Moves.model_validate_json(output.stdout) if output.stdout.strip() != "null" else _Moves()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise WorkloadError(f"the {phase} did not tell what it did: {place}: {first['msg']}") from None


def _check_met(phase: str, moved: Sequence[_Move], read: Iterable[_Read]) -> None:
    """Raises WorkloadError if no file was where something moved; an MGT holds none."""
    holding = [one.target for one in moved if not one.target.endswith("-MGS")]
    written = {place for found in read for place in found.places}
    if holding and not written.intersection(holding):
        raise WorkloadError(f"nothing was written to {', '.join(holding)}: this {phase} proves nothing")


def _lost(outputs: Outputs) -> Iterator[str]:
    for node, output in by_node("verify", outputs).items():
        found = _Read(node, output.stdout)
        if found.lost:
            named = ", ".join(found.lost[:_NAMED]) + (" ..." if len(found.lost) > _NAMED else "")
            yield f"{node}: {len(found.lost)} of {found.writes} acknowledged files are lost or changed: {named}"
