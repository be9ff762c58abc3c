"""A real sshd on loopback stands for a guest."""

import getpass
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from sshd import Sshd

from vmlab.guest.keys import BedKeys
from vmlab.guest.ssh import Guest


@pytest.fixture
def keys(tmp_path: Path) -> BedKeys:
    """The keys of bed `ha`, in a folder whose path is longer than a socket's may be, and that needs quoting."""
    keys = BedKeys.fresh(tmp_path / ("a long %h path with $HOME and blanks " * 3).strip() / "ha")
    keys.write(["mds1", "oss1"])
    return keys


@pytest.fixture
def sshd(tmp_path: Path, keys: BedKeys) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd", keys)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def guest(sshd: Sshd, keys: BedKeys) -> Iterator[Guest]:
    user = getpass.getuser()
    with Guest("ha", "oss1", IPv4Address("127.0.0.1"), user, keys.folder, port=sshd.port) as guest:
        yield guest
