"""How many files this process may have open: a connection to a guest is one, a command that runs is two."""

import resource
import sys
from pathlib import Path

from vmlab.errors import HostError

OF_A_COMMAND = 2
STARTING = 6
"""Of a command while it starts: also the child's ends of its pipes, its input, and the pipe that tells of a failure."""
OF_A_THREAD = STARTING + 2
"""Of a thread that works for a guest: its connection, a file or socket that it looks at, and a command that starts."""

_OWN = Path("/proc/self/fd")


def room() -> int:
    """So many more may be open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else max(0, limit - sum(1 for _ in _OWN.iterdir()))


def require(number: int, what: str) -> None:
    """Raise HostError unless so many more may be open; `what` needs them, in words for people."""
    if number > (left := room()):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        raise HostError(
            f"{what} are {number} open files, and this process may have {left} more (of {limit})",
            hint=f"as root: ulimit -n {1 << (limit + number).bit_length()}",
        )
