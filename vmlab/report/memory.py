"""What guests share of a host's memory."""

from typing import TYPE_CHECKING

from vmlab.report.snapshots import mib

if TYPE_CHECKING:
    from vmlab.lab.hosts.share_memory import SharedMemory


def told(found: "SharedMemory") -> str:
    """What came of `share_memory`, in words."""
    if found.permanent:
        return f"guests share pages: {mib(found.shared_bytes)} saved. KSM runs there by itself, and was left alone"
    if not found.shared_bytes:
        return f"nothing is shared: no guest's memory has pages alike ({found.took_s} s)"
    rest = "" if found.complete else "; there may be more: vmlab host share-memory"
    new = f"{mib(found.more_bytes)} of it new" if found.more_bytes else "nothing of it new"
    return f"guests share pages: {mib(found.shared_bytes)} saved, {new} ({found.took_s} s){rest}"
