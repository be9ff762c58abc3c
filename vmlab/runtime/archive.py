"""Files as a tar archive, which any guest can unpack: the same bytes for the same files."""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """A file of root's, by its path from the root of the guest, without the first slash; `mode` is what chmod takes."""

    path: str
    text: str
    mode: int = 0o644


def archive(files: Iterable[File], *, private: Iterable[str] = (), first: File | None = None) -> bytes:
    """The files, after the folders `private`, which only root may enter. Other folders are made as they are needed.

    `first` comes before all, where `first_place` tells.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        if first is not None:
            _add(tar, first)
        for folder in private:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(entry)
        for file in files:
            _add(tar, file)
    return out.getvalue()


def first_place(archive: bytes) -> tuple[str, int, int]:
    """The path of what comes first, and where its content lies: the first byte, and how many. Raises TarError."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        first = tar.next()
        return ("", 0, 0) if first is None else (first.name, first.offset_data, first.size)


def _add(tar: tarfile.TarFile, file: File) -> None:
    content = file.text.encode()
    entry = tarfile.TarInfo(file.path)
    entry.size, entry.mode = len(content), file.mode
    tar.addfile(entry, io.BytesIO(content))
