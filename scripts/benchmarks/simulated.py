"""200 nodes on libvirt's test driver, which does next to nothing: what is left is vmlab's own work.

The floor are libvirt-python's calls that make, tell and remove the same objects, one after the other, with XML that was
made before. All runs in this process, because the test driver's objects live as long as a connection to it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.clock import pairs_of_servers, seconds, simulation
from benchmarks.line import Line
from typer.testing import CliRunner

from vmlab.cli.app import app
from vmlab.domainxml.network import network_xml
from vmlab.domainxml.text import text
from vmlab.domainxml.volume import Volume, volume_xml
from vmlab.lab.beds.decide import Prepared
from vmlab.lab.beds.down import down
from vmlab.lab.beds.plan import look
from vmlab.lab.beds.reached import reached
from vmlab.lab.beds.status import known
from vmlab.lab.beds.up import up
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.runtime.iso import iso
from vmlab.topology import load
from vmlab.values import identity
from vmlab.virt.connection import Host, connected
from vmlab.virt.pool import BEDS

if TYPE_CHECKING:
    import libvirt

Life = Mapping[str, Callable[[Host], object]]
"""up, status and down, to be called in this order."""

_NODES = 200
_BED = "many"
_URI = "test:///default"


class Objects(NamedTuple):
    """The XML of everything that the bed is made of."""

    pool: str
    networks: tuple[str, ...]
    volumes: tuple[str, ...]
    domains: tuple[str, ...]

    @classmethod
    def of(cls, prepared: Prepared) -> "Objects":
        """What `up` would make."""
        (part,) = prepared.parts.values()
        desired = part.desired
        nodes = desired.nodes.values()
        seeds = [Volume(node.seed, len(iso(node.told.documents, node.told.archive)), "raw") for node in nodes]
        volumes = (*desired.targets, *(node.root for node in nodes), *(d for node in nodes for d in node.disks), *seeds)
        path = part.observed.pool_path
        return cls(
            f"<pool type='dir'><name>{BEDS}</name><target><path>{path}</path></target></pool>",
            tuple(text(network_xml(network)) for network in desired.networks),
            tuple(text(volume_xml(volume)) for volume in volumes),
            tuple(node.xml for node in nodes),
        )

    def make(self, connection: "libvirt.virConnect") -> None:
        """The least of `up`."""
        pool = connection.storagePoolDefineXML(self.pool)
        pool.create()
        for xml in self.networks:
            network = connection.networkDefineXML(xml)
            network.setAutostart(1)
            network.create()
        for xml in self.volumes:
            pool.createXML(xml)
        for xml in self.domains:
            connection.defineXMLFlags(xml, 0).create()


def tell(connection: "libvirt.virConnect") -> None:
    """The least of `status`: what libvirt says of everything."""
    for domain in connection.listAllDomains():
        domain.XMLDesc()
        domain.state()
        domain.vcpuPinInfo()
    for volume in connection.storagePoolLookupByName(BEDS).listAllVolumes():
        volume.XMLDesc()
    for network in connection.listAllNetworks():
        network.XMLDesc()


def remove(connection: "libvirt.virConnect") -> None:
    """The least of `down`, which has to look what is there and whose, too: nothing else knows it.

    What is deleted is what was listed. vmlab finds each thing again by what is surely the bed's, right before it is
    deleted, and looks afterwards whether anything is left: that is in its time, and not in this.
    """
    tell(connection)
    for domain in connection.listAllDomains():
        if domain.name().startswith(f"{_BED}."):
            domain.destroy()
            domain.undefine()
    for volume in connection.storagePoolLookupByName(BEDS).listAllVolumes():
        volume.delete()
    for network in connection.listAllNetworks():
        if network.name().startswith(f"{_BED}."):
            network.destroy()
            network.undefine()


def two_hundred_nodes(rounds: int) -> list[Line]:
    """`up`, `status` and `down`, each against the calls alone; the whole commands, with their output, beside that."""
    with simulation() as path:
        file = path / "many.yaml"
        file.write_text(pairs_of_servers(_BED, servers=_NODES - 40, clients=40))
        with connected(_URI) as host:
            prepared = look(only(host), load(file), accel="auto", restart=False, progress=Silent())
        lives: dict[str, Life] = {"floor": _bare(prepared), "ours": _operations(file), "command": _commands(file)}
        taken: dict[tuple[str, str], list[float]] = {}
        for number in range((rounds or 3) + 1):
            for who, life in lives.items():
                with connected(_URI) as host:  # the driver's objects are gone with its last connection
                    for verb, act in life.items():
                        _forget()
                        lasted = seconds(partial(act, host))
                        if number:  # the first round imports what is imported late
                            taken.setdefault((who, verb), []).append(lasted)
    middle = {key: median(lasted) for key, lasted in taken.items()}
    return [
        Line(
            "simulated",
            f"{verb} {_NODES} nodes : libvirt calls",
            middle["ours", verb],
            middle["floor", verb],
            3.0,
            {"as a command": middle["command", verb]},
        )
        for verb in lives["floor"]
    ]


def _forget() -> None:
    """Each verb is a process of its own for whoever types it, and begins without what others have computed."""
    identity.owner_of.cache_clear()
    identity.domain_uuid.cache_clear()


def _bare(prepared: Prepared) -> Life:
    objects = Objects.of(prepared)
    return {
        "up": lambda host: host.call(objects.make),
        "status": lambda host: host.call(tell),
        "down": lambda host: host.call(remove),
    }


def _operations(file: Path) -> Life:
    def bring_up(host: Host) -> None:
        quiet = Silent()
        up(only(host), load(file), accel="auto", restart=False, timeout_s=600, jobs=32, wait=False, progress=quiet)

    def look_at(host: Host) -> None:
        hosts = only(host)
        bed = existing(hosts, _BED)
        reached(hosts, bed, known(hosts, bed))

    return {
        "up": bring_up,
        "status": look_at,
        "down": lambda host: down(only(host), _BED, keep_disks=False, progress=Silent()),
    }


def _commands(file: Path) -> Life:
    return {
        "up": lambda _: _command("up", str(file)),
        "status": lambda _: _command("status", _BED),
        "down": lambda _: _command("down", _BED, "--yes"),
    }


def _command(*argv: str) -> None:
    result = CliRunner().invoke(app, argv)
    if result.exit_code:
        raise RuntimeError(f"vmlab {' '.join(argv)}: {result.output}") from result.exception
