"""InfiniBand hardware: a passed HCA or a virtual function, with IPoIB on top, or an HCA that speaks RoCE.

The port is found by its GUID, which the host gave it or which is burnt in; names such as mlx5_7 or ib1 change with each
boot. cloud-init sets up no IPoIB interface: it knows interfaces by addresses of six bytes, and these have twenty.
"""

from typing_extensions import override

from vmlab.fabrics import Attached, Fabric, RdmaDevice, RdmaPorts, register
from vmlab.shell import script
from vmlab.steps import Step
from vmlab.values.guid import Guid

# GID 0 is the subnet's prefix and the port's GUID.
_FIND_PORT = """
port=$(grep -lsi -e ":$1\\$" /sys/class/infiniband/*/ports/*/gids/0 | head -n 1)
port=${port%/gids/0}
"""

_PORT_ACTIVE = _FIND_PORT + '[ -n "$port" ] && grep -q ACTIVE "$port/state"'

# $2: how long to wait in seconds, for the driver and then for the subnet manager; $3: what to say if it is in vain.
_AWAIT_PORT = (
    """
end=$(($(date +%s) + $2))
while :; do
"""
    + _FIND_PORT
    + """
    [ -n "$port" ] && grep -q ACTIVE "$port/state" && exit 0
    [ "$(date +%s)" -lt "$end" ] || break
    sleep 0.2
done
if [ -z "$port" ]; then
    guids=$(cat /sys/class/infiniband/*/ports/*/gids/0 2>/dev/null | cut -d : -f 5- | tr '\\n' ' ')
    echo "no InfiniBand port has the GUID $1 (there are: ${guids:-none})" >&2
    exit 1
fi
name=${port#/sys/class/infiniband/}
state=$(cat "$port/state")
lid=$(($(cat "$port/lid")))
sm_lid=$(($(cat "$port/sm_lid")))
echo "${name%%/*} port ${name##*/} is ${state#*: }, lid $lid, sm_lid $sm_lid. $3" >&2
exit 1
"""
)

_WAIT_S = 60
_VF_ADVICE = (
    "SM without virtualization support? Virtual functions of ConnectX-4 and later take the subnet manager of MLNX_OFED "
    "or UFM with `virt_enabled 2` in its opensm.conf, or a switch's with virtualization on; upstream's OpenSM brings "
    "none of them up. Without it: attach: passthrough, or virtio (soft-RoCE)"
)
_HCA_ADVICE = "Is its cable in, and does a subnet manager run on that fabric?"

_FIND_IPOIB = script(__file__, "find_ipoib.sh")

# $2: the name it shall have, $3: its IP address with the prefix length, $4: its MTU, or nothing.
_IPOIB_READY = (
    _FIND_IPOIB
    + """
[ "$interface" = "$2" ] || exit 1
[ -z "$4" ] || [ "$(cat "/sys/class/net/$2/mtu")" = "$4" ] || exit 1
ip -o -4 address show dev "$2" up | grep -qF " $3 "
"""
)

# The name may be that of another port's interface, which then gets a passing one, until its own step.
_SET_UP_IPOIB = (
    """
[ -d /sys/module/ib_ipoib ] || modprobe ib_ipoib || exit
tries=0
while [ $tries -lt 50 ]; do
"""
    + _FIND_IPOIB
    + """
    [ -z "$interface" ] || break
    tries=$((tries + 1))
    sleep 0.2
done
[ -n "$interface" ] || { echo "no IPoIB interface has the GUID $1" >&2; exit 1; }
if [ "$interface" != "$2" ]; then
    if [ -e "/sys/class/net/$2" ]; then
        [ "$(cat "/sys/class/net/$2/type")" = 32 ] || { echo "$2 is another interface, not InfiniBand" >&2; exit 1; }
        ip link set dev "$2" down || exit
        ip link set dev "$2" name "vl$(cat "/sys/class/net/$2/ifindex")" || exit
    fi
    ip link set dev "$interface" down || exit
    ip link set dev "$interface" name "$2" || exit
fi
[ -z "$4" ] || ip link set dev "$2" mtu "$4" || exit
ip address replace "$3" dev "$2" || exit
ip link set dev "$2" up
"""
)


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
