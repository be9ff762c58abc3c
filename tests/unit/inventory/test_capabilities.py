"""What libvirt says of odd, old and broken hosts, read or refused: one golden text for each case file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.inventory.capabilities import read_capabilities
from vmlab.values.cpuset import cpu_list

ROOT = Path(__file__).parents[2]
CASES = sorted((ROOT / "cases/capabilities").glob("*.xml"))


def told(text: str, memory_kib: int | None) -> str:
    try:
        capabilities = read_capabilities(text, memory_kib=memory_kib)
    except HostError as error:
        return f"refused: {error.message}\n"
    lines = [f"{capabilities.arch}, iommu {capabilities.iommu}"]
    for cell in capabilities.cells:
        cores = sorted({tuple(sorted(cpu.siblings)) for cpu in cell.cpus})
        huge = {size: pool.total for size, pool in cell.huge.items()}
        lines += [
            f"cell {cell.id}: {cell.memory_kib} KiB, huge pages {huge}, distances {dict(cell.distances)}",
            f"  cores: {' '.join(cpu_list(core) for core in cores) or 'none'}",
            f"  sockets, dies: {sorted({(cpu.socket, cpu.die) for cpu in cell.cpus})}",
        ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_odd_hosts(case: Path, golden: Callable[[Path, str], None]) -> None:
    golden(ROOT / "golden/capabilities" / f"{case.stem}.txt", told(case.read_text(), memory_kib=8 << 20))


def test_without_cells_the_memory_must_be_known() -> None:
    text = (ROOT / "cases/capabilities/no-cells.xml").read_text()
    with pytest.raises(HostError, match="no <cells>: the host's memory cannot be known"):
        read_capabilities(text)


def test_every_cpu_is_in_the_core_that_its_siblings_say() -> None:
    for host in (ROOT / "hosts").iterdir():
        for cell in read_capabilities((host / "capabilities.xml").read_text()).cells:
            core_of = {cpu.id: cpu.siblings for cpu in cell.cpus}
            assert all(cpu in core and all(core_of[other] == core for other in core) for cpu, core in core_of.items())
