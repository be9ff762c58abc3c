"""Locks on other machines: held there by `flock` at the end of an ssh connection that lives as long as we do.

They are the locks that a vmlab on that machine takes, under the same names in the same folder.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator

from vmlab.errors import HostError
from vmlab.runtime import lock
from vmlab.runtime.log import log
from vmlab.runtime.talk import Talk
from vmlab.runtime.wait import Deadline, sleep
from vmlab.shell import script
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine, machine_of

_FOLDER = "/run/lock/vmlab"
_HOLD = script(__file__, "hold_there.sh")
_ANSWER_S = 60.0
_AGAIN_S = 0.5
_BEAT_S = 20.0
_SILENT_S = 120.0  # then the lock is free: the machine that held it is cut off


@contextlib.contextmanager
def held_there(host: Host, name: str, *, what: str, wait_s: float = 0.0, shared: bool = False) -> Iterator[None]:
    """As `lock.held`, on the machine of `host`; nothing for this machine.

    Raises BusyError after `wait_s` seconds, and HostError if that machine is not reached or has no such lock.
    """
    if host.local or host.simulated:
        yield
        return
    talk, over = _held(machine_of(host), name, what, Deadline.after(wait_s), shared=shared), threading.Event()
    beat = threading.Thread(target=_beat, args=(talk, over, host.name, what), daemon=True, name="lock elsewhere")
    beat.start()
    try:
        yield
    finally:
        over.set()
        talk.end()


def _held(machine: Machine, name: str, what: str, deadline: Deadline, *, shared: bool) -> Talk:
    owner = lock.owner(machine=socket.gethostname()).decode()
    how = ("-s" if shared else "-x", owner, f"{_SILENT_S:.0f}")
    while True:
        talk = Talk(machine.argv(("sh", "-c", _HOLD, "vmlab", _FOLDER, lock.file_name(name), *how)))
        said = talk.line(Deadline.after(_ANSWER_S))
        if said == "held":
            return talk
        complaint = talk.complaint
        talk.end()
        word, _, rest = (said or "").partition(" ")
        if word != "busy":
            raise HostError(
                f"{what} cannot be held on {machine.name}: {rest or complaint or 'no answer'}", hint=machine.try_it
            )
        if deadline.passed:
            raise lock.busy(what, rest.encode())
        sleep(_AGAIN_S)


def _beat(talk: Talk, over: threading.Event, host: str, what: str) -> None:
    while not over.wait(_BEAT_S):
        if not talk.tell(b"\n"):
            log.warning("%s is not held on %s any more: the connection is lost", what, host)
            return
