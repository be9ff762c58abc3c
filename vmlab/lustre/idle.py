"""Clients that let go of a target which they do not use, and have to be woken for its recovery.

An OSC without locks and requests disconnects 20 s after the last reply (`osc.*.idle_timeout`, since 2.12). It does the
same when there was no reply because the server died: its farewell is lost, the import becomes IDLE, and an idle import
does not reconnect by itself (`ptlrpc_disconnect_idle_interpret` in lustre/ptlrpc/import.c). The target, however, has
the client on its disk as one that it had, waits for it until the recovery window is over, and evicts it. A request
wakes the import, and `idle_connect` makes one; what the target knows the client by is still valid.
"""

from collections.abc import Iterable

from vmlab.shell import script
from vmlab.steps import Command

_WAKE = script(__file__, "wake.sh")


def wake(labels: Iterable[str]) -> Command:
    """Have a client's imports of these targets connect. One that is connected, or is not there, is left as it is.

    An import that still waits for the answer to its farewell becomes idle after this: say it again until all are back.
    """
    return ("sh", "-c", _WAKE, "vmlab", *labels)
