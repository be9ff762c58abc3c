"""What a topology names that is not vmlab's: kernels and initrds, by their contents, folders and disks of the host."""

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from vmlab.errors import HostError, Problem, TopologyError
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.desired import Image
from vmlab.plan.kernel import BootFile
from vmlab.topology import Node, Topology
from vmlab.values import identity
from vmlab.virt.machine import machine_of
from vmlab.virt.passed_disks import refuse_disks


def boot_files(topology: Topology) -> dict[tuple[str, str], BootFile]:
    """Every kernel and initrd that nodes name, each read once. Raises TopologyError for one that cannot be read."""
    found = {}
    for node in topology.nodes.values():
        if node.kernel is None:
            continue
        for what, written in (("kernel", node.kernel.image), ("initrd", node.kernel.initrd)):
            if written is not None and (what, written) not in found:
                found[what, written] = _boot_file(topology, what, written)
    return found


def _boot_file(topology: Topology, what: str, written: str) -> BootFile:
    path = topology.path(written)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            raise _problem(topology, f"{what} {path}: it is no file with anything in it (expected a {what})")
        digest = _digest(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise _problem(topology, f"{what} {path}: {error.strerror} (expected a file)") from error
    return BootFile(identity.boot_volume(topology.name, what, digest), str(path), status.st_size, digest)


@lru_cache(maxsize=64)
def _digest(path: Path, _inode: int, _size: int, _mtime_ns: int) -> str:
    """A plan is made several times in one command, and a kernel has a hundred MiB."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_unusable(hosts: Hosts, topology: Topology, images: Mapping[tuple[str, str], Image]) -> None:
    """Raise TopologyError or HostError for a folder, a kernel's arguments or a disk that a node cannot have."""
    for node in topology.nodes.values():
        for name in hosts if node.host is None else (node.host,):
            _refuse_boot(node, images[name, node.image])
            if hosts[name].local or hosts.simulated:
                _refuse_shares(topology, node)
            if not hosts.simulated:
                passed = [disk.device for disk in node.disks if disk.device is not None]
                refuse_disks(machine_of(hosts[name]), passed)


def _refuse_boot(node: Node, image: Image) -> None:
    """Arguments and an initrd go with a kernel that vmlab boots; an image's own boot loader is not asked."""
    if node.kernel is not None and node.kernel.image is None and image.boot is None:
        raise HostError(
            f"{node.name}: the image {node.image} boots from its own disk, with the arguments that it has there",
            hint="name a kernel, too: kernel: {image: bzImage, args: ...}",
        )


def _refuse_shares(topology: Topology, node: Node) -> None:
    for share in node.shares:
        path = topology.path(share.host)
        if not path.is_dir():
            why = "it is no folder" if path.exists() else os.strerror(errno.ENOENT)
            raise _problem(topology, f"share {path}: {why} (expected a folder of the host)")


def _problem(topology: Topology, message: str) -> TopologyError:
    return TopologyError([Problem(topology.file, 1, 1, message)])
