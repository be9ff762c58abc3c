"""InfiniBand hardware: a passed HCA or a virtual function, with IPoIB on top, or an HCA that speaks RoCE.

The port is found by its GUID, which the host gave it or which is burnt in; names such as mlx5_7 or ib1 change with each
boot. cloud-init sets up no IPoIB interface: it knows interfaces by addresses of six bytes, and these have twenty.
"""

from typing_extensions import override

from vmlab.fabrics import Attached, Fabric, RdmaDevice, RdmaPorts, register
from vmlab.shell import script
from vmlab.steps import Step
from vmlab.values.guid import Guid

_FIND_PORT = script(__file__, "find_port.sh")
_PORT_ACTIVE = _FIND_PORT + 'find_port "$1"\n[ -n "$port" ] && grep -q ACTIVE "$port/state"\n'
_AWAIT_PORT = _FIND_PORT + script(__file__, "await_port.sh")

_WAIT_S = 60
_VF_ADVICE = (
    "SM without virtualization support? Virtual functions of ConnectX-4 and later take the subnet manager of MLNX_OFED "
    "or UFM with `virt_enabled 2` in its opensm.conf, or a switch's with virtualization on; upstream's OpenSM brings "
    "none of them up. Without it: attach: passthrough, or virtio (soft-RoCE)"
)
_HCA_ADVICE = "Is its cable in, and does a subnet manager run on that fabric?"

_FIND_IPOIB = script(__file__, "find_ipoib.sh")
_IPOIB_READY = _FIND_IPOIB + script(__file__, "ipoib_ready.sh")
_SET_UP_IPOIB = _FIND_IPOIB + script(__file__, "set_up_ipoib.sh")


@register
class InfiniBand(Fabric):
    """`mac` is the port's GUID; of an HCA whose link layer is Ethernet it is a MAC address, and cloud-init does all."""

    name = "infiniband"

    @override
    def serves(self, address: Attached) -> bool:
        return address.kind == "infiniband" and not address.soft

    @override
    def steps(self, address: Attached, *, mtu: int | None = None) -> tuple[Step, ...]:
        guid = _guid(address)
        if guid is None:
            return super().steps(address, mtu=mtu)
        advice = _VF_ADVICE if address.attach == "vf" else _HCA_ADVICE
        values = (guid.octets, address.interface, str(address.ip), "" if mtu is None else str(mtu))
        return (
            Step(
                name=f"InfiniBand port of {address.fabric}",
                check=("sh", "-c", _PORT_ACTIVE, "vmlab", str(guid)),
                apply=(("sh", "-c", _AWAIT_PORT, "vmlab", str(guid), str(_WAIT_S), advice),),
                deadline_s=2 * _WAIT_S,
            ),
            Step(
                name=f"IPoIB interface {address.interface}",
                check=("sh", "-c", _IPOIB_READY, "vmlab", *values),
                apply=(("sh", "-c", _SET_UP_IPOIB, "vmlab", *values),),
            ),
        )

    @override
    def device(self, address: Attached, survey: RdmaPorts) -> RdmaDevice | None:
        guid = _guid(address)
        found = survey.by_guid(guid) if guid is not None else None
        return found or survey.by_interface(address.interface) or survey.by_gid(address.ip.ip)


def has_guid(address: Attached) -> bool:
    """An InfiniBand port of hardware, whose IPoIB interface is set up by these steps and not by cloud-init."""
    return address.kind == "infiniband" and not address.soft and _guid(address) is not None


def _guid(address: Attached) -> Guid | None:
    try:
        return Guid.parse(address.mac)
    except ValueError:
        return None
