"""Sweeps of the bed's shape: `sweep: {bed: {"nodes.pair.cpus": [2, 8], "nodes.*.numa": [strict, none]}}`.

A key is what `--set` takes. Several make their product, the last changing fastest; each combination is a bed that is
brought up, measured and taken down by `vmlab run`.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from itertools import product
from math import prod

from vmlab.errors import UsageError
from vmlab.topology.change import put
from vmlab.topology.tree import Mapping, Report, Scalar, Sequence, Tree, plain
from vmlab.topology.wording import quote

SWEEP = "sweep"
_BED = "bed"
_MOST = 100
_FIXED = ("name", "workloads", SWEEP)
"""What is the same in all shapes; options of workloads are swept where they stand."""


def shaped(tree: Tree, report: Report) -> Iterator[tuple[dict[str, str], Mapping]]:
    """The trees of all shapes of a sound file, each with the values that make it; none where it has no sweep."""
    swept = _below(_below(tree, SWEEP), _BED)
    if not isinstance(tree, Mapping) or not isinstance(swept, Mapping):
        return
    axes = {key: entry.value.items for key, entry in swept.entries.items() if isinstance(entry.value, Sequence)}
    if (number := prod(map(len, axes.values()))) > _MOST:
        report(swept.mark, f"the sweep has {number:,} beds (expected at most {_MOST})")
        return
    if wrong := [key for key in axes if key.split(".")[0] in _FIXED]:
        report(
            swept.entries[wrong[0]].mark, f"{quote(wrong[0])} is the same in all beds of a sweep (expected another key)"
        )
        return
    if wrong := [key for key, values in axes.items() if len(set(map(_text, values))) < len(values)]:
        report(swept.entries[wrong[0]].mark, f"{quote(wrong[0])} has a value twice (expected each once)")
        return
    for values in product(*axes.values()):
        own = deepcopy(tree)
        del own.entries[SWEEP]
        try:
            for key, value in zip(axes, values, strict=True):
                put(own, key, deepcopy(value), quote(key))
        except UsageError as error:
            report(swept.mark, f"`{SWEEP}`: {error.message}")
            return
        yield dict(zip(axes, map(_text, values), strict=True)), own


def _below(tree: Tree | None, key: str) -> Tree | None:
    entry = tree.entries.get(key) if isinstance(tree, Mapping) else None
    return None if entry is None else entry.value


def _text(value: Tree) -> str:
    """As a label has it: what was written, mappings and lists in one line."""
    return value.text if isinstance(value, Scalar) else json.dumps(plain(value), default=str).replace('"', "")
