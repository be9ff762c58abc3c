"""What a guest needs for its place on a fabric, and how the RDMA device of that place is found. One file each.

Which kind serves an address is decided by what the guest got, not by what was asked for: an `infiniband` fabric that is
attached as virtio is soft-RoCE.
"""

import abc
from ipaddress import IPv4Interface
from typing import ClassVar, Protocol

from vmlab.fabrics._devices import SURVEY, RdmaDevice, RdmaPorts, read_survey
from vmlab.registry import Registry
from vmlab.shell import script
from vmlab.steps import Step

__all__ = ["SURVEY", "Attached", "Fabric", "RdmaDevice", "RdmaPorts", "fabrics", "kind_of", "read_survey", "register"]


class Attached(Protocol):
    """A node's place on one fabric, as `domainxml.metadata.Address` describes it."""

    @property
    def fabric(self) -> str:
        """Its name in the topology."""

    @property
    def kind(self) -> str:
        """`management`, `ethernet` or `infiniband`."""

    @property
    def attach(self) -> str:
        """How the guest got there: `virtio`, `bridge`, `passthrough` or `vf`."""

    @property
    def soft(self) -> bool:
        """InfiniBand on a paravirtual interface."""

    @property
    def interface(self) -> str:
        """What the guest calls its network interface."""

    @property
    def mac(self) -> str:
        """In lower case, with colons; of InfiniBand hardware the port's GUID, in the form 0011:2233:4455:6677."""

    @property
    def ip(self) -> IPv4Interface:
        """The address with its network."""


class Fabric(abc.ABC):
    """A kind of fabric."""

    name: ClassVar[str]

    @abc.abstractmethod
    def serves(self, address: Attached) -> bool:
        """Whether the address is of this kind; exactly one kind says yes."""

    def steps(self, address: Attached, *, mtu: int | None = None) -> tuple[Step, ...]:
        """What makes the guest ready for it, in order. Its IP address is there already (cloud-init sets it).

        `mtu` is that of the network interface in bytes; None leaves it as it is.
        """
        if mtu is None:
            return ()
        return (
            Step(
                name=f"MTU of {address.interface}",
                check=("sh", "-c", _MTU_IS, "vmlab", address.mac, str(mtu)),
                apply=(("sh", "-c", _SET_MTU, "vmlab", address.mac, str(mtu)),),
            ),
        )

    def device(self, address: Attached, survey: RdmaPorts) -> RdmaDevice | None:
        """The RDMA device of that place, from what `SURVEY` printed in the guest; None if there is none."""
        del address, survey
        return None


FIND_INTERFACE = script(__file__, "find_interface.sh")

_MTU_IS = FIND_INTERFACE + """[ "$(cat "/sys/class/net/$interface/mtu")" = "$2" ]"""
_SET_MTU = FIND_INTERFACE + """ip link set dev "$interface" mtu "$2" """

_kinds: Registry[Fabric] = Registry(__name__, "fabric")
register = _kinds.register
fabrics = _kinds.all


def kind_of(address: Attached) -> Fabric:
    """The kind that serves an address; `management` is ethernet. Raises ValueError for a kind that nobody knows."""
    for kind in fabrics().values():
        if kind.serves(address):
            return kind
    raise ValueError(f"fabric {address.fabric} is of the unknown kind {address.kind}")
