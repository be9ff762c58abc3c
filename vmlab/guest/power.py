"""The command by which a guest powers other nodes of its bed: a step, so that any image will do."""

from pathlib import Path

from vmlab.steps import WRITE, Step

COMMAND = "/usr/local/bin/vmlab-power"

# With its comments: whoever looks at it in the guest is told what it is.
_TEXT = Path(__file__).with_name("vmlab_power.sh").read_text()
_CHECK = '[ -x "$1" ] && printf "%s" "$2" | cmp -s - "$1"'


def power_step() -> Step:
    """The command is there."""
    values = ("vmlab", COMMAND, _TEXT)
    made = (("sh", "-c", WRITE, *values), ("chmod", "755", COMMAND))
    return Step("vmlab-power", ("sh", "-c", _CHECK, *values), made)
