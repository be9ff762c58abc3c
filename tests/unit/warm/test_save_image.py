"""The head of a saved memory, told anew."""

import struct
from pathlib import Path

import pytest

from vmlab.errors import LibvirtError
from vmlab.virt.save_image import address, make_room

STREAM = bytes(range(256)) * 999


def written(path: Path, xml: bytes, cookie: bytes, *, magic: bytes = b"LibvirtQemudSave", version: int = 2) -> None:
    told = xml + cookie
    head = struct.pack("=16s5I56x", magic, version, len(told), 1, 3, len(xml) if cookie else 0)
    path.write_bytes(head + told + STREAM)


def read(path: Path) -> tuple[bytes, bytes, bytes, tuple[int, ...]]:
    """XML, cookie and stream as libvirt reads them, and the other numbers."""
    data = path.read_bytes()
    _, version, length, ran, compression, at = struct.unpack("=16s5I56x", data[:92])
    told = data[92 : 92 + length]
    xml = told[:at] if at else told
    return xml.split(b"\0")[0], told[at:] if at else b"", data[92 + length :], (version, ran, compression)


@pytest.mark.parametrize("cookie", [b"", b"<cookie/>\0"])
def test_another_domain_s_memory(tmp_path: Path, cookie: bytes) -> None:
    file = tmp_path / "saved"
    written(file, b"<domain>template</domain>\0", cookie)
    make_room(file)
    assert read(file) == (b"<domain>template</domain>", cookie, STREAM, (2, 1, 3))
    size = file.stat().st_size
    for xml in ("<domain>" + "x" * 60_000 + "</domain>", "<domain>short</domain>"):
        address(file, xml)
        assert read(file) == (xml.encode(), cookie, STREAM, (2, 1, 3))
        assert file.stat().st_size == size


@pytest.mark.parametrize(("magic", "version"), [(b"LibvirtQemudPart", 2), (b"LibvirtQemudSave", 3), (b"#" * 16, 2)])
def test_what_is_not_understood_is_refused(tmp_path: Path, magic: bytes, version: int) -> None:
    file = tmp_path / "saved"
    written(file, b"<domain/>\0", b"", magic=magic, version=version)
    with pytest.raises(LibvirtError, match="no saved memory of version 2"):
        make_room(file)
    assert read(file)[2] == STREAM
    file.write_bytes(b"short")
    with pytest.raises(LibvirtError):
        make_room(file)


def test_xml_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "saved"
    written(file, b"<domain/>\0", b"")
    make_room(file)
    with pytest.raises(LibvirtError, match="more than there is room for"):
        address(file, "x" * (256 << 10))
    assert read(file)[0] == b"<domain/>"
