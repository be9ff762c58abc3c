"""Virtual functions on a host: made, released, and given the GUIDs or MAC addresses that their guests will have.

What may be done is decided in `inventory.vfs`. InfiniBand's GUIDs have three interfaces in the kernel's drivers: files
`sriov/<n>/{policy,node,port}` below the PF (MLNX_OFED, UEK), netlink to the PF's IPoIB interface (mlx5 upstream), and
mlx4's alias GUIDs. Which of them exists is found by looking.
"""

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import libvirt

from vmlab.errors import HostError
from vmlab.inventory.guids import VfGuids
from vmlab.inventory.vfs import VfPlan, libvirt_name
from vmlab.runtime.log import log
from vmlab.runtime.wait import Deadline, until
from vmlab.values.guid import NO_GUID
from vmlab.values.pci import PciAddress
from vmlab.virt.borrowed import Notes, borrowed
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine
from vmlab.virt.sysfs import Sysfs, WriteRefused

_IP_S = 20.0
_ARPHRD_INFINIBAND = "32"
_ON = {True: "on", False: "off"}

# What the kernel's refusals of a count mean (drivers/pci/iov.c and pci-sysfs.c).
_REFUSALS = {
    "Numerical result out of range": "it is more than the function can have",
    "Device or resource busy": "it has VFs already, which somebody else made meanwhile",
    "No such file or directory": "its driver makes no VFs this way, or it has none",
    "Cannot allocate memory": "no room for them: `above 4G decoding` in the BIOS, pci=realloc for the kernel",
    "No space left on device": "too few bus numbers: pci=assign-busses for the kernel",
}


def create(sysfs: Sysfs, plan: VfPlan, deadline: Deadline, *, notes: Notes | None = None) -> tuple[PciAddress, ...]:
    """Do what `plan` says: the addresses of the VFs by their number, once all are there.

    The host's drivers do not take new VFs: guests will. `notes` are where is noted down what is changed for that
    (None: on this machine). Raises HostError when the count is not what the plan starts
    from any more, when the kernel refuses, or at the deadline.
    """
    folder = _folder(plan.pf)
    found = sysfs.read(f"{folder}/sriov_numvfs")
    if not plan.writes:
        return functions(sysfs, plan.pf)
    if found != str(plan.now):
        raise HostError(f"{plan.pf} had {plan.now} VFs a moment ago and has {found or 'no'} now", hint="try again")
    with _hands_off(sysfs, folder, notes or Notes.of(Machine())) if plan.wanted else contextlib.nullcontext():
        for count in plan.writes:
            _write_count(sysfs, plan.pf, count)
            _await_count(sysfs, plan.pf, count, deadline)
    return functions(sysfs, plan.pf)


def _await_count(sysfs: Sysfs, pf: PciAddress, count: int, deadline: Deadline) -> None:
    if not until(lambda: len(functions(sysfs, pf)) == count, deadline):
        there = len(functions(sysfs, pf))
        raise HostError(f"{pf} has {there} VFs, not {count}, and that did not change in time", hint="dmesg")


def functions(sysfs: Sysfs, pf: PciAddress) -> tuple[PciAddress, ...]:
    """The function's VFs by their number: virtfn0, virtfn1, ..."""
    links = sysfs.links((f"{_folder(pf)}/virtfn*",))
    return tuple(PciAddress.parse(links[path]) for path in sorted(links, key=lambda p: int(p.rpartition("virtfn")[2])))


def await_listed(host: Host, addresses: tuple[PciAddress, ...], deadline: Deadline) -> None:
    """Wait until libvirt knows the functions, which it hears of from udev: about two seconds after the kernel.

    Raises HostError naming those that it does not list in time.
    """

    def unknown(connection: "libvirt.virConnect") -> set[str]:
        listed = connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV)
        return {libvirt_name(address) for address in addresses} - {device.name() for device in listed}

    if not until(lambda: not host.call(unknown), deadline):
        names = ", ".join(sorted(host.call(unknown)))
        raise HostError(f"libvirt does not list {names}", hint="udevadm settle; systemctl status libvirtd")


