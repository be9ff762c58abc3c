"""soft-RoCE: InfiniBand's verbs emulated by the kernel (rdma_rxe) on top of an ordinary interface.

The kernel forgets the device when it reboots. A unit makes it before LNet starts, which otherwise fails at boot, and a
router over it would not forward until `up` has repaired that.
"""

from typing_extensions import override

from vmlab.fabrics import FIND_INTERFACE, Attached, Fabric, RdmaDevice, RdmaPorts, register
from vmlab.shell import script
from vmlab.steps import Step, enabled, file

_READY = FIND_INTERFACE + script(__file__, "rxe_ready.sh")
_CHECK = _READY + 'ready "$2"\n'
_ADD = _READY + script(__file__, "rxe_add.sh")

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
