"""Whether a folder is one on several hosts, and fit for disks that guests on them share: tried with QEMU's own tool.

What one host writes past the page cache the others read at once, and each other's locks hold: NFS with `local_lock` or
`nolock`, a folder that is not mounted, or two of one name, are found before there is a disk in them.
"""

from collections.abc import Mapping

from vmlab.errors import HostError
from vmlab.runtime.talk import Talk
from vmlab.runtime.wait import Deadline
from vmlab.shell import script
from vmlab.virt.machine import Machine

_IN_FOLDER = script(__file__, "in_folder.sh")
_HOLD = _IN_FOLDER + script(__file__, "hold_in_folder.sh")
_LOOK = _IN_FOLDER + script(__file__, "look_in_folder.sh")
_ASK_S = 60.0


def refuse_unshared(folder: str, machines: Mapping[str, Machine]) -> None:
    """Raise HostError, naming the host, where it is not; nothing of the trial stays there. One host tries it alone."""
    (first, holder), *others = machines.items()
    with Talk(holder.argv(("sh", "-c", _HOLD, "vmlab", folder, str(len(others))))) as talk:

        def said(told: bytes = b"") -> str:
            if told:
                talk.tell(told)
            line = talk.line(Deadline.after(_ASK_S))
            if line is None:
                raise _unfit(folder, first, talk.complaint or f"no answer in {_ASK_S:.0f} s")
            return line

        file = said()
        for name, machine in others:
            _look(name, machine, folder, file)
        said(b"\n")
        for page, (name, machine) in enumerate(others, 1):
            _look(name, machine, folder, file, str(page))
        said(b"\n")


def _look(name: str, machine: Machine, folder: str, *rest: str) -> None:
    done = machine.run(("sh", "-c", _LOOK, "vmlab", folder, *rest), deadline_s=_ASK_S)
    if not done.ok:
        raise _unfit(folder, name, f"no end after {_ASK_S:.0f} s" if done.timed_out else done.last_line)


def _unfit(folder: str, host: str, why: str) -> HostError:
    told = f"guests cannot share disks in {folder}: {host}: {why}"
    return HostError(told, hint=f"findmnt -T {folder}, on each host of the servers")
