"""Why a command failed, in one line, out of all that it printed.

Tools tell the cause first and its consequences after it; rules, warnings and stack traces stand between. So the first
line that complains counts, and never one that is only drawn.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

_LONGEST = 300

_SAYS = re.compile(r"\w")
_COMPLAINS = re.compile(
    r"\b(?:errors?|failed|failure|fatal|fails|cannot|can't|couldn'?t|could not|unable|not found|no such|not permitted|"
    r"denied|refused|invalid|illegal|unknown|unrecognized|unsupported|not supported|missing|timed out|unreachable|"
    r"killed|aborted|aborting|segmentation fault|bus error|out of memory|no space|cancelled|exceeded|exceeds|"
    r"is down|is busy|in use|must be|should be|not available|has no|no route|panic|assertion|undefined|unexpected)\b",
    re.IGNORECASE,
)
_WARNS = re.compile(r"\bwarning\b|^\s*(?:note|info|hint)\b", re.IGNORECASE)
_ONLY_FOLLOWS = re.compile(
    r"^\s*(?:make(?:\[\d+\])?: \*\*\*|exit status \d+|command exited with|script failed|aborted?\.?$|terminated\.?$|"
    r"(?:srun: )?(?:Force )?[Tt]erminated|srun: Job step aborted|srun: error: .*: Terminated$)",
)
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
    for text in (stderr, stdout):
        if line := first_complaint(text.splitlines()):
            return line
    for text in (stderr, stdout):
        if lines := list(_telling(text.splitlines())):
            return lines[-1]
    return ""


def first_complaint(lines: Iterable[str]) -> str:
    """The first line that says that something is wrong, and is not only what follows from it; "" if none does."""
    complaints = [line for line in _telling(lines) if _COMPLAINS.search(line) and not _WARNS.search(line)]
    return next((line for line in complaints if not _ONLY_FOLLOWS.search(line)), next(iter(complaints), ""))


def matched(table: Sequence[tuple[str, str]], text: str) -> str:
    """What the first row says whose pattern is found; its groups fill the braces."""
    for pattern, said in table:
        if found := re.search(pattern, text, re.MULTILINE):
            return said.format(*(group or "" for group in found.groups()))
    return ""


def _telling(lines: Iterable[str]) -> Iterator[str]:
    """Without what is only drawn, and without the frame that some draw around their words."""
    for line in lines:
        words = re.sub(r"^[=*#|!+\s-]{2,}|^[=*#|!]\s+|[=*#|!\s]+$", "", line).strip()
        if _SAYS.search(words):
            yield words[:_LONGEST]
