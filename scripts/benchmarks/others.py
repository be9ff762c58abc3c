"""The same guests, of the same image, by those who know nothing of beds: virt-install, and virt-clone of one guest.

They get the kernel and the seed that vmlab's own nodes boot with, cloud-init's way. What is measured is what their user
waits for: all commands at once, until all guests can be logged in to.
"""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from benchmarks.clock import run
from benchmarks.floor import bridge_of_all, laid_out, log_in
from lxml import etree

from vmlab.domainxml.read import PARSER
from vmlab.guest.ssh import Guest
from vmlab.lab.beds.decide import DOMAIN_TYPES, Prepared
from vmlab.plan.desired import DesiredNode
from vmlab.runtime.wait import Deadline, now
from vmlab.topology import Topology
from vmlab.virt.connection import Host

if TYPE_CHECKING:
    import libvirt

_PREFIX = "vmbench-"  # of their domains: what a killed run left has these names, too
_ORIGINAL = "original"
_BOOT_S = 300.0


@dataclass(frozen=True, slots=True)
class _Others:
    """Where their guests are made. Of virt-clones one at a time has the `pool`: libvirt refuses the others."""

    host: Host
    prepared: Prepared
    folder: Path
    kind: str
    pool: Lock = field(default_factory=Lock)

    def virt_install(self, node: DesiredNode) -> None:
        """One guest, which boots."""
        run(*self._install(node, node.name, str(node.metadata.management.mac)), "--noautoconsole")

    def original(self, node: DesiredNode) -> None:
        """One that is there, and off. Its network card is nobody's: virt-clone takes no MAC address twice."""
        xml = run(*self._install(node, _ORIGINAL, "RANDOM"), "--print-xml").stdout
        self.host.call(lambda connection: connection.defineXML(xml))

    def virt_clone(self, node: DesiredNode) -> None:
        """Another one of that, with a disk and a seed of its own."""
        name, uri = _PREFIX + node.name, ("--connect", self.host.uri)
        disk = self.folder / f"{node.name}.clone.qcow2"
        mac = str(node.metadata.management.mac)
        with self.pool:
            run(
                "virt-clone", *uri, "--original", _PREFIX + _ORIGINAL, "--name", name, "--mac", mac, "--file", str(disk)
            )
        run("virt-xml", *uri, name, "--edit", "target=vdb", "--disk", f"path={self.folder / node.seed}")
        self.host.call(lambda connection: connection.lookupByName(name).create())

    def _install(self, node: DesiredNode, name: str, mac: str) -> tuple[str, ...]:
        boots = etree.fromstring(node.xml, PARSER)
        words = {"kernel": "kernel", "initrd": "initrd", "kernel_args": "cmdline"}
        told = {word: (boots.findtext(f"os/{tag}") or "").replace(",", ",,") for word, tag in words.items()}
        kernel = ",".join(f"{word}={value}" for word, value in told.items() if value)
        return (
            *("virt-install", "--connect", self.host.uri, "--name", _PREFIX + name, "--virt-type", self.kind),
            *("--memory", str(node.memory_kib >> 10), "--vcpus", "1", "--import", "--graphics", "none"),
            *("--osinfo", "detect=off,require=off", "--boot", kernel),
            *("--disk", f"path={self.folder / node.root.name},format=qcow2,bus=virtio"),
            *("--disk", f"path={self.folder / node.seed},format=raw,bus=virtio,readonly=on"),
            *("--network", f"bridge={bridge_of_all()},model=virtio,mac={mac}"),
        )


def missing() -> str:
    """What of theirs is not installed, by the package's name; "" if all is."""
    return "" if all(map(shutil.which, ("virt-install", "virt-clone", "virt-xml"))) else "virtinst"


def installed(host: Host, topology: Topology, accel: str) -> float:
    """Seconds until ssh answers in all of them, by virt-install."""
    with _ground(host, topology, accel) as others:
        return _timed(others, others.virt_install)


def cloned(host: Host, topology: Topology, accel: str) -> float:
    """As `installed`, by virt-clone of a guest that has never run."""
    with _ground(host, topology, accel) as others:
        others.original(next(iter(others.prepared.nodes.values())))
        return _timed(others, others.virt_clone)


def _timed(others: _Others, make: Callable[[DesiredNode], None]) -> float:
    nodes = list(others.prepared.nodes.values())
    begin = now()
    with ThreadPoolExecutor(len(nodes)) as pool:
        for work in [pool.submit(_answers, others, node, make) for node in nodes]:
            work.result()
    return now() - begin


def _answers(others: _Others, node: DesiredNode, make: Callable[[DesiredNode], None]) -> None:
    make(node)
    address = node.metadata.management.ip.ip
    guest = Guest(others.prepared.topology.name, node.name, address, node.metadata.user, others.prepared.keys.folder)
    log_in(guest, Deadline.after(_BOOT_S))


@contextmanager
def _ground(host: Host, topology: Topology, accel: str) -> Iterator[_Others]:
    with laid_out(host, topology, accel) as (prepared, folder):
        folder.chmod(0o711)  # QEMU's user is none of ours
        host.call(_remove_domains)
        # virt-install makes one of each folder that it is told of, and several of them the same one.
        pool = f"<pool type='dir'><name>{_PREFIX}{folder.name}</name><target><path>{folder}</path></target></pool>"
        host.call(lambda connection: connection.storagePoolCreateXML(pool))
        try:
            yield _Others(host, prepared, folder, DOMAIN_TYPES[accel])
        finally:
            host.call(_remove_domains)
            host.call(lambda connection: connection.storagePoolLookupByName(_PREFIX + folder.name).destroy())


def _remove_domains(connection: "libvirt.virConnect") -> None:
    for domain in connection.listAllDomains():
        if domain.name().startswith(_PREFIX):
            if domain.isActive():
                domain.destroy()
            domain.undefine()
