"""A guest asks its network's name server, which resolves what the host resolves (libvirt's dnsmasq on the gateway).

The seed names that server, and cloud-init tells NetworkManager and systemd-resolved of it, or writes it for SUSE. Where
none of these is (networkd or ifupdown alone) nobody writes /etc/resolv.conf: it stays empty, or as the image was built.
A step over ssh and not part of the seed, because it depends on what the image has.
"""

from vmlab.shell import script
from vmlab.steps import Step

_CHECK = script(__file__, "resolver_asks.sh")
_APPLY = script(__file__, "let_resolver_ask.sh")


def names_step(server: str) -> Step:
    """The guest's resolver asks `server` first."""
    return Step(
        "names",
        ("sh", "-c", _CHECK, "vmlab", server),
        (("sh", "-c", _APPLY, "vmlab", server),),
        deadline_s=120.0,
        at_once=True,
    )
