"""Why a command failed, in one line, out of all that it printed."""

import re
from collections.abc import Sequence

from vmlab.values.complaint import complaint, first_complaint

_LONGEST = 300

# What a shell, the kernel's loader or libc says of a program that could not even begin, or that died.
_QUOTE = "['\"\u2018\u2019]"
_WHY = "(No such file or directory|Permission denied|Exec format error)"
_DIED = (
    (r"(\S+): error while loading shared libraries: ([^:\s]+): ", "{} needs the library {}, which is absent"),
    (r"(\S+): symbol lookup error: (.{1,160})", "{} does not fit its libraries: {}"),
    (
        rf"(?:exec|env|timeout|nohup): (?:failed to run command )?{_QUOTE}?([^\s'\"\u2018\u2019]+){_QUOTE}?: {_WHY}",
        "{} cannot be run: {}",
    ),
    (r"^(?:.*: )?([^\s:]+): (?:command )?not found$", "the guest has no {}"),
)


def cause(stderr: str, stdout: str = "") -> str:
    """The line that tells why; "" if nothing says anything. Standard error counts first, then standard output."""
    for text in (stderr, stdout):
        if died := matched(_DIED, text):
            return died
    for tell in (first_complaint, complaint):
        for text in (stderr, stdout):
            if (line := tell(text.splitlines())) and re.search(r"\w", line):
                return line[:_LONGEST]
    return ""


def matched(table: Sequence[tuple[str, str]], text: str) -> str:
    """What the first row says whose pattern is found; its groups fill the braces."""
    for pattern, said in table:
        if found := re.search(pattern, text, re.MULTILINE):
            return said.format(*(group or "" for group in found.groups()))
    return ""
