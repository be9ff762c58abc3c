"""Why a figure is worth less than it looks."""

from collections.abc import Iterator, Mapping

from vmlab.metrics import BARE, HOST, ON, Summary
from vmlab.records.run import RunRecord
from vmlab.values.nodeset import expand

MOST_SPREAD = 0.2
"""In parts of the median: figures that vary more are marked."""


def reasons(record: RunRecord, one: Summary) -> tuple[str, ...]:
    """One line for each; none where nothing is known against it."""
    return tuple(_found(record, one))


def named(record: RunRecord, labels: Mapping[str, str]) -> tuple[str, ...]:
    """The nodes that labels name; all of the run where they name none."""
    known = {node.name: None for node in record.nodes if node.where != HOST}
    found = {name for value in labels.values() for name in nodes_of(value) if name in known}
    return tuple(name for name in known if name in found) or tuple(known)


def _found(record: RunRecord, one: Summary) -> Iterator[str]:
    where = one.labels.get(ON)
    if where not in (HOST, BARE):
        if record.accel == "tcg":
            yield "emulated, without KVM (tcg): says nothing about the hardware"
        shares = {node: share for host in record.hosts for node, share in host.remote_memory.items() if share > 0}
        for node in named(record, one.labels):
            if node in shares:
                yield f"{_percent(shares[node])} of the memory of {node} lay in another NUMA cell than its CPUs"
    if record.soft:
        yield "over soft-RoCE: says nothing about the hardware"
    if one.trials > 1 and one.spread > MOST_SPREAD * abs(one.median):
        yield f"the trials differ by more than {100 * MOST_SPREAD:.0f} % of their median"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def nodes_of(value: str) -> tuple[str, ...]:
    """The names in a label's value; none if it is no set of nodes."""
    try:
        return expand(value)
    except ValueError:
        return ()
