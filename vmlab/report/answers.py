"""What many nodes said, folded: equal output once, under the set of nodes that printed it."""

import sys
from collections.abc import Sequence
from datetime import datetime

from vmlab.lab.beds.execute import Answer
from vmlab.report.errors import painted
from vmlab.values.nodeset import fold
from vmlab.values.printable import plain, printable

_RULE = "---------------"


def console_log(starts: Sequence[tuple[datetime | None, str]]) -> str:
    """What a console printed, with a line before each start of several."""
    parts = []
    for until, said in starts:
        if len(starts) > 1:
            parts.append(
                f"--- {'since the last start' if until is None else f'until {until:%Y-%m-%d %H:%M:%S} UTC'} ---\n"
            )
        text = printable(plain(said))
        parts.append(text if text.endswith("\n") or not text else f"{text}\n")
    return "".join(parts)


def tell(answers: Sequence[Answer]) -> None:
    """Output on standard output; what commands complained of, and their statuses, on standard error."""
    groups: dict[tuple[str, str, int], list[str]] = {}
    for answer in answers:
        groups.setdefault((answer.stdout, answer.stderr, answer.status), []).append(answer.node)
    for (stdout, stderr, status), nodes in groups.items():
        name = fold(nodes)
        if stdout:
            count = f" ({len(nodes)})" if len(nodes) > 1 else ""
            sys.stdout.write(painted(f"{_RULE}\n{name}{count}\n{_RULE}", "36", sys.stdout) + "\n")
            sys.stdout.write(stdout if stdout.endswith("\n") else f"{stdout}\n")
            sys.stdout.flush()
        for line in stderr.splitlines():
            sys.stderr.write(f"{name}: {line}\n")
        if status:
            sys.stderr.write(painted(f"{name}: exit status {status}", "31", sys.stderr) + "\n")
