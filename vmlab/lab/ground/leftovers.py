"""What runs left in guests: commands are ended, by the mark that they and their children carry; files are removed.

Files lie in a folder of each run's own, which is called as the run is.
What the kernel knows needs no pid file, and a variable's value cannot be that of another process. Who holds a bed knows
that no run goes on in it: then whatever carries a mark there is what a killed run left. Commands of `exec`, which holds
no bed, are told by their marks' beginning and left alone.
"""

import contextlib
import secrets
from collections.abc import Mapping

from vmlab.errors import BusyError, VmlabError
from vmlab.guest.external import NoRoot
from vmlab.guest.ssh import RunsCommands
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.hosts import Hosts
from vmlab.runtime.parallel import each
from vmlab.shell import script
from vmlab.workloads import MARK

FOLDERS = f"/var/tmp/{MARK}"  # noqa: S108 - in guests; whoever puts something there looks whose it is
"""Where runs have files in guests: a folder for each, called as the run is."""

_END_S = 60.0
_JOBS = 32
_EXEC = "exec"  # no run is called so

_END = script(__file__, "end_marked.sh")


def mark(run: str, measurement: str, task: str) -> str:
    """The value of the variable of one task."""
    return f"{run}/{measurement}/{task}"


def exec_mark() -> str:
    """The value of the variable of one `exec`."""
    return f"{_EXEC}/{secrets.token_hex(8)}"


def _ended(how: str, value: str) -> tuple[str, ...]:
    return "sh", "-c", _END, "vmlab", how, value, MARK, FOLDERS, _EXEC


def end_exec(guests: Mapping[str, RunsCommands], value: str, deadline_s: float) -> list[str]:
    """End the commands of one `exec`; the guests that did not answer: there `timeout` ends what runs."""
    return _end_in(guests, "task", value, deadline_s)


def end_task(guest: RunsCommands, value: str) -> None:
    """End the task of exactly this mark. Raises GuestError."""
    guest.run(_ended("task", value), deadline_s=_END_S, as_root=True)


def end_run(guests: Mapping[str, RunsCommands], run: str, deadline_s: float = _END_S) -> None:
    """End all of one run, and remove its files.

    A guest that does not answer is passed over: `timeout` in it ends what runs.
    """
    _end_in(guests, "run", run, deadline_s)


def end_leftovers(guests: Mapping[str, RunsCommands]) -> None:
    """End and remove what runs left in the guests of a bed that the caller holds.

    One that does not answer is passed over.
    """
    _end_in(guests, "any", "", _END_S)


def end_leftovers_unless_held(hosts: Hosts, bed: str, guests: Mapping[str, RunsCommands]) -> None:
    """The same for who does not hold the bed: nothing is ended while somebody does, whose run it may be."""
    with contextlib.suppress(BusyError), locked(hosts, bed):
        end_leftovers(guests)


def _end_in(guests: Mapping[str, RunsCommands], how: str, value: str, deadline_s: float) -> list[str]:
    """The guests that did not answer."""
    silent = []

    def end(name: str) -> None:
        command = _ended(how, value)
        try:
            try:
                ended = guests[name].run(command, deadline_s=deadline_s, as_root=True)
            except NoRoot:  # what runs there is the user's, too
                ended = guests[name].run(command, deadline_s=deadline_s)
        except VmlabError:
            silent.append(name)
        else:
            silent.extend([name] if ended.timed_out else [])

    each(end, guests, jobs=_JOBS, failed="what runs left could not be ended")
    return silent
