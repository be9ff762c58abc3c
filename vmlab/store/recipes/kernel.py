"""Kernels: what is inside a bzImage, which modules need which, and the initramfs archive. Pure."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple


class File(NamedTuple):
    """A member of an initramfs; `mode` with the file's type, as in stat(2)."""

    name: str
    mode: int
    content: bytes = b""


def payload(bzimage: bytes) -> bytes:
    """The compressed vmlinux of a bzImage, without the size that follows it (boot protocol 2.08, payload_offset)."""
    (setup_sectors,) = struct.unpack_from("<B", bzimage, 0x1F1)
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    return bzimage[start : start + length - 4]


def cpio(files: Iterable[File]) -> bytes:
    """An archive in the `newc` format of Documentation/driver-api/early-userspace/buffer-format.rst."""
    archive = bytearray()
    for inode, (name, mode, content) in enumerate([*files, File("TRAILER!!!", 0)], start=1):
        path = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def initramfs(init: bytes, modules: Mapping[str, bytes]) -> bytes:
    """The archive that tiny-initramfs's `init` starts from: it loads the modules (by file name) in their order."""
    folders = [File(name, 0o40755) for name in ("dev", "proc", "target")]
    listed = "".join(f"/{name}\n" for name in modules).encode()
    files = [File(name, 0o100644, content) for name, content in (*modules.items(), ("modules", listed))]
    return cpio([*folders, *files, File("init", 0o100755, init)])


class Modules:
    """The modules of one kernel, from its `modules.dep` and `modules.builtin`. Names are as `modprobe` takes them."""

    def __init__(self, dependencies: str, builtin: str) -> None:
        self._needs: Mapping[str, Sequence[str]] = {
            path: needs.split() for path, _, needs in (line.partition(":") for line in dependencies.splitlines())
        }
        self._paths = {_name(path): path for path in self._needs}
        self._builtin = {_name(path) for path in builtin.split()}

    def closure(self, names: Iterable[str]) -> Iterator[str]:
        """The files of these modules, each after what it needs; what is built in is left out.

        Raises KeyError for a module that the kernel does not have.
        """
        done: set[str] = set()
        for name in map(_name, names):
            if name in self._builtin:
                continue
            path = self._paths[name]
            # modules.dep lists what a module needs, the nearest first.
            for file in (*reversed(self._needs[path]), path):
                if file not in done:
                    done.add(file)
                    yield file


def _name(path: str) -> str:
    return PurePosixPath(path).name.partition(".")[0].replace("-", "_")
