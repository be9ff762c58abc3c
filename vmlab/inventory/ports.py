"""Which interfaces of a PCI function are its ports: what has a cable, and not what only stands for something else.

A switch inside the NIC ("switchdev") has a representor for each virtual function and subfunction, and these belong to
the physical function's driver like its port does; subfunctions, IPoIB children and Wi-Fi have interfaces there, too.
`phys_port_name` tells them apart (Documentation/networking/switchdev.rst of the kernel), but libvirt does not print it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from vmlab.inventory.model import Generation, Port

# Of a VF, a subfunction, or the host that a SmartNIC is in: `pf0vf3`, `c1pf0sf88`, `pf0hpf`, `pf0`.
_REPRESENTOR = re.compile(r"(c[0-9]+)?pf[0-9]+((vf|sf)[0-9]+|hpf)?")
# Names that udev makes of these: enp7s0f0npf0vf0, eth0pf0vf3, pf0hpf.
_NAMED_SO = re.compile(r".*?(c[0-9]+)?pf[0-9]+((vf|sf)[0-9]+|hpf)")
# A place's name says which port it is where the function has several: enp4s0 is the first, enp4s0d1 the second.
_PLACE = re.compile(r"(?:en|ib|eth)[a-z]?(?:P[0-9]+)?(?:p[0-9]+)?s[0-9]+(?:f[0-9]+)?(?:d(?P<port>[0-9]+))?")
_IPOIB_BYTES, _GUID_BYTES = 20, 8
_LOCAL = 0x02  # an address that software made up


@dataclass(frozen=True, slots=True)
class Netdev:
    """A network interface of a function. `address` has 6 bytes, of IPoIB 20.

    `port_name` is its phys_port_name, `dev_port` counts from 0; None: not told. `part`: it is below a subfunction.
    `switchdev`: the function's switch forwards by representors.
    """

    name: str
    address: str = ""
    state: str | None = None
    port_name: str | None = None
    dev_port: int | None = None
    part: bool = False
    switchdev: bool = False

    @property
    def guid(self) -> str | None:
        """The port's GUID of an IPoIB interface."""
        return guid_of(self.address) if len(self.address.split(":")) == _IPOIB_BYTES else None

    @property
    def place(self) -> int | None:
        """Which port it is, from 0, as far as its driver or its name tells."""
        if self.dev_port is not None:
            return self.dev_port
        match = _PLACE.fullmatch(self.name)
        return None if match is None else int(match["port"] or 0)


def guid_of(address: str) -> str:
    """The port GUID in the 20-byte address of an IPoIB interface, as sysfs writes GUIDs: 0002:c903:000e:b19d."""
    tail = address.split(":")[-_GUID_BYTES:]
    return ":".join(first + second for first, second in zip(tail[::2], tail[1::2], strict=True))


def own_interfaces(interfaces: Iterable[Netdev], *, virtual_functions: bool = False) -> tuple[Netdev, ...]:
    """Those with a port of their own, shorter names first: `ib0` before `ib0.8001`, `ens1f2` before `ens1f10`.

    `virtual_functions`: the function has some, which may have representors under any name.
    """
    found = [i for i in interfaces if not i.part and _REPRESENTOR.fullmatch(i.port_name or "") is None]
    found.sort(key=lambda i: (len(i.name), i.name))
    names = {i.name for i in found}
    told = [i for i in found if i.port_name or not (_NAMED_SO.fullmatch(i.name) or _numbered_after(i.name, names))]
    children: dict[str, Netdev] = {}
    for interface in told:
        children.setdefault(interface.guid or interface.name, interface)
    ports = tuple(children.values())
    burnt_in = tuple(i for i in ports if i.guid or not _made_up(i.address))
    switched = virtual_functions or any(i.switchdev for i in ports)
    return burnt_in if switched and burnt_in else ports


def _numbered_after(name: str, others: set[str]) -> bool:
    """`enp7s0f0_1` beside `enp7s0f0`."""
    stem, underscore, number = name.rpartition("_")
    return bool(underscore) and number.isdecimal() and (stem in others or f"{stem}np0" in others)


def _made_up(address: str) -> bool:
    first = address.split(":", maxsplit=1)[0]
    return re.fullmatch("[0-9a-fA-F]{2}", first) is not None and bool(int(first, 16) & _LOCAL)


def interface_ports(interfaces: Iterable[Netdev]) -> tuple[Port, ...]:
    """A port for each interface, numbered as the driver or the names tell, else by GUIDs and names."""
    ordered = sorted(interfaces, key=lambda i: i.guid or "")
    places = [i.place for i in ordered]
    used = {place for place in places if place is not None and places.count(place) == 1}
    free = iter(number for number in range(len(ordered) + len(used)) if number not in used)
    ports = []
    for interface, place in zip(ordered, places, strict=True):
        number = 1 + (place if place is not None and place in used else next(free))
        ports.append(
            Port(
                number,
                "infiniband" if interface.guid else "ethernet",
                interface=interface.name,
                mac=None if interface.guid else interface.address or None,
                guid=interface.guid,
                state=interface.state,
            )
        )
    return tuple(sorted(ports, key=lambda port: port.number))


def counted(ports: tuple[Port, ...], generation: Generation) -> tuple[Port, ...]:
    """Those that there are: a function of mlx5 has one port, whatever stands beside it.

    In switchdev mode its RDMA device counts representors as ports; the first is the cable's.
    """
    if generation != "mlx5" or len(ports) == 1:
        return ports
    best = min(
        ports,
        key=lambda p: (p.link_layer != "infiniband", _made_up(p.mac or ""), p.rdma is None, p.number),
        default=None,
    )
    return () if best is None else (replace(best, number=1),)
