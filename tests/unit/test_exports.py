"""Disks that this machine exports by qemu-nbd: begun, seen, reached, and ended; other people's are left alone."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmlab.domainxml.devices import Nbd
from vmlab.errors import HostError
from vmlab.virt.export import end_export, export
from vmlab.virt.overlay import look_at

HOST: Any = SimpleNamespace(local=True, simulated=False, name="here", uri="qemu:///system")
VOLUME = "t-exports._lustre-OST0000.raw"
PLACE = Nbd("127.0.0.1", 61998)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "a disk"
    path.write_bytes(b"Lustre" + bytes((4 << 20) - 6))
    yield str(path)
    end_export(HOST, VOLUME)


def begins(place: Nbd, name: str) -> bytes:
    """What a client reads there."""
    image = f"driver=nbd,host={place.address},port={place.port},export={name}"
    read = ("qemu-io", "--image-opts", image, "-r", "-c", "read -v 0 512")
    return subprocess.run(read, capture_output=True, check=True).stdout


def test_an_export_lasts_is_seen_and_ends(disk: str) -> None:
    export(HOST, VOLUME, disk, PLACE)
    found = look_at(HOST).links
    assert found.exports[VOLUME] == PLACE
    assert PLACE.port in found.listening
    assert b"4c 75 73 74 72 65" in begins(PLACE, VOLUME)
    end_export(HOST, VOLUME)
    end_export(HOST, VOLUME)  # one that is gone is fine
    assert VOLUME not in look_at(HOST).links.exports


def test_what_somebody_else_exports_is_neither_seen_nor_ended(disk: str) -> None:
    argv = ("qemu-nbd", "--persistent", "--format=raw", f"--export-name={VOLUME}", "--bind=127.0.0.1", "--port=61999")
    with subprocess.Popen((*argv, disk)) as other:
        try:
            end_export(HOST, VOLUME)
            assert VOLUME not in look_at(HOST).links.exports
            assert other.poll() is None
        finally:
            other.kill()


def test_why_nothing_is_exported(disk: str) -> None:
    with pytest.raises(HostError, match=f"here does not export {VOLUME}: .*/none is not there"):
        export(HOST, VOLUME, f"{disk}/none", PLACE)
    export(HOST, VOLUME, disk, PLACE)
    with pytest.raises(HostError, match="here does not export other"):
        export(HOST, "other", disk, PLACE)
