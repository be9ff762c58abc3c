"""Whether what a node should have more than it has can be given to it while it runs."""

from collections.abc import Iterator

from lxml import etree

from vmlab.domainxml.live import disks_to_attach
from vmlab.domainxml.read import read_domain
from vmlab.plan.actions import Action, AttachDisk, DefineDomain, SetMemory
from vmlab.plan.desired import DesiredNode
from vmlab.plan.observed import ObservedDomain


def grows(node: DesiredNode, domain: ObservedDomain) -> bool:
    """Only disks were added, and they find free ports, or its balloon can do what memory is to become.

    Disks that are to go wait for a restart: a guest loses a mounted one without being asked.
    """
    metadata, live = domain.facts.metadata, domain.live
    if metadata is None or live is None or metadata.digest != node.digest_as_it_runs:
        return False
    new = read_domain(node.xml)
    added = disks_to_attach(node.xml, frozenset(domain.facts.serials))
    if set(new.serials) != {*domain.facts.serials, *added} or len(added) > live.free_ports:
        return False
    if new.memory_kib == domain.facts.memory_kib:
        return True
    # Huge pages and what devices write to stay with the guest, and cells have sizes of their own.
    bound = new.details.page_kib is not None or new.hostdevs or etree.fromstring(node.xml).find("cpu/numa") is not None
    return not bound and new.memory_kib <= live.most_kib


def growth(node: DesiredNode, domain: ObservedDomain, volumes: Iterator[Action], reason: str) -> Iterator[Action]:
    """The lane of a node that grows; `volumes` make its own disks. The definition, which is the mark, comes last."""
    yield from volumes
    for serial, xml in disks_to_attach(node.xml, frozenset(domain.facts.serials)).items():
        yield AttachDisk(node.domain, node.name, f"{reason}: {serial}", xml)
    if node.memory_kib != domain.facts.memory_kib:
        yield SetMemory(node.domain, node.name, reason, node.memory_kib)
    yield DefineDomain(node.domain, node.name, reason, node.uuid, node.xml)
