"""A job: commands at once on many nodes, prepared and started together; the first that fails ends the others."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from vmlab.errors import VmlabError
from vmlab.lab.measuring.commands import Commands, Keep, told
from vmlab.lab.measuring.start import CommonStart, own
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline, now
from vmlab.workloads import Job, Output, Task

_FELLOW_S = 1.0  # those that fail within this time of each other are all told: whose fault it was nobody can say
_JOBS = 32


@dataclass(slots=True)
class _Running:
    task: Task
    started: datetime
    future: "Future[Output]"
    ended: bool = False


def perform(job: Job, commands: Commands, keep: Keep) -> str:
    """Prepare, then the tasks with one start; why it failed, or ""."""
    if fault := _at_once(job.prepare, commands, keep, None, job.gather_s):
        return fault
    with CommonStart(len(job.tasks)) as start:
        return _at_once(job.tasks, commands, keep, start, job.gather_s)


def _at_once(tasks: Sequence[Task], commands: Commands, keep: Keep, start: CommonStart | None, gather_s: float) -> str:
    if not tasks:
        return ""
    each(commands.put, [task for task in tasks if task.files], jobs=_JOBS, failed="files cannot be put on the nodes")
    running: list[_Running] = []
    faults: list[str] = []
    with ThreadPoolExecutor(max_workers=len(tasks)) as pool:
        try:
            for place, task in enumerate(tasks):
                work = pool.submit(_run, commands, task, start, place, gather_s)
                running.append(_Running(task, datetime.now(UTC), work))
            if start is not None:
                faults += _started(running, start, gather_s, commands)
            if not faults and not _all_well(running):
                wait([one.future for one in running], timeout=_FELLOW_S)
        finally:
            _end(running, commands, start)
            faults += _kept(running, commands, keep)
    return told(faults)


def _run(commands: Commands, task: Task, start: CommonStart | None, place: int, gather_s: float) -> Output:
    if start is None:
        return commands.run(task)
    begin = now()
    argv = start.waiting(commands.bounded(task))
    result = commands.in_guest(task, argv, gather_s + task.deadline_s, start.word(place), start.hear(place))
    began = start.began(place)
    output = commands.output(task, replace(result, stdout=own(result.stdout)), now() - (began or begin))
    return replace(output, late_s=start.late_s(place))


def _started(running: Sequence[_Running], start: CommonStart, gather_s: float, commands: Commands) -> list[str]:
    """Give the word when all are there; whom it waited for in vain, if nobody failed meanwhile."""
    absent = start.gather(
        Deadline.after(gather_s),
        lambda: commands.broken.is_set() or any(one.future.done() for one in running),
    )
    if not absent:
        start.give()
        return []
    if commands.broken.is_set() or any(one.future.done() for one in running):
        return []
    late = [running[place].task for place in absent]
    return [f"{task.name} on {task.node} was not there within {gather_s:g} s" for task in late]


def _all_well(running: Sequence[_Running]) -> bool:
    """They ended well; False as soon as one did not."""
    return all(
        future.exception() is None and future.result().ok for future in as_completed(one.future for one in running)
    )


def _end(running: Sequence[_Running], commands: Commands, start: CommonStart | None) -> None:
    """End those that still run, or wait, and wait for them: bounded by their own deadlines at the latest."""
    left = [one for one in running if not one.future.done()]
    for one in left:  # before the start is called off, which ends those that wait for it: that is not their fault
        one.ended = True
    if start is not None:
        start.call_off()
    while left:  # who was only on the way to its node is not ended the first time
        each(lambda one: commands.end(one.task), left, jobs=_JOBS, failed="a job could not be ended")
        wait([one.future for one in left], timeout=_FELLOW_S)
        left = [one for one in left if not one.future.done()]


def _kept(running: Sequence[_Running], commands: Commands, keep: Keep) -> list[str]:
    """Keep what they left; why they failed by themselves. Raises what is no error of the tree."""
    outcomes = each(lambda one: _outcome(one, commands), running, jobs=_JOBS, failed="a job cannot be read")
    for one, (output, _) in zip(running, outcomes, strict=True):
        if output is not None:
            keep(one.task, output, one.started)
    return [fault for _, fault in outcomes if fault]


def _outcome(one: _Running, commands: Commands) -> tuple[Output | None, str]:
    """Its output, with its files, and why it failed by itself."""
    output = None
    try:
        output = one.future.result()
        output = replace(output, stopped=one.ended, timed_out=output.timed_out and not one.ended)
        output = commands.bring(one.task, output)
    except VmlabError as error:
        return output, "" if one.ended else error.message
    return output, "" if one.ended or output.ok else commands.failed(one.task, output)
