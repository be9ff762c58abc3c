"""What a placement must keep to, whoever made it, and how good it is: read from the answer alone."""

from collections import Counter
from collections.abc import Mapping, Sequence

from vmlab.placement.request import HostSpace, NodePlacement, NodeRequest, Placement


def check(requests: Sequence[NodeRequest], hosts: Mapping[str, HostSpace], found: Placement) -> None:  # noqa: C901, PLR0912, PLR0915
    """Every promise of a placement, for nodes placed on hosts whose claims are pinned and bound."""
    assert found.nodes.keys() >= {request.name for request in requests}
    taken: Counter[tuple[str, int]] = Counter()
    kept_empty: set[tuple[str, int]] = set()
    memory: Counter[tuple[str, int | None, int | None]] = Counter()
    served: dict[tuple[str, object], str] = {}
    for request in requests:
        node = found.nodes[request.name]
        inventory = hosts[node.host].inventory
        siblings = {cpu.id: cpu.siblings for cell in inventory.cells for cpu in cell.cpus}
        of_cell = {cell.id: {cpu.id for cpu in cell.cpus} for cell in inventory.cells}
        assert request.host in (None, node.host)
        assert sorted(v for cell in node.cells for v in cell.vcpus) == list(range(request.cpus))
        assert sum(cell.memory_kib for cell in node.cells) == request.memory_kib
        assert len({cell.host_cell for cell in node.cells}) == len(node.cells)
        if request.numa.policy == "none":
            assert [cell.host_cell for cell in node.cells] == [None]
        elif request.numa.policy == "strict":
            assert len(node.cells) == (request.numa.cells or 1)
            assert not any(device.remote for device in node.devices)
        if request.numa.cells:
            assert max(sizes := [len(cell.vcpus) for cell in node.cells]) - min(sizes) <= 1
        own = []
        for cell in node.cells:
            memory[node.host, cell.host_cell, cell.page_kib] += cell.memory_kib
            for cpus in cell.vcpus.values():
                assert cpus
                assert cell.host_cell is None or set(cpus) <= of_cell[cell.host_cell]
                if request.pin == "dedicated":
                    assert len(cpus) == 1
                    own += cpus
                    if request.threads == "isolate":
                        kept_empty |= {(node.host, cpu) for cpu in siblings[cpus[0]] - set(cpus)}
            if request.pin == "dedicated" and request.threads == "require":
                cpus_here = {c for cpus in cell.vcpus.values() for c in cpus}
                cores = {siblings[cpu] for cpu in cpus_here}
                assert all(len(core) > 1 for core in cores)
                assert sum(not core <= cpus_here for core in cores) <= 1
        taken.update((node.host, cpu) for cpu in own)
        assert len({(d.fabric, d.index) for d in node.devices}) == len(request.devices) == len(node.devices)
        for device in node.devices:
            assert served.setdefault((node.host, device.address), request.name) == request.name
    for host, space in hosts.items():
        for claim in space.inventory.claims:
            taken.update((host, cpu) for cpu in claim.cpus)
            for cell, kib in claim.memory_kib.items():
                memory[host, cell, None] += kib
            assert not any((host, address) in served for address in claim.devices)
        cores = {cpu.siblings for cell in space.inventory.cells for cpu in cell.cpus}
        used = {cpu for name, cpu in taken if name == host}
        allowed = space.inventory.guest_cpus
        if allowed is not None:
            assert {c for n in found.nodes.values() if n.host == host for c in _dedicated_of(n)} <= allowed
        if any(node.host == host for node in found.nodes.values()):
            assert sum(not core & used for core in cores) >= (space.reserve.cpus or 0)
            # One that the host itself may run on, if any was free.
            claimed = {cpu for claim in space.inventory.claims for cpu in claim.cpus}
            fit = {core for core in cores if not core & (claimed | space.inventory.isolated)}
            assert not fit or sum(not core & used for core in fit) >= min(len(fit), space.reserve.cpus or 0)
        total = sum(kib for (name, _, pages), kib in memory.items() if name == host and pages is None)
        huge = sum(pool.size_kib * pool.total for cell in space.inventory.cells for pool in cell.huge.values())
        assert total <= sum(c.memory_kib for c in space.inventory.cells) - huge - space.reserve.memory.kib
        for cell in space.inventory.cells:
            pools = sum(pool.size_kib * pool.total for pool in cell.huge.values())
            assert memory[host, cell.id, None] <= cell.memory_kib - pools
            for size, pool in cell.huge.items():
                assert memory[host, cell.id, size] <= pool.size_kib * pool.total
    assert max(taken.values(), default=1) == 1
    assert not kept_empty & taken.keys()
    for request in requests:
        node = found.nodes[request.name]
        floating = {cpu for cell in node.cells for cpus in cell.vcpus.values() for cpu in cpus}
        isolated = hosts[node.host].inventory.isolated
        allowed = hosts[node.host].inventory.guest_cpus
        assert not {*node.emulator_cpus} & isolated or any("vCPU 0" in note for note in found.notes)
        if request.pin == "shared":
            assert not floating & isolated
            assert allowed is None or floating <= allowed
            assert not {(node.host, cpu) for cpu in floating} & (taken.keys() | kept_empty)
        alone = {(node.host, cpu) for cpu in node.emulator_cpus} & taken.keys()
        assert not alone or any(request.name in note and "vCPU 0" in note for note in found.notes)


def _dedicated_of(node: NodePlacement) -> set[int]:
    return {cpus[0] for cell in node.cells for cpus in cell.vcpus.values() if len(cpus) == 1}


def quality(requests: Sequence[NodeRequest], hosts: Mapping[str, HostSpace], found: Placement) -> tuple[int, ...]:
    """What is to be small, in order of importance, but for the reserve's cells."""
    nodes = found.nodes
    pairs = {frozenset((r.name, other)) for r in requests for other in r.pairs}
    avoid = {frozenset((r.name, other)) for r in requests for other in r.avoid} - pairs
    apart: list[int] = []
    for relation in (pairs, avoid):
        met = [tuple(nodes[name] for name in names) for names in relation if len(names) == 2 and names <= nodes.keys()]
        apart += [sum(a.host == b.host for a, b in met), sum(bool(_cells(a) & _cells(b)) for a, b in met)]
    touched = set()
    for request in requests:
        node = nodes[request.name]
        touched |= _cells(node)
        of_cpu = {cpu.id: cell.id for cell in hosts[node.host].inventory.cells for cpu in cell.cpus}
        if request.pin == "dedicated":
            touched |= {(node.host, of_cpu[c[0]]) for cell in node.cells for c in cell.vcpus.values()}
    claimed = {
        (host, cell.id)
        for host, space in hosts.items()
        for cell in space.inventory.cells
        for claim in space.inventory.claims
        if claim.cpus & {cpu.id for cpu in cell.cpus} or cell.id in claim.memory_kib
    }
    sharing = sum(
        len(nodes[r.name].devices) - len({device.address for device in nodes[r.name].devices}) for r in requests
    )
    return (
        sum(device.remote for r in requests for device in nodes[r.name].devices),
        *apart,
        sum(len(nodes[r.name].cells) for r in requests if r.numa.policy == "preferred"),
        sharing,
        len(touched - claimed),
    )


def _cells(node: object) -> set[tuple[str, int]]:
    return {(node.host, cell.host_cell) for cell in node.cells if cell.host_cell is not None}  # type: ignore[attr-defined]
