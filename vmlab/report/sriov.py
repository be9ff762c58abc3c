"""Virtual functions as a table: a line for each physical function, and below it one for each of its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from vmlab.report.grid import Grid

if TYPE_CHECKING:
    from vmlab.lab.hosts.sriov import PfLine


def sriov_table(functions: Sequence["PfLine"]) -> Grid:
    """`vmlab sriov show`."""
    table = Grid("FUNCTION", "NAME", "VFS", "CELL", "GROUP", "DRIVER", "MAC OR GUID", "USED BY", "PRODUCT")
    for pf in functions:
        table.add_row(
            Text(str(pf.address), "bold"),
            " ".join(pf.interfaces) or "-",
            f"{len(pf.vfs)} of {pf.total}",
            "-" if pf.cell is None else str(pf.cell),
            "",
            pf.driver or "-",
            "",
            "; ".join(pf.users) or "-",
            pf.product,
        )
        for vf in pf.vfs:
            table.add_row(
                f"  {vf.address}",
                " ".join(vf.interfaces) or "-",
                f"VF {vf.number}",
                "",
                "-" if vf.iommu_group is None else str(vf.iommu_group),
                vf.driver or "-",
                " ".join(vf.ids) or "-",
                Text("; ".join(vf.users) or "free", "" if vf.users else "green"),
                "",
            )
    return table
