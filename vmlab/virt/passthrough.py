"""What libvirt's managed mode does not do for functions that are passed to guests.

Managed mode detaches a function from its driver when a guest starts and gives it back when it stops. It does not load
vfio-pci, does not wait for the group's device node, which udev makes late, and gives nothing back when libvirtd or the
machine's administrator was in the way. What it does not refuse, `inventory.passable` does.
"""

import shlex
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from vmlab.errors import HostError, LibvirtError
from vmlab.inventory.model import HostInventory
from vmlab.inventory.passable import refuse_unpassable
from vmlab.inventory.vfs import libvirt_name
from vmlab.runtime.distribution import install_hint
from vmlab.runtime.log import log
from vmlab.runtime.wait import Deadline, until
from vmlab.values.libvirt_uri import of_session
from vmlab.values.pci import PciAddress
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine
from vmlab.virt.sysfs import Sysfs

if TYPE_CHECKING:
    import libvirt

_VFIO = PurePosixPath("/dev/vfio")
_MODPROBE_S = 60.0
_LOOK_S = 20.0


def check_functions(host: Host, inventory: HostInventory, addresses: Iterable[PciAddress], domain: str) -> None:
    """Raise HostError with every reason why `domain` cannot start with these functions; changes nothing."""
    refuse_unpassable(inventory, tuple(addresses), domain=domain, session=of_session(host.uri))


def load_vfio(sysfs: Sysfs, machine: Machine) -> None:
    """Load vfio-pci, without which libvirt says "VFIO device assignment is currently not supported on this system"."""
    if sysfs.exists("bus/pci/drivers/vfio-pci"):
        return
    done = machine.run(("modprobe", "vfio-pci"), deadline_s=_MODPROBE_S)
    if not done.ok or not sysfs.exists("bus/pci/drivers/vfio-pci"):
        raise HostError(
            f"{machine.name} has no vfio-pci, which functions are passed to guests by: {done.last_line}",
            hint=f"cloud kernels are built without: {install_hint('vfio-pci')}, and reboot",
        )


def without_vfio(sysfs: Sysfs, machine: Machine) -> str | None:
    """Why `load_vfio` would be in vain; None if it would not. Loads nothing."""
    if sysfs.exists("bus/pci/drivers/vfio-pci"):
        return None
    why = f"{machine.name} has no vfio-pci, which functions are passed to guests by"
    try:
        asked = machine.run(("modprobe", "--dry-run", "--quiet", "vfio-pci"), deadline_s=_MODPROBE_S)
    except HostError as error:  # no modprobe is there
        return f"{why}: {error.message}"
    return None if asked.ok else why


def take(
    host: Host,
    sysfs: Sysfs,
    machine: Machine,
    addresses: Iterable[PciAddress],
    deadline: Deadline,
    *,
    vfio: PurePosixPath = _VFIO,
) -> None:
    """Detach functions for a guest that starts next, and wait until their groups can be opened.

    libvirt does the detaching, so that it knows of it and gives them back when the guest stops; of one that is
    detached already it says nothing. Raises LibvirtError, or HostError naming the group that does not appear in time.
    """
    for address in sorted(addresses):
        _node_device(host, address, lambda device: device.detachFlags(None, 0))
        group = sysfs.link(f"bus/pci/devices/{address}/iommu_group")
        if group is None:
            raise HostError(f"{address} is in no IOMMU group", hint="vmlab host check")
        _await_group(machine, address, vfio / group, deadline)


def give_back(host: Host, sysfs: Sysfs, address: PciAddress) -> str | None:
    """Give a function that no running guest has back to the driver that it came from: that driver's name.

    Which one that is the kernel tells by itself when nothing overrides its choice any more: the driver whose table
    lists the function, as at boot. Nothing has to be remembered, so nothing is forgotten in a crash. None: no driver
    wants it, as with a VF whose driver the host has not.
    Raises LibvirtError when a running guest has it, HostError when it does not leave vfio-pci.
    """
    folder = f"bus/pci/devices/{address}"
    before = sysfs.link(f"{folder}/driver")
    if before is None or "vfio" not in before:
        return before
    _node_device(host, address, lambda device: device.reAttach())
    if sysfs.link(f"{folder}/driver") == before:
        # libvirt says "re-attached" and does nothing about a function that its memory of before a restart lacks.
        log.info("%s is still on %s after libvirt's reattach: bound anew by hand", address, before)
        sysfs.write(f"{folder}/driver_override", "\n")
        sysfs.write(f"bus/pci/drivers/{before}/unbind", str(address))
        sysfs.write("bus/pci/drivers_probe", str(address))
    after = sysfs.link(f"{folder}/driver")
    if after is not None and "vfio" in after:
        raise HostError(
            f"{address} stays on {after}", hint=f"is it bound by a rule? cat /etc/modprobe.d/*; lspci -nks {address}"
        )
    return after


def _await_group(machine: Machine, address: PciAddress, node: PurePosixPath, deadline: Deadline) -> None:
    command = ("test", "-e", str(node))
    if not until(lambda: machine.run(command, deadline_s=_LOOK_S).ok, deadline):
        raise HostError(f"{node} of {address} does not appear: {shlex.join(command)}", hint="udevadm settle; dmesg")


def _node_device(host: Host, address: PciAddress, act: "Callable[[libvirt.virNodeDevice], object]") -> None:
    try:
        host.call(lambda connection: act(connection.nodeDeviceLookupByName(libvirt_name(address))))
    except LibvirtError as error:
        raise LibvirtError(f"{address}: {error.message}", hint=f"vmlab sriov show {address}") from error
