"""What a bed asks of the machines that it will be on, in Slurm's words: CPUs, memory, GRES, features."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from vmlab.topology import Fabric, Node, Topology

KVM = "kvm"
"""The feature of a host on which guests run under KVM."""

_GRES = {
    ("infiniband", "passthrough"): "hca",
    ("infiniband", "vf"): "hca_vf",
    ("ethernet", "passthrough"): "nic",
    ("ethernet", "vf"): "nic_vf",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """So many machines, and what is asked of each of them: Slurm knows one number for all machines of a job.

    `memory_mib` and `cpus` are those of its guests, `gres` so many functions by the GRES's name.
    """

    machines: int
    cpus: int
    memory_mib: int
    gres: Mapping[str, int] = field(default_factory=dict)
    features: tuple[str, ...] = ()


def wanted(topology: Topology, *, kvm: bool) -> Wanted:
    """What the bed needs; of a sweep of beds, what the largest of them does. `kvm`: it is for nothing else.

    `attach: auto` asks for nothing, as it is never refused either.
    """
    beds = [_one(bed) for bed in (topology, *(shape.topology for shape in topology.shapes))]
    bridges = {bridge for fabric in topology.described for bridge in fabric.bridges.values()}
    return Wanted(
        machines=beds[0].machines,
        cpus=max(bed.cpus for bed in beds),
        memory_mib=max(bed.memory_mib for bed in beds),
        gres={name: max(bed.gres.get(name, 0) for bed in beds) for name in sorted({n for b in beds for n in b.gres})},
        features=(*([KVM] if kvm else []), *sorted(bridges)),
    )


def together(some: Iterable[Wanted]) -> Wanted:
    """What beds ask for that are on one machine at the same time."""
    beds = list(some)
    names = sorted({name for bed in beds for name in bed.gres})
    return Wanted(
        machines=max(bed.machines for bed in beds),
        cpus=sum(bed.cpus for bed in beds),
        memory_mib=sum(bed.memory_mib for bed in beds),
        gres={name: sum(bed.gres.get(name, 0) for bed in beds) for name in names},
        features=tuple(dict.fromkeys(feature for bed in beds for feature in bed.features)),
    )


def _one(topology: Topology) -> Wanted:
    functions: dict[str, dict[str, int]] = {}
    for node in topology.nodes.values():
        for fabric, count in node.fabrics.items():
            if (name := _gres(topology.fabrics.get(fabric))) is not None:
                of_node = functions.setdefault(name, {})
                of_node[node.name] = of_node.get(node.name, 0) + count
    return Wanted(
        machines=len(topology.hosts),
        # What floats shares CPUs, but something has to carry it.
        cpus=max(1, _of_each(topology, lambda node: node.cpus if node.pin == "dedicated" else 0)),
        memory_mib=_of_each(topology, lambda node: -(-int(node.memory) // (1 << 20))),
        gres={name: _of_each(topology, partial(_count, of)) for name, of in functions.items()},
    )


def _count(by_node: Mapping[str, int], node: Node) -> int:
    return by_node.get(node.name, 0)


def _gres(fabric: Fabric | None) -> str | None:
    return None if fabric is None else _GRES.get((fabric.kind, fabric.attach))


def _of_each(topology: Topology, amount: Callable[[Node], int]) -> int:
    """The most that any machine needs.

    Nodes for which vmlab chooses a host go where there is most room: then no machine has more than its share and the
    largest of them.
    """
    pinned = dict.fromkeys(topology.hosts, 0)
    free: list[int] = []
    for node in topology.nodes.values():
        if len(pinned) == 1:
            pinned[next(iter(pinned))] += amount(node)
        elif node.host in pinned:
            pinned[node.host] += amount(node)
        else:
            free.append(amount(node))
    return max(pinned.values()) + (-(-sum(free) // len(pinned)) + max(free) if free else 0)
