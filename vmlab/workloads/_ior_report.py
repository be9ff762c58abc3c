"""What IOR prints (3.2.0 to 4.1, https://github.com/hpc/ior): a report in JSON, and complaints anywhere in it.

Every task writes its complaints to the standard output in which the first one is writing the report, so they stand
between its lines or in the middle of one. The report of 3.2 is no JSON even without them (brackets that nobody opened);
the list `summary` is, in all versions. Words: `WARN`, `EWARN`, `ERR` in src/iordef.h until 3.3, src/aiori-debug.h from
4.0; `CountErrors`, `CompareBuffers`, `CheckFileSize` in src/ior.c; src/aiori-POSIX.c.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from vmlab.errors import WorkloadError

_LONGEST = 300

_SUMMARY = re.compile(r'"summary"\s*:\s*(?=\[)')
_COMPLAINT = re.compile(r"(?:ior )?\b(?:WARNING|ERROR|INFO): [^\n]*(?:\n|$)")
# A line of a report: brackets, or a name with a value.
_OF_A_REPORT = re.compile(r'[\[\]{},\s]*|\s*"[^"\n]*"\s*:\s*(?:"[^"\n]*"|[-+.\w]+|[\[{])\s*,?\s*')

_SAID = re.compile(r"\b(?P<kind>WARNING|ERROR): (?P<text>[^\n]+)")
_WRONG_DATA = re.compile(
    r"incorrect data on|overflow in errors counted|data check error|data differs|mismatch|returned EOF prematurely",
    re.IGNORECASE,
)
_WHERE = re.compile(r"FAILED comparison of buffer.*\n.*File name = (\S+)\n(?:.*\n)?.*File byte offset = (\d+)")
_CALL = r"(?:p?read|p?write|fsync|fdatasync|sync|close|stat|unlink|rename|open|open64|lseek64|lseek|truncate|mknod)"
_FAILED_CALL = re.compile(
    rf"\b{_CALL}\(.*\bfailed|\bpartial (?:read|write)\b|F_(?:SETLKW|UNLCK)|cannot (?:delete|write to|read from) file"
)
_SIZES = re.compile(r"(Expected|Stat\(\) of|Using actual) aggregate (?:file size|bytes moved) *= (\d+)")
_BY_STONEWALL = "aused by deadlineForStonewalling"
_INCONSISTENT = "inconsistent file size by different tasks"
# What a file system answers that lost a server or a client's state, in strerror's words. A full one is the lab's doing.
_LOST = re.compile(
    r"Input/output error|Cannot send after transport endpoint shutdown|Transport endpoint is not connected|"
    r"Stale file handle|Connection timed out|Structure needs cleaning|Bad message|Identifier removed"
)


def reported(text: str) -> bool:
    """A report begins in it."""
    return re.search(r"^\{", text, re.MULTILINE) is not None


def summary(text: str) -> list[dict[str, Any]]:
    """The figures, by operation. Raises WorkloadError if they are not complete."""
    begin = _SUMMARY.search(text)
    if begin is None:
        raise WorkloadError("IOR's report is cut off" if '"tests"' in text else "IOR's report has no summary")
    rest = _COMPLAINT.sub("", text[begin.end() :])
    only = "\n".join(line for line in rest.splitlines() if _OF_A_REPORT.fullmatch(line))
    for candidate in (rest, only):
        try:
            found, _ = json.JSONDecoder().raw_decode(re.sub(r"(:\s*)-?nan\b", r"\1NaN", candidate).lstrip())
        except (ValueError, RecursionError):
            continue
        rows = [row for row in found if isinstance(row, dict)]
        if not rows:
            raise WorkloadError("IOR's report has no summary")
        return rows
    raise WorkloadError("IOR's report is cut off")


def complaints(text: str) -> Iterator[str]:
    """What the file system did wrong, by IOR's own words: data that differ, calls that failed, sizes that are not so.

    Apart from these IOR warns of what it was told to do, and MPI of what it found; neither is the file system's doing.
    """
    said = [(found["kind"], found["text"].strip()) for found in _SAID.finditer(text)]
    wrong = [line.rstrip(".") for _, line in said if _WRONG_DATA.search(line)]
    where = _WHERE.search(text)
    if wrong or "FAILED comparison of buffer" in text:
        place = f" ({where[1]} from byte {where[2]})" if where else ""
        yield f"data read back are not what was written: {_folded(wrong) or 'a comparison failed'}{place}"
    sizes: Mapping[str, str] = dict(_SIZES.findall(text))
    # What a stonewall ends is shorter than its block; a shared file is nevertheless as long as its last task's place.
    walled = _BY_STONEWALL in text
    expected = sizes.get("Using actual" if walled else "Expected", sizes.get("Using actual", "?"))
    seen = sizes.get("Stat() of")
    if seen is not None and not (walled and expected != "?" and int(seen) >= int(expected)):
        yield f"the file system says that {seen} bytes were written: {expected} were"
    if any(_INCONSISTENT in line for _, line in said):
        yield "the nodes do not see the same size of a file"
    failed = [
        _plain(line)
        for kind, line in said
        if _FAILED_CALL.search(line) and line.rstrip(".") not in wrong and (kind == "WARNING" or _LOST.search(line))
    ]
    if failed:
        yield _folded(failed)


def _plain(line: str) -> str:
    """Without where in IOR's source it stands."""
    return re.sub(r",? \(\S+:\d+\)\.?$", "", line)


def _folded(lines: list[str]) -> str:
    """The first of each kind, and how many like it; numbers make no kind."""
    kinds: dict[str, list[str]] = {}
    for line in lines:
        kinds.setdefault(re.sub(r"0x[0-9a-f]+|\d+", "#", line), []).append(line)
    told = [same[0] + (f" (and {len(same) - 1} more like it)" if len(same) > 1 else "") for same in kinds.values()]
    return "; ".join(told)[:_LONGEST]
