"""Which indices the targets of a file system have."""

from collections.abc import Iterator
from itertools import count

from vmlab.topology import model
from vmlab.topology.read import FileSystemDraft, TargetDraft


def written(target: TargetDraft) -> range | None:
    """The indices that the file itself gives."""
    entry = target.entry.value
    if not isinstance(entry, model.TargetEntry) or entry.index is None:
        return None
    return range(entry.index, entry.index + entry.count)


def numbered(filesystem: FileSystemDraft, kind: str) -> Iterator[tuple[TargetDraft, int]]:
    """Each single target of a kind with its index. One that has none written gets the lowest that nobody wrote."""
    targets = [target for target in filesystem.targets if target.kind == kind]
    taken = {index for target in targets for index in written(target) or ()}
    free = (index for index in count() if index not in taken)
    for target in targets:
        entry = target.entry.value
        amount = entry.count if isinstance(entry, model.TargetEntry) else 1
        for index in written(target) or [next(free) for _ in range(amount)]:
            yield target, index
