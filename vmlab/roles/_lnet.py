"""LNet on a node: configured by the files that a reboot reads too, and by nothing else."""

from collections.abc import Iterator, Sequence

from vmlab.lustre import lnetping
from vmlab.lustre.lnetconf import Lnet, Path, import_text, modprobe_text
from vmlab.lustre.version import Version
from vmlab.shell import script
from vmlab.steps import WRITE, Step, enabled, file
from vmlab.values.nid import Nid

_CONF = "/etc/lnet.conf"
_MODPROBE = "/etc/modprobe.d/zz-vmlab-lnet.conf"
"""The last one by name: of an option that is given twice, the last counts."""
_SYSCTL = "/etc/sysctl.d/90-vmlab-lnet.conf"

# An InfiniBand interface's address ends in its port's GUID.
_NAMED = """
case $(cat "/sys/class/net/$1/address" 2>/dev/null) in *"$2") ;; *) exit 1 ;; esac
ip -4 -o addr show dev "$1" | grep -qF " $3/"
"""
_WRONG_NAME = script(__file__, "lnet_wrong_name.sh")

_CONFIGURED = """
[ "$(lctl list_nids 2>/dev/null | grep -v '@lo$' | sort)" = "$(printf '%s\\n' "$@" | sort)" ]
"""
_CONFIGURE = script(__file__, "lnet_configure.sh")

_ROUTES = script(__file__, "lnet_routes.sh")
_ROUTED = _ROUTES + """[ "$(routes)" = "$(printf '%s %s %s\\n' "$@" | sort)" ]\n"""
_ROUTE = _ROUTES + script(__file__, "lnet_route.sh")

_FORWARDS = "lnetctl routing show 2>/dev/null | grep -qE 'enable: *1$'"
_FORWARD = f"forwards() {{ {_FORWARDS}; }}\n" + script(__file__, "lnet_forward.sh")
_FORWARD_S = 180.0

# The unit that Lustre brings imports the file, and so a router that boots would forward after those 110 s only.
_BOOT = "/etc/systemd/system/lnet.service.d/vmlab.conf"
_BOOT_AS_ROUTER = """\
[Service]
ExecStart=
ExecStart=/sbin/modprobe lnet
ExecStart=/bin/sh -c 'if command -v lnetctl; then lnetctl lnet configure --all; else lctl network up; fi'
"""

# Messages to an NI that was just added may be lost while it is "in recovery". A router that boots may need two minutes.
_PATIENCE_S = 20
_ROUTED_PATIENCE_S = 150
_CONFIGURE_S = 120.0


def steps(config: Lnet) -> tuple[Step, ...]:
    """All that makes the node's LNet what it should be; nothing for a node without LNet networks."""
    return tuple(_steps(config)) if config.interfaces else ()


def _steps(config: Lnet) -> Iterator[Step]:
    for place in config.interfaces:
        values = ("vmlab", place.name, place.mac, str(place.nid.address))
        yield Step(
            name=f"interface {place.name}",
            check=("sh", "-c", _NAMED, *values),
            apply=(("sh", "-c", _WRONG_NAME, *values),),
        )
    yield from _multi_rail(config)
    yield file(_MODPROBE, modprobe_text(config))
    yield file(_CONF, import_text(config))
    yield Step(
        name="LNet networks",
        check=("sh", "-c", _CONFIGURED, "vmlab", *map(str, config.nids)),
        apply=(("sh", "-c", _CONFIGURE, "vmlab", _CONF, str(int(config.forwarding))),),
        deadline_s=_CONFIGURE_S,
    )
    if config.routes:
        words = [word for r in config.routes for word in (r.net, str(r.gateway), str(r.hops))]
        yield Step(
            name="LNet routes",
            check=("sh", "-c", _ROUTED, "vmlab", *words),
            apply=(("sh", "-c", _ROUTE, "vmlab", *words),),
        )
    if config.forwarding:
        yield Step(
            name="LNet forwarding",
            check=("sh", "-c", _FORWARDS),
            apply=(("sh", "-c", _FORWARD),),
            deadline_s=_FORWARD_S,
        )
        yield file(_BOOT, _BOOT_AS_ROUTER)
    yield enabled("lnet.service", "LNet at boot")


def ping(node: str, paths: Sequence[Path], version: Version) -> Step:
    """Another node answers over all paths to it, over every router."""
    patience = _ROUTED_PATIENCE_S if any(path.gateways for path in paths) else _PATIENCE_S
    return Step(
        name=f"LNet ping of {node}",
        check=lnetping.command(paths, version),
        apply=(lnetping.command(paths, version, patience_s=patience),),
        deadline_s=patience + 2 * lnetping.limit_s(paths),
    )


def ping_nid(nid: Nid, fsname: str) -> Step:
    """An MGS that is none of the bed's nodes answers."""
    return Step(
        name=f"LNet ping of {nid}, an MGS of {fsname}",
        check=lnetping.of_nid(nid),
        apply=(lnetping.of_nid(nid, patience_s=_PATIENCE_S),),
        deadline_s=_PATIENCE_S + 2 * lnetping.limit_s(()),
    )


_SET = script(__file__, "lnet_set.sh")


def _multi_rail(config: Lnet) -> Iterator[Step]:
    """Several interfaces in one subnet: each answers for its own address only, and takes what comes to it.

    Without it Linux answers ARP on any of them, and Multi-Rail's traffic goes over one. 2.15's and later ksocklnd also
    sets up source routing by itself.
    """
    rails = [place.name for net in config.nets.values() if len(net) > 1 for place in net]
    if not rails:
        return
    pairs = [
        f"net/ipv4/conf/{name}/{key}={value}"
        for name in rails
        for key, value in (("arp_ignore", 1), ("arp_announce", 2), ("arp_filter", 0), ("rp_filter", 2))
    ]
    text = "".join(f"{pair}\n" for pair in pairs)
    yield Step(
        name="ARP for Multi-Rail",
        check=("sh", "-c", _SET, "vmlab", _SYSCTL, text, *pairs),
        apply=(("sh", "-c", WRITE, "vmlab", _SYSCTL, text), ("sysctl", "-q", "-p", _SYSCTL)),
    )
