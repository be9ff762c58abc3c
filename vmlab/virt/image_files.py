"""Files of the image store of another machine: which are there, and their removal while nobody sends them.

A vmlab that runs there has a store of its own in the same folder, with a manifest for each image: those are its own.
"""

from dataclasses import dataclass
from pathlib import PurePath

from vmlab.errors import HostError
from vmlab.shell import script
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.machine import machine_of
from vmlab.virt.pool import IMAGES, pool_path

_LIST = script(__file__, "image_files.sh")
_REMOVE = script(__file__, "remove_image_files.sh")
_ASK_S = 60.0


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file with a name that vmlab gives. `size`: bytes on the disk; `own`: its image has a manifest there."""

    name: str
    image: str
    size: int
    own: bool

    @property
    def stem(self) -> str:
        """What all files of an image have in common, half-sent ones too."""
        return PurePath(self.name.removeprefix(".").removesuffix(".partial")).stem


def image_files(host: Host) -> list[ImageFile]:
    """All of them, half-sent ones too. Raises HostError if the machine is not reached."""
    folder = host.call(lambda connection: pool_path(connection, IMAGES))
    asked = machine_of(host).run(("sh", "-c", _LIST, "vmlab", folder), deadline_s=_ASK_S)
    if not asked.ok:
        raise HostError(f"{host.name}: {folder}: {asked.last_line}", hint=machine_of(host).try_it)
    parted = (line.partition(" ") for line in asked.stdout.splitlines())
    sizes = {name: size for size, _, name in parted if name}
    manifests = {name.removesuffix(".json") for name in sizes if name.endswith(".json")}
    return [
        ImageFile(name, image, int(size), image in manifests)
        for name, size in sorted(sizes.items())
        if (image := identity.image_of(name)) is not None
    ]


def remove_image_files(host: Host, names: list[str]) -> list[str]:
    """Remove them; those that somebody sends at this moment stay. What was removed. Raises HostError."""
    folder = host.call(lambda connection: pool_path(connection, IMAGES))
    done = machine_of(host).run(("sh", "-c", _REMOVE, "vmlab", folder, *names), deadline_s=_ASK_S)
    if not done.ok:
        raise HostError(f"{host.name}: {folder}: {done.last_line}", hint=f"ls -l {folder}, on that host")
    return done.stdout.split()
