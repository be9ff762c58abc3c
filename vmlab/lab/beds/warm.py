"""Which nodes of a bed go on from a template's memory, and why others boot; templates that are not there are made."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import libvirt
from lxml import etree

from vmlab.domainxml.clone import shape, why_none
from vmlab.domainxml.metadata import LEAN
from vmlab.domainxml.read import PARSER
from vmlab.errors import HostError, VmlabError
from vmlab.lab.beds.clone import Source
from vmlab.lab.beds.decide import DOMAIN_TYPES, Prepared
from vmlab.lab.beds.prepare import Images
from vmlab.lab.beds.template import Wanted, make, usable
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.image_store import folder
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import CreateVolume, StartDomain
from vmlab.plan.desired import DesiredNode
from vmlab.runtime.parallel import each
from vmlab.store.templates import Templates
from vmlab.values.nodeset import fold
from vmlab.virt.connection import Host

Sources = Mapping[str, Source]
"""By node, of those that are to be clones."""


def refuse_cold(hosts: Hosts, prepared: Prepared, images: Images) -> None:
    """Raise HostError if a node of a bed that is to be warm only would boot."""
    if prepared.topology.warm == "only" and (found := _cold(hosts, prepared, images)):
        reason = next(iter(found.values()))
        nodes = fold([node for node, why in found.items() if why == reason])
        raise HostError(f"{nodes} cannot be a template's clone: {reason}", hint="--warm auto lets it boot")


def sources(hosts: Hosts, prepared: Prepared, images: Images, progress: Progress, *, jobs: int) -> Sources:
    """Those of the nodes that are about to boot for the first time, when all templates are there. All are defined.

    `jobs` templates boot at once.
    """
    wish = prepared.topology.warm
    if wish == "never" or hosts.simulated:
        return {}
    cold = _cold(hosts, prepared, images)
    for reason in dict.fromkeys(cold.values()):
        nodes = fold([node for node, why in cold.items() if why == reason])
        progress.say(f"{nodes} boots, and is no template's clone: {reason}")
    found: dict[str, Source] = {}
    missing: dict[str, tuple[_Place, Wanted]] = {}
    for name, fresh in _fresh(prepared):
        warm = [node for node in fresh if node.name not in cold]
        if not warm:
            continue
        place = _Place(hosts[name], prepared.accel, Path(prepared.parts[name].observed.pool_path))
        for node in warm:
            manifest, _ = images[name, prepared.topology.nodes[node.name].image]
            wanted = place.wanted(node, grow=node.root.capacity > manifest.size)
            found[node.name] = Source(place.templates, wanted.key, wanted.xml, place.pool)
            if place.templates.find(wanted.key) is None:
                missing.setdefault(wanted.key, (place, wanted))
    failed = _make(missing, found, wish, progress, jobs)
    return {node: source for node, source in found.items() if source.key not in failed}


def _cold(hosts: Hosts, prepared: Prepared, images: Images) -> dict[str, str]:
    """Why nodes that are about to boot for the first time can be no clones."""
    found = {}
    for name, nodes in _fresh(prepared):
        here = _why_not_here(hosts[name]) if nodes else ""
        for node in nodes:
            manifest, _ = images[name, prepared.topology.nodes[node.name].image]
            if reason := here or _why_cold(node, clonable=manifest.clonable):
                found[node.name] = reason
    return found


def _why_not_here(host: Host) -> str:
    if not host.local:
        return "its host is another machine"
    return "" if usable(folder(host)) else "only root keeps templates"


def _why_cold(node: DesiredNode, *, clonable: bool) -> str:
    if node.metadata.first_boot != LEAN:
        return "cloud-init makes it what it is"
    if not clonable:
        return (
            f"the image {node.metadata.image} is older than templates (vmlab image build), or its kernel lacks vmgenid"
        )
    return "it has a kernel of its own" if node.files else why_none(node.xml)


def _make(
    missing: Mapping[str, tuple["_Place", Wanted]], found: Sources, wish: str, progress: Progress, jobs: int
) -> frozenset[str]:
    """Make them; the keys of those that could not be."""
    failed = []

    def one(key: str) -> None:
        place, wanted = missing[key]
        nodes = fold([node for node, source in found.items() if source.key == key])
        if place.templates.broken(key):
            progress.warn(f"the template {key} of {wanted.image} was cut or written to: it is made anew")
        progress.say(f"{wanted.image}: a template of {nodes} boots, once")
        try:
            make(place.host, place.templates, wanted)
        except VmlabError as error:
            if wish == "only":
                raise
            progress.warn(f"{error.message}; {nodes} boots")
            failed.append(key)

    each(one, missing, jobs=jobs, failed="not all templates could be made")
    return frozenset(failed)


def _fresh(prepared: Prepared) -> Iterator[tuple[str, list[DesiredNode]]]:
    """By host, those whose root disks are made now, and that start."""
    for name, part in prepared.parts.items():
        yield name, [node for node in part.desired.nodes.values() if _begins(node, part.plan.lanes.get(node.name, ()))]


def _begins(node: DesiredNode, lane: tuple[object, ...]) -> bool:
    made = any(isinstance(action, CreateVolume) and action.name == node.root.name for action in lane)
    return made and any(isinstance(action, StartDomain) for action in lane)


class _Place:
    """A host of the bed, and its templates."""

    def __init__(self, host: Host, accel: str, pool: Path) -> None:
        self.host = host
        self.pool = pool
        self._kind = DOMAIN_TYPES[accel]
        self.templates = Templates(folder(host))
        self._qemu: int = host.call(lambda connection: connection.getVersion())
        self._cpu = _cpu(host) if self._kind == "kvm" else ""

    def wanted(self, node: DesiredNode, *, grow: bool) -> Wanted:
        xml = self._definition(node)
        seed = (self.pool / node.seed).stat().st_size
        key = shape(xml, node.root.backing, node.root.capacity, seed, self._qemu, self._cpu)
        return Wanted(
            key,
            xml,
            node.metadata.image,
            node.root.backing or "",
            node.root.capacity,
            grow,
            self._kind,
            self._qemu,
            node.memory_kib,
            tuple(place.interface for place in node.metadata.addresses),
            node.metadata.user,
        )

    def _definition(self, node: DesiredNode) -> str:
        def act(connection: "libvirt.virConnect") -> str:
            flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
            return str(connection.lookupByUUIDString(node.uuid).XMLDesc(flags))

        return self.host.call(act)


def _cpu(host: Host) -> str:
    """What guests get of the host's CPU under KVM, in short."""
    told = etree.fromstring(host.call(lambda connection: connection.getCapabilities()), PARSER).find("host/cpu")
    return "" if told is None else hashlib.sha256(etree.tostring(told, method="c14n")).hexdigest()
