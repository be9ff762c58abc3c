"""Under what figures came about, as far as runs tell."""

import json
from collections.abc import Iterable

from vmlab.records.run import RunRecord
from vmlab.values.identity import asked_bed


def conditions(record: RunRecord) -> dict[str, str]:
    """What was measured, on what, by name; "" where it is not known."""
    return {
        "bed": asked_bed(record.bed),
        "workload": record.workload,
        "options": " ".join(f"{name}={_told(value)}" for name, value in sorted(record.options.items())),
        "acceleration": record.accel,
        "soft-RoCE": "yes" if record.soft else "no",
        "host's CPU": _several(host.cpu for host in record.hosts),
        "host's kernel": _several(host.kernel for host in record.hosts),
        "QEMU": _several(host.hypervisor for host in record.hosts),
        "image": _several(node.image for node in record.nodes),
        "kernel": _several(node.kernel for node in record.nodes),
        "Lustre": _several(node.lustre for node in record.nodes),
    }


def differing(one: RunRecord, other: RunRecord) -> tuple[str, ...]:
    """What is not the same for both, in words: `Lustre 2.15.5, then 2.16.1`."""
    first, then = conditions(one), conditions(other)
    return tuple(
        f"{name} {first[name] or '?'}, then {then[name] or '?'}" for name in first if first[name] != then[name]
    )


def alike(one: RunRecord, other: RunRecord) -> bool:
    """They measured the same: bed, workload, options and points, and neither was emulated where the other was not."""

    def asked(record: RunRecord) -> tuple[object, ...]:
        what = (asked_bed(record.bed), record.workload, dict(record.options), [dict(point) for point in record.points])
        return (*what, record.accel, record.soft, record.fresh)

    return asked(one) == asked(other)


def _told(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _several(values: Iterable[str]) -> str:
    return ", ".join(sorted({value for value in values if value}))
