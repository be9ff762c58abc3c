"""What a guest should satisfy: check, apply, check again. Described here, run by `guest.satisfy`.

Commands are argv tuples. What needs a shell is a constant script with its values as arguments:
`("sh", "-c", SCRIPT, "vmlab", mac, name)`; a value never becomes part of a script's text.
"""

from dataclasses import dataclass

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A repeatable piece of a guest's configuration, run as root.

    `check` exits 0 when the guest is already as wanted; then nothing is done. Otherwise `apply` runs, command by
    command, and `check` must then hold. `deadline_s` bounds each command.
    """

    name: str
    check: Command
    apply: tuple[Command, ...]
    deadline_s: float = 60.0
