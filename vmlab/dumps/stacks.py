"""What crash(8) says of a dump's threads: the one that panicked, and the others by where they stand.

Read in crash 8.0.6's output of `sys`, `bt` and `foreach bt`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

COMMANDS = "sys\nbt\nforeach bt\nquit\n"
"""What crash is to be asked."""

_THREAD = re.compile(r'PID: +(?P<pid>\d+) +TASK: \S+ +CPU: +\d+ +COMMAND: "(?P<command>[^"]*)"')
_FRAME = re.compile(r" *#\d+ \[[0-9a-f]+\] (?P<function>\S+) at [0-9a-f]+(?: (?P<module>\[[\w-]+\]))?")
_PANIC = re.compile(r' *PANIC: "?(?P<words>.*?)"?')
_LUSTRE = re.compile(
    r"\[(?:lustre|ptlrpc|obdclass|lnet|ko2iblnd|ksocklnd|lod|lov|lmv|llite|mdt|mdd|mdc|mgs|mgc|ofd|osc|osp|ost|"
    r"osd_\w+|ldiskfs|libcfs|fid|fld|lfsck|lquota|nodemap)\]"
)
_NAMED = 8


@dataclass(frozen=True, slots=True)
class Thread:
    """`frames` are functions, the innermost first, with their `[module]`; `text` is all that crash says of it."""

    pid: int
    command: str
    frames: tuple[str, ...]
    text: str


def summary(said: str) -> str:
    """The panic, its thread's stack as crash prints it, then all threads, those in Lustre first, the same stacks once.

    Raises ValueError if there is no thread in it: crash did not understand the dump.
    """
    threads = list(_threads(said))
    if not threads:
        raise ValueError("there is no thread in what crash said")
    panic = next((found["words"] for line in said.splitlines() if (found := _PANIC.fullmatch(line))), "")
    return "\n".join((f"panic: {panic or 'none'}", "", threads[0].text, "", *_by_stack(threads[1:]), ""))


def _threads(said: str) -> Iterator[Thread]:
    heads = list(_THREAD.finditer(said))
    ends = [*(head.start() for head in heads[1:]), len(said)]
    for found, end in zip(heads, ends, strict=False):
        text = said[found.start() : end].rstrip()
        frames = tuple(" ".join(filter(None, frame.groups())) for frame in _FRAME.finditer(text))
        yield Thread(int(found["pid"]), found["command"], frames, text)


def _by_stack(threads: Iterable[Thread]) -> Iterator[str]:
    stacks: dict[tuple[str, ...], list[Thread]] = {}
    for thread in threads:
        stacks.setdefault(thread.frames, []).append(thread)
    for frames, alike in sorted(stacks.items(), key=lambda item: (not _in_lustre(item[0]), -len(item[1]))):
        names = [f"{thread.command} ({thread.pid})" for thread in alike]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{len(alike)} thread{'s' * (len(alike) != 1)}: {', '.join(names[:_NAMED])}{more}"
        yield from (f"    {frame}" for frame in frames or ("it has no stack, or runs in user space",))
        yield ""


def _in_lustre(frames: Iterable[str]) -> bool:
    return any(_LUSTRE.search(frame) for frame in frames)
