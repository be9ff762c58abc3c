"""What a guest asks of the host, and what it is answered: a line each, with the request's number in front.

    request:  NUMBER on|off|cycle|status NODES     answer:  NUMBER ok on=NODES off=NODES
                                                            NUMBER no WHY

An answer may come after whoever asked has given up; by its number nobody takes it for that of a later request. The
number is the guest's own, and means nothing here. All that comes is a guest's word, and may be anything.
"""

import re
from dataclasses import dataclass

LONGEST = 4096
"""Bytes of a line; a longer one is none."""

_LINE = re.compile(rb"(?P<number>[A-Za-z0-9-]{1,40}) (?P<verb>on|off|cycle|status) (?P<nodes>[!-~]{1,2048})")
_NUMBER = re.compile(rb"([A-Za-z0-9-]{1,40})(?: |$)")
_WHY = 400


@dataclass(frozen=True, slots=True)
class Request:
    """`nodes` is a node set as the guest wrote it."""

    number: str
    verb: str
    nodes: str


def parse(line: bytes) -> Request | None:
    """The request that a line is, if it is one."""
    found = _LINE.fullmatch(line)
    return None if found is None else Request(*(part.decode() for part in found.groups()))


def number_of(line: bytes) -> str | None:
    """The number that a line begins with which is no request; None: nobody could tell what the answer is to."""
    found = _NUMBER.match(line)
    return None if found is None else found[1].decode()


def answer(number: str, text: str, *, done: bool) -> bytes:
    """The line, whatever is in `text`."""
    words = " ".join(text.split())
    told = "".join(each if each.isprintable() else "?" for each in words)
    return f"{number} {'ok' if done else 'no'} {told if done else told[:_WHY]}".rstrip().encode() + b"\n"
