"""What a guest should satisfy: check, apply, check again. Described here, run by `guest.satisfy`.

Commands are argv tuples. What needs a shell is a constant script with its values as arguments:
`("sh", "-c", SCRIPT, "vmlab", mac, name)`; a value never becomes part of a script's text.
"""

from dataclasses import dataclass

WRITE = 'mkdir -p "${1%/*}" && printf "%s" "$2" >"$1.vmlab" && mv "$1.vmlab" "$1"'
"""The script that writes the text $2 to the file $1, whole or not at all."""

_WRITTEN = 'printf "%s" "$2" | cmp -s - "$1"'

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A repeatable piece of a guest's configuration, run as root.

    `check` exits 0 when the guest is already as wanted; then nothing is done. Otherwise `apply` runs, command by
    command, and `check` must then hold. `deadline_s` bounds each command. A check that is done `at_once` is `sh -c` of
    a script that waits for nothing, builtins of the shell and files: it takes no process, and has no deadline.
    """

    name: str
    check: Command
    apply: tuple[Command, ...]
    deadline_s: float = 60.0
    at_once: bool = False


def file(path: str, text: str) -> Step:
    """A file has this text."""
    values = ("vmlab", path, text)
    return Step(name=path, check=("sh", "-c", _WRITTEN, *values), apply=(("sh", "-c", WRITE, *values),))


def enabled(unit: str, name: str) -> Step:
    """A unit of systemd starts at boot."""
    return Step(name, ("systemctl", "is-enabled", "--quiet", unit), (("systemctl", "enable", "--quiet", unit),))
