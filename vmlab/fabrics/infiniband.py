"""InfiniBand hardware: a passed HCA or a virtual function, with IPoIB on top, or an HCA that speaks RoCE."""

from typing_extensions import override

from vmlab.fabrics import Attached, Fabric, RdmaDevice, Survey, register


@register
class InfiniBand(Fabric):
    """The device is behind the fabric's IPoIB interface, or it has the GID of the fabric's address."""

    name = "infiniband"

    @override
    def serves(self, address: Attached) -> bool:
        return address.kind == "infiniband" and not address.soft

    @override
    def device(self, address: Attached, survey: Survey) -> RdmaDevice | None:
        # IPoIB interfaces have 20-byte addresses, so the name is what leads to the device here.
        return survey.by_interface(address.interface) or survey.by_gid(address.ip.ip)
