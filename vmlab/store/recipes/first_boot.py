"""What an image has that needs no cloud-init: a unit that runs before the network, and its script.

The same for an image of a recipe and for one that is made in a guest of another.
"""

from importlib import resources
from pathlib import Path

from vmlab.runtime.archive import File
from vmlab.shell import script
from vmlab.store.images import FIRST_BOOT, TEMPLATE

CARRIED = {FIRST_BOOT: "2", TEMPLATE: "2"}
"""What an image with these files carries, with the versions of what its units understand."""

UNIT = "vmlab-first-boot.service"

INSTALL = script(__file__, "install_first_boot.sh")
"""Run as root in a guest, with the login user's name and `files` as an archive: puts them there where they will do.

Prints `lean` if it did. Where something else than networkd sets up the network it does nothing.
"""


def files() -> tuple[File, ...]:
    """The files, by their paths in the guest."""
    source = Path(str(resources.files("vmlab.store.recipes") / "first-boot" / "files"))
    return tuple(
        File(str(file.relative_to(source)), file.read_text()) for file in sorted(source.rglob("*")) if file.is_file()
    )
