"""Commands that only look at a host, whole: the floor is a script that asks libvirt for the XML of all domains.

The nodes are defined at the system's libvirt, or at the one that LIBVIRT_DEFAULT_URI names, and never started.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import libvirt
from benchmarks.clock import VMLAB, empty_image, environment, medians, pairs_of_servers, run
from benchmarks.line import Line

from vmlab.lab.beds.prepare import images_of, prepare
from vmlab.lab.ground.bed import DEFAULT_URI
from vmlab.lab.ground.hosts import only
from vmlab.topology import load
from vmlab.virt.connection import connected

_BED = "bench-looking"
_NODES = 8
_AIM = 3.0
_FLOOR = """
import libvirt, sys
for domain in libvirt.open(sys.argv[1]).listAllDomains():
    domain.XMLDesc()
"""


def looking(rounds: int) -> list[Line]:
    """What exists, and nothing that is asked of guests."""
    uri = os.environ.get("LIBVIRT_DEFAULT_URI", DEFAULT_URI)
    with _bed(uri):
        works = [
            lambda: run(sys.executable, "-c", _FLOOR, uri),
            lambda: run(*VMLAB, "list"),
            lambda: run(*VMLAB, "status", _BED, "--no-guests"),
        ]
        floor, *ours = medians(works, rounds or 10)
    whats = ("list", "status --no-guests")
    return [
        Line("looking", f"{what}: import libvirt and read all domains", took, floor, _AIM)
        for what, took in zip(whats, ours, strict=True)
    ]


@contextmanager
def _bed(uri: str) -> Iterator[None]:
    """Some nodes that are off."""
    with tempfile.TemporaryDirectory(prefix="vmlab-benchmark-") as name, environment(VMLAB_STATE_DIR=name):
        empty_image(Path(name) / "demo.qcow2")
        file = Path(name) / "bed.yaml"
        file.write_text(pairs_of_servers(_BED, servers=_NODES - 2, clients=2, image="./demo.qcow2"))
        topology = load(file)
        with connected(uri) as host:
            hosts = only(host)
            prepared = prepare(hosts, topology, accel="tcg", restart=False, images=images_of(hosts, topology))
            nodes = prepared.nodes.values()
            try:
                for node in nodes:
                    host.call(lambda connection, xml=node.xml: connection.defineXML(xml))  # type: ignore[misc]
                yield
            finally:
                for node in nodes:
                    with suppress(libvirt.libvirtError):
                        host.call(lambda connection, name=node.domain: connection.lookupByName(name).undefine())
