"""Whether a function can be an HCA or NIC for a guest at all, whoever has it: its link layer, and what it really is."""

import re
from collections.abc import Mapping

from vmlab.inventory.model import LinkLayer, PciFunction

_ETHERNET, _INFINIBAND, _FABRIC, _OTHER, _OLD_INFINIBAND = 0x0200, 0x0207, 0x0208, 0x0280, 0x0C06
_MELLANOX = 0x15B3
LINK_NAMES: Mapping[LinkLayer, str] = {"ethernet": "Ethernet", "infiniband": "InfiniBand"}
# Networks of their own that neither kind of fabric can be, by the driver, and by (vendor, product).
_FOREIGN_DRIVERS = {"hfi1": "Omni-Path", "hfi2": "Omni-Path", "efa": "EFA"}
_FOREIGN_IDS = {(0x8086, 0x24F0): "Omni-Path", (0x8086, 0x24F1): "Omni-Path", (0x434E, 0x0001): "Omni-Path"}
_AMAZON, _EFA = 0x1D0F, 0xEFA0
_WIFI_WORDS = re.compile(r"wireless|wi-?fi|wlan|802\.11", re.IGNORECASE)
# How the names of Wi-Fi drivers begin.
_WIFI_DRIVERS = re.compile(r"ath(5k|9k|1)|iwl|ipw2|rtl8|rtw_?8|mt7[69]|mwifiex|mwl8|brcm[fs]mac|b43|rt(2|61)|wl")


def unsuited(function: PciFunction, kind: LinkLayer) -> str | None:
    """Why it can serve no fabric of the kind; None if it can."""
    if not function.is_network:
        return "it is no HCA or NIC"
    if (foreign := _foreign(function)) is not None:
        return f"{foreign}: not supported"
    if is_wifi(function):
        return "it is a Wi-Fi card"
    layers = link_layers(function)
    if not layers:
        return f"it is a network controller of another kind (class {function.class_code >> 8:#06x})"
    return None if kind in layers else f"its link layer is {LINK_NAMES[layers[0]]}"


def ports_of(function: PciFunction, kind: LinkLayer) -> int:
    """How many ports of the kind it has; one that shows none, as on vfio-pci, has one of the kind of its class."""
    if function.ports:
        return sum(port.link_layer == kind for port in function.ports)
    return int(kind in link_layers(function))


def link_layers(function: PciFunction) -> tuple[LinkLayer, ...]:
    """Those of its ports; of one that shows none the one of its class, () where that says nothing."""
    if function.ports:
        return tuple(dict.fromkeys(port.link_layer for port in function.ports))
    code = function.class_code >> 8
    if code in (_INFINIBAND, _OLD_INFINIBAND) or (code == _OTHER and function.vendor == _MELLANOX):
        return ("infiniband",)
    return ("ethernet",) if code == _ETHERNET else ()


def is_rdma(function: PciFunction) -> bool:
    """It looks like an HCA: by its class, its maker or an RDMA port, whatever its link layer."""
    is_nic = function.class_code >> 8 == _ETHERNET and function.generation == "other"
    return not is_nic or _foreign(function) is not None or any(port.rdma is not None for port in function.ports)


def is_wifi(function: PciFunction) -> bool:
    """By its interface, its driver or its name: some have the class of Ethernet."""
    named = any(name.startswith("wl") for name in function.names)
    words = _WIFI_WORDS.search(function.product_name)
    return function.wireless or named or words is not None or _WIFI_DRIVERS.match(function.driver or "") is not None


def _foreign(function: PciFunction) -> str | None:
    if function.class_code >> 8 == _FABRIC or "omni-path" in function.product_name.lower():
        return _FOREIGN_DRIVERS.get(function.driver or "", "Omni-Path")
    if function.vendor == _AMAZON and function.product & 0xFFF0 == _EFA:
        return "EFA"
    return _FOREIGN_DRIVERS.get(function.driver or "") or _FOREIGN_IDS.get((function.vendor, function.product))
