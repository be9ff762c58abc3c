"""Ethernet, and the management network: an interface with an address is all there is to it."""

from typing_extensions import override

from vmlab.fabrics import Attached, Fabric, RdmaDevice, RdmaPorts, register


@register
class Ethernet(Fabric):
    """RoCE hardware has its RDMA device found by its address, should the guest have been given some."""

    name = "ethernet"

    @override
    def serves(self, address: Attached) -> bool:
        return address.kind in ("ethernet", "management")

    @override
    def device(self, address: Attached, survey: RdmaPorts) -> RdmaDevice | None:
        return survey.by_gid(address.ip.ip)
