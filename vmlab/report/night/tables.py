"""A night on a terminal."""

from typing import TYPE_CHECKING

from vmlab.report.grid import Grid

if TYPE_CHECKING:
    from vmlab.nights.night import Night


def planned_table(night: "Night") -> Grid:
    """`vmlab nightly --dry-run`."""
    table = Grid("ENTRY", "BED", "MEMORY", "KEEP", "STEPS", "CONDITIONS")
    for entry in night.entries:
        table.add_row(
            entry.name,
            entry.bed,
            f"{entry.memory_kib // 1024}MiB",
            entry.keep,
            " ".join(step.name for step in entry.steps),
            " ".join(f"{name}={value}" for name, value in entry.conditions.items()),
        )
    return table
