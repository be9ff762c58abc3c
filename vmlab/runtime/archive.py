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


def archive(files: Iterable[File], *, private: Iterable[str] = ()) -> bytes:
    """The files, after the folders `private`, which only root may enter. Other folders are made as they are needed."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in private:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(entry)
        for file in files:
            content = file.text.encode()
            entry = tarfile.TarInfo(file.path)
            entry.size, entry.mode = len(content), file.mode
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
