"""The templates of a host that nodes are cloned from, running: list, remove."""

from collections.abc import Collection
from dataclasses import dataclass

from vmlab.errors import UsageError
from vmlab.lab.ground.image_store import folder
from vmlab.store.images import images
from vmlab.store.templates import Template, Templates
from vmlab.virt.connection import Host


@dataclass(frozen=True, slots=True)
class TemplateLine:
    """A template, bytes on the disk, when it was last cloned, and why it is of no use any more; "" while it is."""

    template: Template
    size: int
    used: str
    useless: str


def listed(host: Host) -> list[TemplateLine]:
    """All, the one that was cloned last first."""
    qemu = host.call(lambda connection: connection.getVersion())
    disks = {str(folder(host) / image.files.disk) for image in images(folder(host))}
    return [
        TemplateLine(
            kept.template,
            kept.size,
            kept.used.isoformat(timespec="seconds"),
            _useless(kept.template, qemu, disks),
        )
        for kept in Templates(folder(host)).all()
    ]


def _useless(template: Template, qemu: int, disks: Collection[str]) -> str:
    if template.disk not in disks:
        return "its image is another one by now, or gone"
    return "" if template.qemu == qemu else f"it is QEMU {version(template.qemu)}'s, and this is {version(qemu)}"


def version(number: int) -> str:
    """libvirt's number of a version, as people write it."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def remove(host: Host, keys: list[str]) -> list[TemplateLine]:
    """Remove those whose keys begin so; all of no use without `keys`. What was removed.

    Nodes that were cloned need it no more. Raises UsageError, before any is removed, for a key that fits none.
    """
    lines = listed(host)
    if keys:
        for key in keys:
            if not any(line.template.key.startswith(key) for line in lines):
                raise UsageError(f"no template has a key that begins {key!r:.40}", hint="vmlab warm list")
        doomed = [line for line in lines if line.template.key.startswith(tuple(keys))]
    else:
        doomed = [line for line in lines if line.useless]
    for line in doomed:
        Templates(folder(host)).remove(line.template.key)
    return doomed
