"""`host show`: cells, HCAs and NICs, domains that claim something, IOMMU groups that are shared."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from vmlab.report.grid import Grid
from vmlab.values.cpuset import cpu_list

if TYPE_CHECKING:
    from vmlab.inventory.model import Cell, Claim, HostInventory, PagePool, PciFunction, Port

_GOOD, _BAD = "green", "red"
_UP = ("ACTIVE", "up")
_GIB_KIB = 1 << 20


def inventory_tables(host: "HostInventory") -> Group:
    """All tables, a blank line between them; a table without lines is left out."""
    parts: list[RenderableType] = [f"{host.name} ({host.arch})", "", cell_table(host)]
    for table in (function_table(host), claim_table(host), group_table(host)):
        if table.rows:
            parts += ["", table]
    if host.isolated:
        parts += ["", f"Isolated, so that no vCPU floats over them: {cpu_list(host.isolated)}"]
    if host.guest_cpus is not None and host.guest_cpus < frozenset(cpu.id for cell in host.cells for cpu in cell.cpus):
        parts += ["", f"All that the guests' cgroup may use: {cpu_list(host.guest_cpus) or 'none'}"]
    if host.no_iommu is not None:
        parts += ["", Text(f"No device can be passed to a guest: {host.no_iommu}", _BAD)]
    return Group(*parts)


def inventory_object(host: "HostInventory") -> dict[str, Any]:
    """The host for `-o json`: ids in hexadecimal as lspci gives them, memory by cell as a list.

    Where `cell` is null, the memory is bound to no cell.
    """
    return {
        "name": host.name,
        "arch": host.arch,
        "no_iommu": host.no_iommu,
        "isolated_cpus": sorted(host.isolated),
        "guest_cpus": None if host.guest_cpus is None else sorted(host.guest_cpus),
        "cells": host.cells,
        "functions": [
            {
                **{f.name: getattr(function, f.name) for f in fields(function)},
                "class_code": f"0x{function.class_code:06x}",
                "vendor": f"0x{function.vendor:04x}",
                "product": f"0x{function.product:04x}",
                "generation": function.generation,
                "held_by": None if (owner := host.owner(function.address)) is None else owner.domain,
            }
            for function in host.functions.values()
        ],
        "claims": [
            {
                **{f.name: getattr(claim, f.name) for f in fields(claim)},
                "cpus": sorted(claim.cpus),
                "devices": sorted(claim.devices),
                "memory_kib": [{"cell": cell, "kib": kib} for cell, kib in claim.memory_kib.items()],
                "huge_kib": [{"cell": c, "page_kib": size, "kib": kib} for (c, size), kib in claim.huge_kib.items()],
            }
            for claim in host.claims
        ],
    }


def cell_table(host: "HostInventory") -> Grid:
    """The cells. CPUS are all threads, CORES how many cores they make."""
    table = Grid("CELL", "CPUS", "CORES", "MEMORY", "AVAILABLE", "HUGE PAGES (FREE/TOTAL)", "DISTANCES")
    for cell in host.cells:
        table.add_row(
            str(cell.id),
            cpu_list(cpu.id for cpu in cell.cpus) or "-",
            str(len({cpu.siblings for cpu in cell.cpus})),
            _memory(cell.memory_kib),
            "-" if cell.available_kib is None else _memory(cell.available_kib),
            " ".join(_pool(pool) for pool in cell.huge.values() if pool.total) or "-",
            _distances(cell),
        )
    return table


def function_table(host: "HostInventory") -> Grid:
    """HCAs and NICs but no virtual functions: those are counted at their physical one, with who has them."""
    table = Grid("ADDRESS", "PRODUCT", "TYPE", "DRIVER", "CELL", "GROUP", "LINK", "PORTS", "VFS", "HELD BY", "NOTE")
    for function in host.functions.values():
        # One that was given to this host as a guest has no physical function here.
        if function.is_network and function.physical_function not in host.functions:
            table.add_row(
                str(function.address),
                function.product_name or f"{function.vendor:04x}:{function.product:04x}",
                function.generation,
                function.driver or "-",
                "-" if function.cell is None else str(function.cell),
                "-" if function.iommu_group is None else str(function.iommu_group),
                "-" if function.link is None else str(function.link),
                Text(" ").join(_port(port) for port in function.ports) if function.ports else "-",
                f"{len(function.virtual_functions)}/{function.total_vfs}" if function.total_vfs else "-",
                ", ".join(_holders(host, function)) or "-",
                _note(function),
            )
    return table


def claim_table(host: "HostInventory") -> Grid:
    """The domains that run, or have a device."""
    table = Grid("DOMAIN", "BED", "NODE", "RUNNING", "PINNED TO", "MEMORY", "HUGE PAGES", "DEVICES")
    for claim in host.claims:
        if claim.running or claim.devices or claim.behind:
            table.add_row(
                claim.domain,
                claim.bed or "-",
                claim.node or "-",
                "yes" if claim.running else "no",
                cpu_list(claim.cpus) or "-",
                " ".join(_in_cell(kib, cell) for cell, kib in claim.memory_kib.items()) or "-",
                " ".join(_in_cell(kib, cell) for (cell, _), kib in claim.huge_kib.items()) or "-",
                " ".join((*map(str, sorted(claim.devices)), *(f"{a} ({how})" for a, how in claim.behind.items())))
                or "-",
            )
    return table


def group_table(host: "HostInventory") -> Grid:
    """IOMMU groups with more than one function that is no bridge: all of them go to one guest, or none."""
    table = Grid("GROUP", "SHARED BY", "DRIVER", "PRODUCT")
    groups: dict[int, list[PciFunction]] = {}
    for function in host.functions.values():
        if function.iommu_group is not None and not function.is_bridge:
            groups.setdefault(function.iommu_group, []).append(function)
    for number, members in sorted(groups.items()):
        for member in members if len(members) > 1 else ():
            name = member.product_name or f"{member.vendor:04x}:{member.product:04x}"
            table.add_row(str(number), str(member.address), member.driver or "-", name)
    return table


def _devices(claim: "Claim") -> Iterator[str]:
    yield from map(str, sorted(claim.devices))
    yield from (f"{address} ({how})" for address, how in sorted(claim.behind.items()))


def _memory(kib: int) -> str:
    return f"{kib / _GIB_KIB:.1f}GiB"


def _pool(pool: "PagePool") -> str:
    size = f"{pool.size_kib // _GIB_KIB}GiB" if pool.size_kib % _GIB_KIB == 0 else f"{pool.size_kib // 1024}MiB"
    return f"{size}:{'?' if pool.free is None else pool.free}/{pool.total}"


def _distances(cell: "Cell") -> str:
    return " ".join(f"{other}:{distance}" for other, distance in sorted(cell.distances.items())) or "-"


def _port(port: "Port") -> Text:
    """`ib0 infiniband ACTIVE`, in green if it works."""
    name = port.interface or port.rdma or f"port {port.number}"
    state = "unknown" if port.state is None else port.state
    return Text(f"{name} {port.link_layer} {state}", _GOOD if port.state in _UP else _BAD if port.state else "")


def _holders(host: "HostInventory", function: "PciFunction") -> Iterator[str]:
    """The domain that has the function, and those that have its virtual functions, by their numbers: `vf2: oss1`."""
    owner = host.owner(function.address)
    if owner is not None:
        yield _who(owner)
    for number, address in enumerate(function.virtual_functions):
        owner = host.owner(address)
        if owner is not None:
            yield f"vf{number}: {_who(owner)}"


def _who(claim: "Claim") -> str:
    return claim.domain if claim.running else f"{claim.domain} (off)"


def _note(function: "PciFunction") -> Text:
    parts: Iterable[tuple[str, str]] = (
        (function.broken or "", _BAD),
        (f"the host needs it: {function.used_by}" if function.used_by else "", ""),
        (f"open in {function.opened_by}" if function.opened_by else "", ""),
    )
    return Text("; ").join(Text(text, style) for text, style in parts if text)


def _in_cell(kib: int, cell: int | None) -> str:
    return f"{_memory(kib)}{'' if cell is None else f'@{cell}'}"
