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
from vmlab.virt.machine import machine_of

_FOLDER = "/run/lock/vmlab"
_HOLD = script(__file__, "hold_there.sh")
_ANSWER_S = 60.0
_AGAIN_S = 0.5
_BEAT_S = 20.0
_SILENT_S = 120.0  # then the lock is free: the machine that held it is cut off


class LockThere:
    """A lock of the machine of `host`, which is about to be taken: the way there is, as soon as this is made.

    Whoever takes several in their order makes all of them first, and does not wait for one connection after the other.
    """

    def __init__(self, host: Host, name: str, *, what: str, shared: bool = False) -> None:
        """Raises HostError where no ssh is known to lead to the machine."""
        self._host, self._what, self._machine = host, what, machine_of(host)
        owner = lock.owner(machine=socket.gethostname()).decode()
        # Where ssh is a way of its own it may be one to another machine, whose locks would keep nobody away.
        meant = "" if host.ssh is None else host.call(lambda connection: connection.getHostname())
        how = ("-s" if shared else "-x", owner, f"{_SILENT_S:.0f}", meant)
        self._talk = Talk(self._machine.argv(("sh", "-c", _HOLD, "vmlab", _FOLDER, lock.file_name(name), *how)))

    def let_go(self) -> None:
        """Say that nobody needs it any more, and wait for nothing."""
        self._talk.told_all()

    def end(self) -> None:
        """Return when it is let go of."""
        self._talk.end()

    @contextlib.contextmanager
    def held(self, wait_s: float = 0.0) -> Iterator[None]:
        """As `lock.held`. Raises BusyError after `wait_s` seconds, HostError as `held_there`."""
        self._take(Deadline.after(wait_s))
        over = threading.Event()
        threading.Thread(target=self._beat, args=(over,), daemon=True, name="lock elsewhere").start()
        try:
            yield
        finally:
            over.set()

    def _take(self, deadline: Deadline) -> None:
        while True:
            self._talk.tell(b"\n")
            said = self._talk.line(Deadline.after(_ANSWER_S))
            if said == "held":
                return
            word, _, rest = (said or "").partition(" ")
            if word != "busy":
                why = rest or self._talk.complaint or "no answer"
                raise HostError(
                    f"{self._what} cannot be held on {self._machine.name}: {why}", hint=self._machine.try_it
                )
            if deadline.passed:
                raise lock.busy(self._what, rest.encode())
            sleep(_AGAIN_S)

    def _beat(self, over: threading.Event) -> None:
        while not over.wait(_BEAT_S):
            if not self._talk.tell(b"\n"):
                log.warning("%s is not held on %s any more: the connection is lost", self._what, self._host.name)
                return


@contextlib.contextmanager
def held_there(host: Host, name: str, *, what: str, wait_s: float = 0.0, shared: bool = False) -> Iterator[None]:
    """As `lock.held`, on the machine of `host`.

    Raises BusyError after `wait_s` seconds, and HostError if that machine is not reached or has no such lock.
    """
    asked = LockThere(host, name, what=what, shared=shared)
    try:
        with asked.held(wait_s):
            yield
    finally:
        asked.end()
