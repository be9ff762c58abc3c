"""What a node is for, written into its domain's and network's `<metadata>` and read back.

One element, one namespace, written whole in the same define call. Pins, devices and MACs are not repeated here: they
are read from the domain XML itself. `virDomainGetMetadata` returns the element without prefix and namespace, `XMLDesc`
with, so names are compared by their local part.

Metadata alone proves nothing: virt-clone and virt-manager copy it along with all else. A domain or network is ours only
if its metadata, the name and the UUID that derive from it agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import cast

from lxml import etree

from vmlab.values import identity
from vmlab.values.vf import VfSettings

NAMESPACE = "https://vmlab.io/xmlns/bed/1"
LEAN, CLOUD_INIT = "lean", "cloud-init"
_N = f"{{{NAMESPACE}}}"
_NODE, _ADDRESS, _SHARE = (f"{_N}{name}" for name in ("node", "address", "share"))
_SWITCH = {"true": True, "false": False}
_VF = ("vlan", "spoof-check", "trust")


@dataclass(frozen=True, slots=True)
class Address:
    """A node's place on one fabric.

    `interface` is the network interface's name in the guest, `kind` the fabric's ("management", "ethernet",
    "infiniband"), `attach` how the guest got there ("virtio", "bridge", "vf", "passthrough"; "routed": on a management
    network that the site routes to its host). `mac` is the port's GUID on InfiniBand hardware. `mtu` is only told where
    neither the network nor the domain's interface tells it, `vf` where the host is to enforce something on a VF.
    """

    fabric: str
    kind: str
    attach: str
    interface: str
    mac: str
    ip: IPv4Interface
    mtu: int | None = None
    vf: VfSettings | None = None

    @property
    def soft(self) -> bool:
        """InfiniBand is emulated here by soft-RoCE: its figures mean nothing."""
        return self.kind == "infiniband" and self.attach in ("virtio", "bridge")


@dataclass(frozen=True, slots=True)
class ShareMount:
    """Where the guest mounts the folder of the host that has this tag; `driver` is "virtiofs" or "9p"."""

    tag: str
    at: str
    driver: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class NodeMetadata:
    """One node of one bed. `digest` is that of everything that was asked for when its domain was defined.

    `kernel` is where its kernel was taken from, for whoever looks for symbols beside it; "" for the image's own.
    `powers` is the node set that it may switch off and on from inside; "" for none. `first_boot` is the way that it
    becomes this node: LEAN, by the unit of its image, or CLOUD_INIT; "" for one that an older vmlab defined. `gateway`
    is its host's address in the management network, "" for the network's first. Where that network is the site's,
    `nameserver` is whom the node asks for names, "" for nobody.
    """

    bed: str
    node: str
    roles: tuple[str, ...]
    image: str
    user: str
    digest: str
    addresses: tuple[Address, ...]
    shares: tuple[ShareMount, ...] = ()
    kernel: str = ""
    powers: str = ""
    first_boot: str = ""
    gateway: str = ""
    nameserver: str = ""

    @property
    def management(self) -> Address:
        """The address that vmlab reaches the guest at."""
        return next(address for address in self.addresses if address.kind == "management")

    @property
    def on_site(self) -> bool:
        """vmlab reaches the guest over a network of the site, and not over one of the bed's own."""
        return self.management.attach == "bridge"


def node_element(node: NodeMetadata) -> etree._Element:
    """The element to put into the domain's `<metadata>`."""
    element = etree.Element(
        f"{_N}node",
        {
            "bed": node.bed,
            "name": node.node,
            "roles": " ".join(node.roles),
            "image": node.image,
            "user": node.user,
            "digest": node.digest,
            **({"kernel": node.kernel} if node.kernel else {}),
            **({"powers": node.powers} if node.powers else {}),
            **({"first-boot": node.first_boot} if node.first_boot else {}),
            **({"gateway": node.gateway} if node.gateway else {}),
            **({"nameserver": node.nameserver} if node.nameserver else {}),
        },
        nsmap={"vmlab": NAMESPACE},
    )
    for address in node.addresses:
        etree.SubElement(
            element,
            f"{_N}address",
            {
                "fabric": address.fabric,
                "kind": address.kind,
                "attach": address.attach,
                "interface": address.interface,
                "mac": address.mac,
                "ip": str(address.ip),
                **({} if address.mtu is None else {"mtu": str(address.mtu)}),
                **_vf_attributes(address.vf),
            },
        )
    for share in node.shares:
        told = {"tag": share.tag, "at": share.at, "driver": share.driver, "read-only": str(share.read_only).lower()}
        etree.SubElement(element, f"{_N}share", told)
    return element


def _vf_attributes(vf: VfSettings | None) -> dict[str, str]:
    told = {} if vf is None else {"vlan": vf.vlan, "spoof-check": vf.spoof_check, "trust": vf.trust}
    return {name: str(value).lower() for name, value in told.items() if value is not None}


