"""The line that says why a command failed: tools tell the cause first, and what follows from it after it."""

import re
from collections.abc import Iterable, Iterator, Sequence

_COMPLAINS = re.compile(
    r"\b(?:errors?(?!=)|fatal|fail(?:ed|s|ure)?|cannot|can't|could ?n[o']?t|unable|must|should be|"
    r"not (?:found|permitted|supported|loaded|exist|available)|already|no (?:such|space|route)|has no|invalid|illegal|"
    r"unknown|unrecognized|unsupported|undefined|unexpected|denied|refused?|missing|timed out|busy|in use|is down|"
    r"out of memory|segmentation fault|bus error|assertion|panic|killed|abort(?:ed|ing)|cancelled|exceed(?:s|ed)|"
    r"unreachable)\b",
    re.IGNORECASE,
)
# What tools add to their complaint, what shells make of it, and the kernel's log, which is of others, too.
_ADDS = re.compile(
    r"^\W*$|^\[ *\d+\.\d+\] |exiting with \d+|FATAL: *$|^(?:Is|Are|Do|Check|See|Try|This may have|Use|If) |"
    r"^\s*dmesg\(1\)|^\s*(?:hint|note|info)\b|\bwarning\b|^make(?:\[\d+\])?: |^exit status|^command exited with|"
    r"^script failed|^(?:Force )?(?:Aborted|Terminated)\.?$|^srun: (?:Force )?Terminated|^srun: Job step aborted|"
    r"^srun: error: .*: Terminated$",
    re.IGNORECASE,
)
# The frame that some draw around their words.
_FRAME = re.compile(r"^[=*#|!+\s-]{2,}|^[=*#|!]\s+|[=*#|!\s]+$")


def complaint(lines: Sequence[str]) -> str:
    """The first line that complains, else the last that says anything; "" if none does."""
    said = list(_telling(lines))
    return first_complaint(lines) or next(reversed(said), next(reversed(lines), "").strip())


def first_complaint(lines: Iterable[str]) -> str:
    """The first line that says that something is wrong, and is not what follows from it; "" if none does."""
    return next(filter(_COMPLAINS.search, _telling(lines)), "")


def _telling(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if not _ADDS.search(line) and (words := _FRAME.sub("", line).strip()) and re.search(r"\w", words):
            yield words
