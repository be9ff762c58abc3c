"""The XML of a bed's networks."""

from dataclasses import dataclass
from ipaddress import IPv4Network

from lxml import etree

from vmlab.domainxml.metadata import NetworkMetadata, network_element


@dataclass(frozen=True, slots=True)
class Network:
    """A libvirt network of one bed: `routed` with the host as gateway and name server, otherwise isolated.

    Without `nat` others have a route to it. `gateway` is the host's address, "" for the subnet's first.
    """

    name: str
    uuid: str
    bridge: str
    routed: bool
    mtu: int | None
    metadata: NetworkMetadata
    gateway: str = ""
    nat: bool = True


def gateway(subnet: IPv4Network) -> str:
    """The host's address in a routed network: the first one."""
    return str(subnet[1])


def network_xml(network: Network) -> etree._Element:
    """The network to define. Guests have fixed addresses, so no DHCP server is started."""
    element = etree.Element("network")
    etree.SubElement(element, "name").text = network.name
    etree.SubElement(element, "uuid").text = network.uuid
    etree.SubElement(element, "metadata").append(network_element(network.metadata))
    if network.routed:
        etree.SubElement(element, "forward", {"mode": "nat" if network.nat else "route"})
    etree.SubElement(element, "bridge", {"name": network.bridge, "stp": "off", "delay": "0"})
    if network.mtu is not None:
        etree.SubElement(element, "mtu", {"size": str(network.mtu)})
    if network.routed:
        subnet = network.metadata.subnet
        etree.SubElement(
            element, "ip", {"address": network.gateway or gateway(subnet), "prefix": str(subnet.prefixlen)}
        )
    else:
        etree.SubElement(element, "dns", {"enable": "no"})
    return element
