"""soft-RoCE: InfiniBand's verbs emulated by the kernel (rdma_rxe) on top of an ordinary interface."""

from ipaddress import IPv6Address

from typing_extensions import override

from vmlab.fabrics import FIND_INTERFACE, Attached, Fabric, RdmaDevice, Survey, register
from vmlab.steps import Step

# An rxe device is there, on this interface, active, and has the GID of the address: without that GID no connection
# is possible, and it appears a moment after the device. The table has 1024 places, filled from the first; reading all
# of them takes a second in a slow guest.
_READY = """
for parent in /sys/class/infiniband/*/parent; do
    [ "$(cat "$parent" 2>/dev/null)" = "$interface" ] || continue
    port=${parent%/parent}/ports/1
    grep -q ACTIVE "$port/state" && grep -qsx -e "$2" "$port"/gids/? "$port"/gids/?? && exit 0
done
"""

_CHECK = FIND_INTERFACE + _READY + "exit 1"

_ADD = (
    FIND_INTERFACE
    + """
if ! grep -qsx -e "$interface" /sys/class/infiniband/*/parent; then
    [ -d /sys/module/rdma_rxe ] || modprobe rdma_rxe || exit
    rdma link add "rxe_$interface" type rxe netdev "$interface" || exit
fi
tries=0
while [ $tries -lt 100 ]; do
"""
    + _READY
    + """
    tries=$((tries + 1))
    sleep 0.1
done
echo "soft-RoCE on $interface does not become active with the address $3" >&2
exit 1
"""
)


@register
class Rxe(Fabric):
    """Its figures say nothing about hardware; what runs over it is real."""

    name = "rxe"

    @override
    def serves(self, address: Attached) -> bool:
        return address.kind == "infiniband" and address.soft

    @override
    def steps(self, address: Attached, *, mtu: int | None = None) -> tuple[Step, ...]:
        gid = IPv6Address(f"::ffff:{address.ip.ip}").exploded
        values = ("vmlab", address.mac, gid, str(address.ip.ip))
        return (
            *super().steps(address, mtu=mtu),
            Step(
                name=f"soft-RoCE on {address.fabric}",
                check=("sh", "-c", _CHECK, *values),
                apply=(("sh", "-c", _ADD, *values),),
            ),
        )

    @override
    def device(self, address: Attached, survey: Survey) -> RdmaDevice | None:
        return survey.by_gid(address.ip.ip)
