"""What the host enforces on virtual functions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VfSettings:
    """What the host enforces on an Ethernet VF; None leaves the driver's own. `vlan` 0: none."""

    vlan: int | None = None
    spoof_check: bool | None = None
    trust: bool | None = None
