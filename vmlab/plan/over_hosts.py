"""What a bed on several hosts, or on another machine, does not get yet."""

from vmlab.errors import HostError
from vmlab.plan.placing import HARDWARE
from vmlab.topology import Topology


def refuse_hardware(topology: Topology) -> None:
    """Raise HostError for a fabric that insists on the host's devices."""
    for fabric in topology.fabrics.values():
        if fabric.attach in HARDWARE:
            raise HostError(
                f"fabric {fabric.name}: `attach: {fabric.attach}` is only done on this machine, for a bed on it alone",
                hint=f"write `attach: virtio` at {fabric.name} (soft: its figures mean nothing)",
            )
