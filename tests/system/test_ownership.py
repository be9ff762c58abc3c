"""On a real libvirtd: what is not a bed's stays, and what any domain needs. Domains are defined, none is started."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from vmlab.values import identity

from .conftest import Vmlab, remains

BED = "t-own"
DISK = identity.target_volume(BED, "lustre-OST0000")
CLONE = identity.root_volume(BED, "oss1")
FOREIGN = f"{BED}.notes.img"
METADATA = f"""
<metadata><vmlab:node xmlns:vmlab='https://vmlab.io/xmlns/bed/1' bed='{BED}' name='oss1' roles='oss' image='demo'
  user='root' digest='0'><vmlab:address fabric='mgmt' kind='management' attach='virtio' interface='mgmt'
  mac='52:54:00:00:00:01' ip='10.77.250.11/24'/></vmlab:node></metadata>
"""


def domain(name: str, *disks: str, id_: uuid.UUID | None = None, metadata: str = "") -> str:
    devices = "".join(disk.replace("<target/>", f"<target dev='sd{'abc'[n]}'/>") for n, disk in enumerate(disks))
    return (
        f"<domain type='qemu'><name>{name}</name><uuid>{id_ or uuid.uuid4()}</uuid>{metadata}"
        f"<memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os><devices>{devices}</devices></domain>"
    )


def by_path(path: str | Path, driver: str) -> str:
    return f"<disk type='file'><driver name='qemu' type='{driver}'/><source file='{path}'/><target/></disk>"


def by_volume(name: str) -> str:
    return f"<disk type='volume'><driver name='qemu' type='raw'/><source pool='vmlab' volume='{name}'/><target/></disk>"


@pytest.fixture
def pool(vmlab: Vmlab, connection: "libvirt.virConnect") -> Iterator[Path]:
    """Disks of a bed, and a file that only looks like one; the bed's one node is defined."""
    del vmlab  # its image
    pool = connection.storagePoolLookupByName("vmlab")
    pool.refresh()
    folder = Path(pool.XMLDesc().partition("<path>")[2].partition("</path>")[0])
    for name in (DISK, FOREIGN):
        (folder / name).write_bytes(bytes(1 << 20))
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(folder / CLONE), "1M"), check=True)
    node = domain(f"{BED}.oss1", id_=identity.domain_uuid(BED, "oss1"), metadata=METADATA)
    defined = [connection.defineXML(node)]
    yield folder
    for found in (*defined, *(d for d in connection.listAllDomains() if d.name().startswith(f"{BED}-"))):
        if found.name() in {d.name() for d in connection.listAllDomains()}:
            found.undefine()
    for name in (DISK, FOREIGN, CLONE):
        (folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["path", "link", "volume", "chain"])
def test_disks_that_any_domain_needs_keep_the_bed(
    vmlab: Vmlab, pool: Path, connection: "libvirt.virConnect", tmp_path: Path, how: str
) -> None:
    top = tmp_path / "top.qcow2"
    link = tmp_path / "link.raw"
    link.symlink_to(pool / DISK)
    chain = ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(pool / CLONE), str(top))
    subprocess.run(chain, check=True)
    disks = {
        "path": by_path(pool / DISK, "raw"),
        "link": by_path(link, "raw"),
        "volume": by_volume(DISK),
        "chain": by_path(top, "qcow2"),
    }
    other = connection.defineXML(domain(f"{BED}-other", disks[how]))
    vmlab.run("down", BED, "--yes", status=4)
    assert f"the domain {BED}-other, which is not of the bed {BED}, uses" in vmlab.complaints
    assert {f"{BED}.oss1", DISK, CLONE} <= {Path(left).name for left in remains(BED, vmlab)}
    other.undefine()
    vmlab.run("down", BED, "--yes")
    assert [Path(left).name for left in remains(BED, vmlab)] == [FOREIGN]


def test_a_copy_with_our_metadata_and_files_of_others_stay(
    vmlab: Vmlab, pool: Path, connection: "libvirt.virConnect"
) -> None:
    copy = connection.defineXML(domain(f"{BED}-clone", metadata=METADATA))
    assert [node["name"] for node in vmlab.json("status", BED)] == ["oss1"]
    vmlab.run("down", BED, "--yes")
    assert copy.name() in {d.name() for d in connection.listAllDomains()}
    assert [Path(left).name for left in remains(BED, vmlab)] == [FOREIGN]
    assert FOREIGN not in json.dumps(vmlab.json("gc"))
    assert (pool / ".vmlab-pool").exists()
    vmlab.run("down", BED, "--yes")
