"""What the host itself needs of its PCI functions, and which are broken: read here, decided in `inventory`."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from vmlab.errors import HostError
from vmlab.inventory.host_use import Wiring, broken, carried, opened, used_by
from vmlab.shell import script
from vmlab.values.pci import PciAddress
from vmlab.virt.machine import Machine
from vmlab.virt.sysfs import Sysfs

_DEADLINE_S = 30.0
_LOOK = script(__file__, "host_use.sh")
_PARTS = 7
_BELOW = ("class/net/*/lower_*/ifindex", "class/block/*/slaves/*/dev", "class/block/*/dev", "class/block/*/dm/name")


_GROUPS, _NODES = ("bus/pci/devices/*/iommu_group",), ("bus/pci/devices/*/vfio-dev/*/dev",)
_ELSEWHERE = "its network interface is in another network namespace"


class HostUse(NamedTuple):
    """By function, why the host needs it, what broke it, and which program has it open by way of vfio."""

    used_by: Mapping[PciAddress, str]
    broken: Mapping[PciAddress, str]
    opened_by: Mapping[PciAddress, str]


def read_host_use(machine: Machine, sysfs: Sysfs) -> HostUse:
    """Look once. Raises HostError where it cannot be told what the host needs: then nothing of it may be given away."""
    looked = machine.run(("sh", "-c", _LOOK), deadline_s=_DEADLINE_S)
    parts = looked.stdout.split("\0", _PARTS - 1)
    if not looked.ok or len(parts) != _PARTS:
        raise HostError(f"{machine.name}: cannot tell which devices the host itself needs: {looked.last_line}")
    links, routes, mounts, swaps, log, elsewhere, programs = parts
    wiring = _wiring(links, sysfs.read_many(_BELOW))
    gone = (PciAddress.last_in(line) for line in elsewhere.splitlines())
    used = {address: _ELSEWHERE for address in gone if address is not None}
    used |= {**carried(wiring), **used_by(wiring, routes=routes, mounts=mounts, swaps=swaps)}
    return HostUse(used, broken(log), _opened(programs, sysfs) if programs else {})


def _opened(programs: str, sysfs: Sysfs) -> Mapping[PciAddress, str]:
    groups = {path.split("/")[3]: group for path, group in sysfs.links(_GROUPS).items()}
    nodes = {path.split("/")[-2]: path.split("/")[3] for path in sysfs.read_many(_NODES)}
    return opened(programs, groups, nodes)


def _wiring(links: str, files: Mapping[str, str]) -> Wiring:
    paths: dict[str, dict[str, str]] = {"net": {}, "block": {}}
    for line in links.splitlines():
        link, _, target = line.partition(" ")
        path = PurePosixPath(link)
        paths[path.parent.name][path.name] = target
    below: dict[str, set[str]] = {}
    numbers: dict[str, str] = {}
    mapped: dict[str, str] = {}
    for name, text in files.items():
        match name.split("/"):
            case ["class", "net", upper, lower, "ifindex"]:
                below.setdefault(upper, set()).add(lower.removeprefix("lower_"))
            case ["class", "block", upper, "slaves", lower, "dev"]:
                below.setdefault(upper, set()).add(lower)
            case ["class", "block", block, "dev"]:
                numbers[text.strip()] = block
            case ["class", "block", block, "dm", "name"]:
                mapped[text.strip()] = block
            case _:
                pass
    return Wiring(paths["net"], paths["block"], {k: frozenset(v) for k, v in below.items()}, numbers, mapped)
