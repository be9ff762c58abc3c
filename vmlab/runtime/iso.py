"""Files as the image of a disc, which is how a seed reaches its guest."""

import hashlib
from collections.abc import Mapping
from io import BytesIO

from vmlab.runtime.archive import first_place

SIGNPOST = "vmlab-first-boot"
"""The first word of a disc whose first line tells where its archive lies."""
TOLD = "run/vmlab/told"
"""What an archive has first whose program is told of in the second line."""
_PROGRAM = "vmlab-told"
_SECTOR, _BLOCK = 2048, 512
_PIECE = 256 << 10


def iso(documents: Mapping[str, str], archive: bytes = b"") -> bytes:
    """An ISO 9660 image with Rock Ridge and Joliet, labelled as NoCloud wants it. Only its time stamps differ.

    An `archive` lies behind it, and the first line of the disc, where ISO 9660 leaves room, says so: SIGNPOST, the
    archive's digest, the sector of 2 KiB that it begins in, and in how many it lies. So a shell finds it that can mount
    nothing, and knows whether it is another one than before. Without an archive the line is SIGNPOST alone. The second
    line is for who needs not even unpack it: `vmlab-told`, the digest, and block of 512 bytes and number of blocks of
    the program TOLD. Such discs are of few sizes, so that one can take another's place under a guest that knows the
    size.
    """
    from pycdlib import PyCdlib  # noqa: PLC0415  slow to import

    image = PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for number, (name, text) in enumerate(documents.items()):
        data = text.encode()
        image.add_fp(BytesIO(data), len(data), f"/DOC{number}.;1", rr_name=name, joliet_path=f"/{name}")
    out = BytesIO()
    image.write_fp(out)
    image.close()
    disc = out.getvalue()
    line = SIGNPOST
    if archive:
        digest = hashlib.sha256(archive).hexdigest()[:32]
        line += f" {digest} {len(disc) // _SECTOR} {-(-len(archive) // _SECTOR)}"
        name, begin, size = first_place(archive)
        if name == TOLD:
            line += f"\n{_PROGRAM} {digest} {(len(disc) + begin) // _BLOCK} {-(-size // _BLOCK)}"
    first = f"{line}\n".encode()
    whole = first + disc[len(first) :] + archive
    return whole + bytes(-len(whole) % (_PIECE if archive else _SECTOR))
