"""Disks of a host that other hosts reach: qemu-nbd, here or by ssh, a process for each, which stays when we go."""

from vmlab.domainxml.devices import Nbd
from vmlab.errors import HostError
from vmlab.shell import script
from vmlab.virt.connection import Host
from vmlab.virt.machine import machine_of

_EXPORT = script(__file__, "export_volume.sh")
EXPORTERS = script(__file__, "exporters.sh")
_END = EXPORTERS + script(__file__, "end_export.sh")
_ASK_S = 60.0


def export(host: Host, volume: str, path: str, place: Nbd) -> None:
    """Export a file under the volume's name. Raises HostError."""
    told = (path, volume, place.address, str(place.port))
    done = machine_of(host).run(("sh", "-c", _EXPORT, "vmlab", *told), deadline_s=_ASK_S)
    if not done.ok:
        raise HostError(
            f"{host.name} does not export {volume}: {done.last_line}", hint="ss -ltnp, there; vmlab up again"
        )


def end_export(host: Host, volume: str) -> None:
    """End it; one that is not there is fine. Raises HostError."""
    done = machine_of(host).run(("sh", "-c", _END, "vmlab", volume), deadline_s=_ASK_S)
    if not done.ok:
        raise HostError(f"{host.name}: the export of {volume} does not end: {done.last_line}", hint="pgrep -a qemu-nbd")
