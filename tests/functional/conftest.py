"""Beds on libvirt's test driver: real libvirt objects, without guests behind them."""

import gc
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import libvirt
import pytest

from vmlab.lab.ground.hosts import Hosts
from vmlab.store.images import Files, Manifest, add
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Host
from vmlab.virt.pool import IMAGES, folder

EMPTY_HOST = "<node><cpu><mhz>2000</mhz><model>i686</model><active>8</active></cpu></node>"

BED = """
name: ha
fabrics:
  ib0: {kind: infiniband, lnet: o2ib, attach: virtio}
nodes:
  "mds[1-2]": {role: mds, memory: 512MiB, fabrics: [ib0]}
  "oss[1-2]": {role: oss, memory: 512MiB, fabrics: [ib0], disks: [{name: scratch, size: 16MiB}]}
  client1: {role: client, memory: 256MiB, fabrics: [ib0]}
filesystems:
  lustre:
    mgt: {servers: [mds1, mds2], size: 64MiB}
    mdts: [{servers: [mds1, mds2], size: 64MiB}]
    osts: [{servers: [oss1, oss2], size: 64MiB, count: 2}]
"""


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "demo.qcow2"
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(path), "1G"), check=True)
    return path


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Path) -> Iterator[Host]:
    """A host of its own for each test: a description in a file is private to its connection."""
    for name in ("state", "pool", "lock"):
        monkeypatch.setenv(f"VMLAB_{name.upper()}_DIR", str(tmp_path / name))
    add(folder(IMAGES), Manifest(name="demo", files=Files(disk=disk.name)), disk.parent)
    description = tmp_path / "host.xml"
    description.write_text(EMPTY_HOST)
    host = Host(f"test://{description}")
    yield host
    host.close()


@contextmanager
def simulated_hosts(folder: Path, *names: str) -> Iterator[Hosts]:
    """Hosts with nothing on them, each on a test driver of its own; the first one is this machine."""
    made = {}
    for name in names:
        description = folder / f"{name}.xml"
        description.write_text(EMPTY_HOST)
        made[name] = Host(f"test://{description}", name)
    yield Hosts(made, first=names[0])
    for one in made.values():
        one.close()


def forget_beds() -> None:
    """Beds of test:///default are gone with the last connection to it, which an error's traceback may still have.

    To look for such circles takes as long as most tests do, so it is only done where somebody has one.
    """
    connection = libvirt.open("test:///default")
    everything = (connection.listAllDomains(), connection.listAllNetworks(), connection.listAllStoragePools())
    kept = any(len(objects) > 1 for objects in everything)  # of each kind it begins with one
    del everything
    connection.close()
    del connection
    if kept:
        gc.collect()


@pytest.fixture
def bed() -> Topology:
    return loads(BED, "ha.yaml")
