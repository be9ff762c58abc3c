"""How a disk of a host looks from that host, so that two hosts can be asked whether they see the same one."""

from dataclasses import dataclass

from vmlab.errors import HostError
from vmlab.shell import script
from vmlab.virt.machine import Machine

_LOOK = script(__file__, "disk_seen.sh")
_ASK_S = 60.0
_PARTS = 4


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """`size` in bytes; `wwn` "" where none is known; `begins` the SHA-256 of the first MiB, `blank` if it is zeros."""

    size: int
    wwn: str
    begins: str
    blank: bool

    def why_another(self, other: "DiskSeen") -> str | None:
        """Why these cannot be taken for the same disk; None if they can."""
        if self.size != other.size:
            return f"it has {self.size} bytes here and {other.size} there"
        if self.wwn and other.wwn and self.wwn != other.wwn:
            return f"its WWN is {self.wwn} here and {other.wwn} there"
        if self.begins != other.begins:
            return "it begins with other bytes here than there"
        if self.blank and not (self.wwn and other.wwn):
            return "it is empty, and nothing else tells it from another one: no WWN is known"
        return None


def disk_seen(machine: Machine, device: str) -> DiskSeen:
    """Raises HostError if it cannot be read."""
    asked = machine.run(("sh", "-c", _LOOK, "vmlab", device), deadline_s=_ASK_S)
    parts = asked.stdout.split()
    if not asked.ok or len(parts) != _PARTS:
        raise HostError(f"{machine.name}: {device} cannot be read: {asked.last_line}", hint=f"ls -lL {device}")
    size, wwn, begins, zeros = parts
    return DiskSeen(int(size), "" if wwn == "-" else wwn, begins, begins == zeros)
