"""Placement: a bed that fills a rack, 64 nodes on 4 hosts of 8 cells, each with an HCA and one with VFs; and `auto`."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from benchmarks.clock import medians
from benchmarks.line import Line

from vmlab.inventory.model import Cell, Cpu, HostInventory, PciFunction, Port
from vmlab.placement.place import place
from vmlab.placement.request import DeviceWish, HostSpace, NodeRequest
from vmlab.plan.observed import ObservedBed
from vmlab.plan.placing import decide
from vmlab.topology import loads
from vmlab.topology.bed import Numa, Reserve
from vmlab.values.pci import PciAddress
from vmlab.values.size import Bytes

_GIB_KIB = 1 << 20
_HOSTS = 4
_CELLS = 8
_CORES = 8
_SERVERS = 32
_CLIENTS = 32
_VFS = 8
_NODES = 20  # those that `auto` is asked for


def many_cells(rounds: int) -> list[Line]:
    """HA pairs with a whole HCA each and clients with a VF each.

    Servers of many sizes are the harder case: fewer of them can be counted together.
    """
    hosts = {f"host{number}": _host(f"host{number}") for number in range(1, _HOSTS + 1)}
    equal = [*_servers(lambda _: 4), *_clients()]
    mixed = [*_servers(lambda number: 1 + number // 2 % 8), *_clients()]
    ours = medians([partial(place, equal, hosts), partial(place, mixed, hosts)], rounds or 5)
    what = f"{_SERVERS + _CLIENTS} nodes on {_HOSTS} hosts of {_CELLS} cells"
    return [
        Line("placement", what, ours[0], None, 1.0),
        Line("placement", f"{what}, pairs of 8 sizes", ours[1], None, 1.0),
    ]


def one_device(rounds: int) -> list[Line]:
    """A bed whose fabrics all say `auto`, and a host of one HCA: it can serve none of the four, or one."""
    cases = (("strict", 0), ("strict", _NODES), ("preferred", _NODES))
    ours = medians([partial(_decide, numa, vfs) for numa, vfs in cases], rounds or 5)
    return [
        Line("auto", f"{_NODES} nodes {numa}, 4 fabrics, one HCA of {vfs} VFs", took, None, 1.0)
        for (numa, vfs), took in zip(cases, ours, strict=True)
    ]


def _decide(numa: str, vfs: int) -> None:
    topology = loads(_four_fabrics(numa), "auto.yaml")
    functions = {function.address: function for function in _functions(0, vfs)[1:]}
    inventory = replace(_host("local").inventory, functions=functions)
    bed = ObservedBed(topology.name)
    decide(topology, {"local": inventory}, bed, pinned=True, keep=lambda _: frozenset(), native={})


def _four_fabrics(numa: str) -> str:
    fabrics = [f"ib{number}" for number in range(4)]
    written = "\n".join(f"  {name}: {{ kind: infiniband, lnet: o2ib{name[2:]} }}" for name in fabrics)
    return f"""
name: auto
fabrics:
{written}
nodes:
  "client[1-{_NODES}]": {{ role: client, memory: 1GiB, numa: {numa}, fabrics: [{", ".join(fabrics)}] }}
"""


def _servers(cpus: Callable[[int], int]) -> Iterator[NodeRequest]:
    for number in range(_SERVERS):
        yield NodeRequest(
            f"oss{number + 1}",
            cpus(number),
            8 * _GIB_KIB,
            Numa(),
            devices=(DeviceWish("ib0", 0, "infiniband", "passthrough"),),
            pairs=(f"oss{(number ^ 1) + 1}",),
        )


def _clients() -> Iterator[NodeRequest]:
    for number in range(_CLIENTS):
        yield NodeRequest(
            f"client{number + 1}", 2, 4 * _GIB_KIB, Numa(), devices=(DeviceWish("ib0", 0, "infiniband", "vf"),)
        )


def _host(name: str) -> HostSpace:
    """Two threads per core, one core and 4 GiB for the host."""
    cells = []
    for cell in range(_CELLS):
        cores = [(cell * _CORES + core, (cell + _CELLS) * _CORES + core) for core in range(_CORES)]
        cpus = tuple(Cpu(cpu, cell, 0, core[0], frozenset(core)) for core in cores for cpu in core)
        cells.append(Cell(cell, 64 * _GIB_KIB, cpus))
    functions = {f.address: f for cell in range(_CELLS) for f in _functions(cell)}
    return HostSpace(HostInventory(name, "x86_64", tuple(cells), functions), Reserve(1, Bytes(4 << 30)))


def _functions(cell: int, virtual: int = _VFS) -> list[PciFunction]:
    return [
        PciFunction(
            PciAddress(0, 16 * cell + place, 0, 0),
            0x020700,
            0x15B3,
            0x1017,
            driver="mlx5_core",
            cell=cell,
            iommu_group=16 * cell + place,
            total_vfs=vfs,
            ports=(Port(1, "infiniband"),),
        )
        for place, vfs in ((1, 0), (2, virtual))
    ]