def _hands_off(sysfs: Sysfs, folder: str, notes: Notes) -> AbstractContextManager[None]:
    """No driver of the host takes a VF made within (kernels before 4.12 have no such switch); then all is as it was."""
    switch = f"{folder}/sriov_drivers_autoprobe"
    return borrowed(sysfs, notes, switch, "0") if sysfs.exists(switch) else contextlib.nullcontext()


def _write_count(sysfs: Sysfs, pf: PciAddress, count: int) -> None:
    try:
        sysfs.write(f"{_folder(pf)}/sriov_numvfs", str(count))
    except WriteRefused as error:
        meaning = _REFUSALS.get(error.reason)
        if meaning is None:
            raise
        raise HostError(f"{pf} cannot have {count} VFs: {meaning} ({error.reason})", hint="vmlab sriov show") from error


@dataclass(frozen=True, slots=True)
class Vf:
    """A virtual function of `pf`; `number` counts from 0."""

    pf: PciAddress
    number: int
    address: PciAddress


@dataclass(frozen=True, slots=True)
class EthernetVf:
    """What an Ethernet VF gets from the host; None leaves a setting as it is. `vlan` 0: none."""

    mac: str
    vlan: int | None = None
    spoofchk: bool | None = None
    trust: bool | None = None


def release(sysfs: Sysfs, machine: Machine, plan: VfPlan, deadline: Deadline) -> None:
    """Destroy the function's VFs, as `plan` says, taking their GUIDs away before; errors as in `create`."""
    if plan.writes and _has_infiniband(sysfs, plan.pf):
        for number, address in enumerate(functions(sysfs, plan.pf)):
            try:
                _write_guids(sysfs, machine, Vf(plan.pf, number, address), {})
            except HostError as error:  # no reason to keep the VF
                log.warning("the GUIDs of %s stay as they are: %s", address, error)
    create(sysfs, plan, deadline, notes=Notes.of(machine))


def set_guids(sysfs: Sysfs, machine: Machine, vf: Vf, guids: Mapping[int, VfGuids]) -> None:
    """Give a VF its GUIDs, by the number of the PF's port, before its guest starts: a guest cannot do that.

    They take when a driver is bound to the VF, so that one that mlx5_core has on the host is bound to it anew; one on
    vfio-pci is not, and one without a driver need not be. Raises HostError where no interface for GUIDs exists.
    """
    _assert_child(sysfs, vf)
    if not guids or not all(pair.node.valid and pair.port.valid for pair in guids.values()):
        raise HostError(f"{vf.pf} shows no port with a GUID, which those of its VFs come from", hint="ibstat")
    if _write_guids(sysfs, machine, vf, guids) and sysfs.link(f"{_folder(vf.address)}/driver") == "mlx5_core":
        _bind_anew(sysfs, vf, "mlx5_core")


def set_ethernet(sysfs: Sysfs, machine: Machine, vf: Vf, wanted: EthernetVf) -> None:
    """Give an Ethernet VF its MAC address, and what else is asked for, before its guest starts.

    The PF's interface is brought up: most NICs give their VFs no link without. Each setting is a command of its own,
    for the kernel does not say which of several it refuses ("Operation not supported").
    """
    _assert_child(sysfs, vf)
    interface = _interface(sysfs, vf.pf, "1", "load its driver")
    _ip(machine, "dev", interface, "up")
    _ip(machine, "dev", interface, "vf", str(vf.number), "mac", wanted.mac)
    if wanted.vlan is not None:
        _ip(machine, "dev", interface, "vf", str(vf.number), "vlan", str(wanted.vlan))
    if wanted.spoofchk is not None:
        _ip(machine, "dev", interface, "vf", str(vf.number), "spoofchk", _ON[wanted.spoofchk])
    if wanted.trust is not None:
        _ip(machine, "dev", interface, "vf", str(vf.number), "trust", _ON[wanted.trust])


