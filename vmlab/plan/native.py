"""Guests of another architecture: refused with both names, before anything else is asked of a host."""

from collections.abc import Mapping
from itertools import groupby

from vmlab.domainxml.template import Emulates
from vmlab.errors import HostError
from vmlab.inventory.architecture import named, runs
from vmlab.inventory.model import HostInventory
from vmlab.plan.desired import Image
from vmlab.topology import Node, Topology
from vmlab.values.nodeset import fold


def guest_architectures(
    topology: Topology,
    hosts: Mapping[str, HostInventory],
    images: Mapping[str, Image],
    templates: Mapping[str, Emulates],
) -> Mapping[str, str]:
    """By node, of what architecture its host must be; nothing for nodes of which that is not known, and without hosts.

    `hosts` are those that guests run on natively, none where they are emulated. Raises HostError for nodes whose image
    is not of their template's architecture, or that none of the hosts runs. What is not known is not foreign.
    """
    found: dict[str, str] = {}

    def shape(node: Node) -> tuple[str, str, str]:
        return node.template, node.image, node.host or ""

    for (template, image, host), nodes in groupby(sorted(topology.nodes.values(), key=shape), key=shape):
        names = [node.name for node in nodes]
        who, wants, told = fold(names), templates[template], named(images[image].architecture)
        if not runs(wants.architecture, told):
            raise HostError(
                f"{who}: the image {image} is {told}, and the template {template} is {wants}",
                hint=f"vmlab image list; or `template: PATH` of a domain for {told}",
            )
        wanted = wants.architecture or told
        where = {name: inventory for name, inventory in hosts.items() if host in ("", name)}
        if where and not any(runs(inventory.arch, wanted) for inventory in where.values()):
            have = " and ".join(f"the host {name} is {inventory.arch}" for name, inventory in where.items())
            what = f"the template {template} is {wants}" if wants.architecture else f"the image {image} is {told}"
            hint = f"a host that is {wanted}; or a `template` and an `image` for this one"
            raise HostError(f"{who}: {have}, and {what}", hint=hint)
        found |= dict.fromkeys(names if hosts else (), wanted)
    return found
