"""soft-RoCE: InfiniBand's verbs emulated by the kernel (rdma_rxe) on top of an ordinary interface.

The kernel forgets the device when it reboots. A unit makes it before LNet starts, which otherwise fails at boot, and a
router over it would not forward until `up` has repaired that.
"""

from typing_extensions import override

from vmlab.fabrics import FIND_INTERFACE, Attached, Fabric, RdmaDevice, RdmaPorts, register
from vmlab.steps import Step, enabled, file

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

# One at a time: the unit may be at it while the node boots.
_ADD = (
    FIND_INTERFACE
    + """
exec 9<"/sys/class/net/$interface/address" && flock 9 || exit
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

_SCRIPT = "/usr/local/sbin/vmlab-rxe"
_UNIT = """\
[Unit]
Description=soft-RoCE on {interface}
After=network-online.target
Before=lnet.service

[Service]
Type=oneshot
ExecStart=/bin/sh {script} {words}

[Install]
WantedBy=multi-user.target
"""


@register
class Rxe(Fabric):
    """Its figures say nothing about hardware; what runs over it is real."""

    name = "rxe"

    @override
    def serves(self, address: Attached) -> bool:
        return address.kind == "infiniband" and address.soft

    @override
    def steps(self, address: Attached, *, mtu: int | None = None) -> tuple[Step, ...]:
        # As the kernel writes it, which IPv6Address.exploded does not from Python 3.13 on: there it ends in 10.77.2.11.
        high, low = divmod(int(address.ip.ip), 1 << 16)
        gid = f"0000:0000:0000:0000:0000:ffff:{high:04x}:{low:04x}"
        values = ("vmlab", address.mac, gid, str(address.ip.ip))
        unit = f"vmlab-rxe-{address.interface}.service"
        text = _UNIT.format(interface=address.interface, script=_SCRIPT, words=" ".join(values[1:]))
        return (
            *super().steps(address, mtu=mtu),
            Step(
                name=f"soft-RoCE on {address.fabric}",
                check=("sh", "-c", _CHECK, *values),
                apply=(("sh", "-c", _ADD, *values),),
            ),
            file(_SCRIPT, _ADD),
            file(f"/etc/systemd/system/{unit}", text),
            enabled(unit, f"soft-RoCE on {address.fabric} at boot"),
        )

    @override
    def device(self, address: Attached, survey: RdmaPorts) -> RdmaDevice | None:
        return survey.by_gid(address.ip.ip)