def _vf_settings(told: Mapping[str, str]) -> VfSettings | None:
    vlan, spoof_check, trust = (told.get(name, "") for name in _VF)
    if not (vlan or spoof_check in _SWITCH or trust in _SWITCH):
        return None
    return VfSettings(vlan=int(vlan) if vlan else None, spoof_check=_SWITCH.get(spoof_check), trust=_SWITCH.get(trust))


def _interface(text: str) -> IPv4Interface:
    """As IPv4Interface reads it, which reads each text twice: once for the address, once for its network."""
    address, _, prefix = text.partition("/")
    return IPv4Interface((int(IPv4Address(address)), int(prefix)) if prefix.isdecimal() else text)


def write_digest(domain: etree._Element, digest: str) -> None:
    """Put the digest into a domain that `build` made without one."""
    node = domain.find(f"metadata/{_N}node")
    if node is not None:
        node.set("digest", digest)


def read_node(domain: etree._Element, *, scrubbed: bool = False) -> NodeMetadata | None:
    """The node that a domain's XML describes; None for a domain that is not ours, if with a copy of our metadata.

    `scrubbed`: the XML is of a record of a host, which has no UUIDs. Raises ValueError for metadata that cannot be
    understood, whoever's domain it is.
    """
    name, uuid, found = "", "", None
    for child in domain.iterchildren("name", "uuid", "metadata"):
        if child.tag == "metadata":
            found = child
        elif child.tag == "name":
            name = child.text or ""
        else:
            uuid = child.text or ""
    return node_of(name, None if scrubbed else uuid, found)


def node_of(name: str, uuid: str | None, metadata: etree._Element | None) -> NodeMetadata | None:
    """As `read_node`, of a domain's parts: its `<metadata>`, and the name and UUID that go with it.

    Where there is no UUID the name alone tells.
    """
    found = None if metadata is None else next(metadata.iterchildren(_NODE), None)
    if found is None:
        return None
    node = _node(found)
    if name != identity.domain_name(node.bed, node.node):
        return None
    return node if uuid is None or uuid == identity.domain_uuid(node.bed, node.node) else None


def _node(element: etree._Element) -> NodeMetadata:
    told = _attributes(element)
    addresses: list[Address] = []
    shares: list[ShareMount] = []
    for child in element:
        if child.tag == _ADDRESS:
            addresses.append(_address(_attributes(child)))
        elif child.tag == _SHARE:
            shares.append(_share(_attributes(child)))
    return NodeMetadata(
        bed=told.get("bed", ""),
        node=told.get("name", ""),
        roles=tuple(told.get("roles", "").split()),
        image=told.get("image", ""),
        user=told.get("user", "root"),
        digest=told.get("digest", ""),
        addresses=tuple(addresses),
        shares=tuple(shares),
        kernel=told.get("kernel", ""),
        powers=told.get("powers", ""),
        first_boot=told.get("first-boot", ""),
        gateway=told.get("gateway", ""),
        nameserver=told.get("nameserver", ""),
    )


def _attributes(element: etree._Element) -> Mapping[str, str]:
    """All at once, where each `get` would look for its own."""
    return cast("dict[str, str]", dict(element.items()))


def _share(told: Mapping[str, str]) -> ShareMount:
    return ShareMount(told.get("tag", ""), told.get("at", ""), told.get("driver", ""), told.get("read-only") == "true")


def _address(told: Mapping[str, str]) -> Address:
    return Address(
        fabric=told.get("fabric", ""),
        kind=told.get("kind", ""),
        attach=told.get("attach", ""),
        interface=told.get("interface", ""),
        mac=told.get("mac", ""),
        ip=_interface(told.get("ip", "")),
        mtu=int(told["mtu"]) if told.get("mtu") else None,
        vf=None if told.keys().isdisjoint(_VF) else _vf_settings(told),
    )


def not_understood(what: str, why: str) -> str:
    """What is told of a domain or network whose metadata cannot be understood; `why` is the ValueError's text."""
    return f"{what}: vmlab's metadata of it cannot be understood ({why}): it is left alone, as if it were not vmlab's"


@dataclass(frozen=True, slots=True)
class NetworkMetadata:
    """One fabric of one bed; `subnet` is leased for it, whether or not the host has an address in it."""

    bed: str
    fabric: str
    subnet: IPv4Network


def network_element(network: NetworkMetadata) -> etree._Element:
    """The element to put into the network's `<metadata>`."""
    return etree.Element(
        f"{_N}fabric",
        {"bed": network.bed, "name": network.fabric, "subnet": str(network.subnet)},
        nsmap={"vmlab": NAMESPACE},
    )


def read_network(network: etree._Element) -> NetworkMetadata | None:
    """The fabric that a network's XML describes; None for a network that is not ours, if with a copy of our metadata.

    Raises ValueError for metadata that cannot be understood, whoever's network it is.
    """
    found = network.find(f"metadata/{_N}fabric")
    if found is None:
        return None
    fabric = NetworkMetadata(found.get("bed", ""), found.get("name", ""), IPv4Network(found.get("subnet", "")))
    name, uuid = identity.network_name(fabric.bed, fabric.fabric), identity.network_uuid(fabric.bed, fabric.fabric)
    return fabric if (network.findtext("name"), network.findtext("uuid")) == (name, uuid) else None