def _write_guids(sysfs: Sysfs, machine: Machine, vf: Vf, guids: Mapping[int, VfGuids]) -> bool:
    """By whichever interface there is; no `guids` takes them away. Whether anything changed, if that can be read."""
    first = guids[min(guids)] if guids else VfGuids(NO_GUID, NO_GUID)
    files = f"{_folder(vf.pf)}/sriov/{vf.number}"
    if sysfs.exists(f"{files}/port"):
        # "Follow": the VF's port goes up and down with the PF's.
        new = {"policy": "Follow"} if guids else {}
        new |= {"node": first.node.octets, "port": first.port.octets}
        old = sysfs.read_many(f"{files}/{name}" for name in new)
        changed = {name: text for name, text in new.items() if old.get(f"{files}/{name}", "").lower() != text.lower()}
        for name, text in changed.items():
            sysfs.write(f"{files}/{name}", text)
        return bool(changed)
    if aliases := sysfs.read_many((f"{_folder(vf.pf)}/infiniband/*/iov/{vf.address}/ports/*/gid_idx/0",)):
        for path, index in sorted(aliases.items()):
            device, port = path.partition("/iov/")[0], path.split("/")[-3]
            guid = guids[int(port)].port if int(port) in guids else first.port if not guids else None
            if guid is not None:
                sysfs.write(f"{device}/iov/ports/{port}/admin_guids/{index}", f"0x{guid.value:016x}")
        return True
    interface = _interface(sysfs, vf.pf, _ARPHRD_INFINIBAND, "modprobe ib_ipoib")
    values = ("node_guid", first.node.octets, "port_guid", first.port.octets, "state", "auto")
    _ip(machine, "dev", interface, "vf", str(vf.number), *values)
    return True


def _interface(sysfs: Sysfs, pf: PciAddress, kind: str, hint: str) -> str:
    """The PF's own network interface of a kind (ARPHRD_*), not the representor of a VF (`pf0vf1`)."""
    folder = f"{_folder(pf)}/net"
    told = sysfs.read_many((f"{folder}/*/type", f"{folder}/*/phys_port_name"))
    names = (path.split("/")[-2] for path, text in sorted(told.items()) if path.endswith("/type") and text == kind)
    for name in names:
        if "vf" not in told.get(f"{folder}/{name}/phys_port_name", ""):
            return name
    raise HostError(f"{pf} has no network interface on the host, by which its VFs are set up", hint=hint)


def _has_infiniband(sysfs: Sysfs, pf: PciAddress) -> bool:
    layers = sysfs.read_many((f"{_folder(pf)}/infiniband/*/ports/*/link_layer",))
    return "InfiniBand" in layers.values()


def _ip(machine: Machine, *words: str) -> None:
    done = machine.run(("ip", "link", "set", *words), deadline_s=_IP_S)
    if not done.ok:
        command = " ".join(("ip link set", *words))
        raise HostError(f"`{command}`: {done.last_line.removeprefix('RTNETLINK answers: ')}")


def _assert_child(sysfs: Sysfs, vf: Vf) -> None:
    """Never unbind or set up another function than was meant: addresses move when VFs are made anew."""
    parent = sysfs.link(f"{_folder(vf.address)}/physfn")
    child = sysfs.link(f"{_folder(vf.pf)}/virtfn{vf.number}")
    if (parent, child) != (str(vf.pf), str(vf.address)):
        raise HostError(f"{vf.address} is not VF {vf.number} of {vf.pf}", hint=f"vmlab sriov show {vf.pf}")


def _bind_anew(sysfs: Sysfs, vf: Vf, driver: str) -> None:
    sysfs.write(f"bus/pci/drivers/{driver}/unbind", str(vf.address))
    sysfs.write(f"bus/pci/drivers/{driver}/bind", str(vf.address))


def _folder(address: PciAddress) -> str:
    return f"bus/pci/devices/{address}"
