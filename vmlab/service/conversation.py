"""One guest's end of its channel: lines are read and answered, one after the other, until it is gone.

What a guest sends is bounded here, in memory and in time: no more of a line is kept than the longest one has, nothing
is read while a request is at work, and between two reads is a pause. Of what came at once only the last request counts:
the guest's command sends one and waits for its answer, so nobody waits for the others, and a flood is soon over. What
it does not read is given up.
"""

import socket
from collections.abc import Callable, Iterator

from vmlab.errors import VmlabError
from vmlab.runtime.log import log
from vmlab.runtime.wait import now, sleep
from vmlab.service.request import LONGEST, Request, answer, number_of, parse

Act = Callable[[Request], str]
"""Does what is asked and returns the answer's text; raises VmlabError for what is refused."""

_PART = 4096
_PAUSE_S = 0.05  # 20 requests, or 80 kB of anything else, in a second
_LONGEST_PAUSE_S = 0.5
_UNREAD_S = 10.0


def converse(connection: socket.socket, act: Act) -> None:
    """Answer what comes until the other side is gone. Raises OSError, and TimeoutError if answers are not read."""
    for lines in _lines(connection):
        line = next((each for each in reversed(lines) if parse(each) is not None), lines[-1])
        begin = now()
        reply = _reply(line, act)
        if reply is not None:
            connection.settimeout(_UNREAD_S)
            connection.sendall(reply)
            connection.settimeout(None)
            # As long as it took: on a host of many domains, too, a guest that asks without end costs half a CPU.
            sleep(min(max(_PAUSE_S, now() - begin), _LONGEST_PAUSE_S))


def _reply(line: bytes, act: Act) -> bytes | None:
    request = parse(line)
    if request is None:
        number = number_of(line)
        return None if number is None else answer(number, "expected: NUMBER on|off|cycle|status NODES", done=False)
    try:
        return answer(request.number, act(request), done=True)
    except VmlabError as error:
        log.info("%s %s: refused: %s", request.verb, request.nodes, error.message)
        return answer(request.number, error.message, done=False)


def _lines(connection: socket.socket) -> Iterator[list[bytes]]:
    """The whole lines that came at once and are not empty, at least one; one that is too long is passed over."""
    rest, passing = b"", False
    while part := connection.recv(_PART):
        *whole, rest = (rest + part).split(b"\n")
        if passing and whole:
            del whole[0]  # the end of the one that was too long
            passing = False
        if lines := [line for line in whole if line and len(line) <= LONGEST]:
            yield lines
        if passing or len(rest) > LONGEST:
            rest, passing = b"", True
        sleep(_PAUSE_S)
