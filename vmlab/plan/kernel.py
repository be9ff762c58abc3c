"""What a node boots: its image's kernel, or files of the user's, taken by their contents.

QEMU is never given the user's file: libvirt would make it the guests' user's while they run. It boots a copy in the
pool that is named by its contents, so that a kernel which is built anew at its old path is a change.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vmlab.domainxml.build import Boot
from vmlab.topology import Node


@dataclass(frozen=True, slots=True)
class BootFile:
    """A kernel or initrd of the user's: `name` is its copy's in the pool, `digest` the SHA-256 of its contents."""

    name: str
    source: str
    size: int
    digest: str


BootFiles = Mapping[tuple[str, str], BootFile]
"""By what it is, "kernel" or "initrd", and as the topology writes it."""


def files_of(node: Node, files: BootFiles) -> Mapping[str, BootFile]:
    """The files of its own that a node boots, by what they are."""
    if node.kernel is None:
        return {}
    written = {"kernel": node.kernel.image, "initrd": node.kernel.initrd}
    return {what: files[what, name] for what, name in written.items() if name is not None}


def boot_of(node: Node, image: Boot | None, own: Mapping[str, BootFile], pool_path: str) -> Boot | None:
    """How a node boots; None: from its own disk. Without kASLR where a debugger is to find the kernel's symbols.

    The initrd of an image goes with the image's kernel only: its modules are of that one.
    """
    kernel = node.kernel
    if image is None and "kernel" not in own:
        return None
    words = [image.cmdline if image else "", "nokaslr" if node.gdb else "", kernel.args if kernel else ""]
    cmdline = " ".join(filter(None, words))
    initrd = f"{pool_path}/{own['initrd'].name}" if "initrd" in own else None
    if "kernel" in own:
        return Boot(f"{pool_path}/{own['kernel'].name}", initrd, cmdline)
    assert image is not None  # noqa: S101 - seen above, for mypy
    return Boot(image.kernel, initrd or image.initrd, cmdline)
