"""What a guest is told at its first boot: cloud-init's NoCloud documents, and the ISO 9660 image that carries them.

The documents are JSON, which cloud-init reads as the YAML it is a part of. They keep to keys that cloud-init 18 to 25
know, in all of its network renderers (sysconfig, NetworkManager, netplan, networkd, ifupdown), but for routes on SUSE.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from vmlab.guest.openssh import KeyPair

# Only the order of these names counts; `set-name` gives the interface its own. netplan makes networkd's files of them,
# of which the first that fits is taken, and Debian's images have one called `all-en` that asks DHCP on every `en*`: by
# its other names (altname), which udev gives it when it is renamed, that is every interface.
_FIRST = "0-"

# cloud-init's sysconfig renderer writes no routes for SUSE, neither of `routes` nor of `gateway4`: a TODO of its source
# from 18 to 26, which SUSE's own packages have patched or have not. wicked reads the file, whoever wrote it, at each
# `ifup`; at this boot it has done so already. Elsewhere /etc/sysconfig/network is a file (RHEL), or not there at all.
_SUSE_NETWORK = "/etc/sysconfig/network"
_SUSE_ROUTE = """
folder=$1 interface=$2 gateway=$3
[ -d "$folder" ] || exit 0
echo "default $gateway - -" >"$folder/ifroute-$interface"
[ -n "$(ip -4 route show default)" ] || ip -4 route add default via "$gateway" dev "$interface"
"""

_JSON = json.JSONEncoder(ensure_ascii=False)

# Of the stages after the network what an image's own configuration may have put work into, and the password setting.
# The distributions' lists have apt, locales, snaps, GRUB's debconf and more: seconds of a guest that is emulated.
_BRIEF: dict[str, Any] = {
    "cloud_config_modules": ["set-passwords", "runcmd"],
    "cloud_final_modules": [
        *("scripts-vendor", "scripts-per-once", "scripts-per-boot", "scripts-per-instance", "scripts-user"),
    ],
}


@dataclass(frozen=True, slots=True)
class SeedInterface:
    """One network interface of a guest: found by `mac`, called `name` from then on."""

    name: str
    mac: str
    address: IPv4Interface
    mtu: int | None = None
    gateway: IPv4Address | None = None
    nameserver: IPv4Address | None = None


def documents(
    *,
    bed: str,
    node: str,
    user: str,
    authorized_key: str,
    host_key: KeyPair,
    interfaces: Sequence[SeedInterface],
    brief: bool = True,
) -> dict[str, str]:
    """The three documents by file name. `brief`: cloud-init does nothing that a node needs not.

    The instance's id is a digest of the rest: cloud-init applies changed content at the next boot, and only then.
    """
    ethernets = {_FIRST + interface.name: _ethernet(interface) for interface in interfaces}
    network = {"version": 2, "ethernets": ethernets}
    told = {
        "user-data": "#cloud-config\n"
        + _dump(_user_data(node, user, authorized_key, host_key) | _routes(interfaces) | (_BRIEF if brief else {})),
        "network-config": _dump(network),
    }
    digest = hashlib.sha256(json.dumps([bed, node, told]).encode()).hexdigest()
    return {"meta-data": _dump({"instance-id": f"vmlab-{digest[:32]}", "local-hostname": node}), **told}


def _user_data(node: str, user: str, authorized_key: str, host_key: KeyPair) -> dict[str, Any]:
    # `user` changes the distribution's default user, who has its shell and groups; a list under `users` would not.
    # The key goes to that user and to root by way of the top-level list, which leaves root's password as it is.
    login: dict[str, Any] = {"users": []}
    if user != "root":
        login = {"users": ["default"], "user": {"name": user, "lock_passwd": True, "sudo": "ALL=(ALL) NOPASSWD:ALL"}}
    return {
        "hostname": node,
        "fqdn": node,
        "preserve_hostname": False,
        "manage_etc_hosts": False,
        **login,
        "ssh_authorized_keys": [authorized_key],
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": ["ed25519"],
        "ssh_keys": {"ed25519_private": host_key.private, "ed25519_public": host_key.public},
        # Two programs that print keys on the console; nobody reads them there.
        "no_ssh_fingerprints": True,
        "ssh": {"emit_keys_to_console": False},
        "package_update": False,
        "package_upgrade": False,
    }


def _routes(interfaces: Sequence[SeedInterface]) -> dict[str, Any]:
    """The default route where cloud-init's renderer makes none; `bootcmd` runs at each boot, when interfaces are up."""
    ways = [(i.name, str(i.gateway)) for i in interfaces if i.gateway is not None]
    commands = [["sh", "-c", _SUSE_ROUTE, "vmlab", _SUSE_NETWORK, *way] for way in ways]
    return {"bootcmd": commands} if commands else {}


def _ethernet(interface: SeedInterface) -> dict[str, Any]:
    # No `dhcp4: false`, which is the default: cloud-init 18 takes the mere key for a yes.
    ethernet: dict[str, Any] = {
        "match": {"macaddress": interface.mac},
        "set-name": interface.name,
        "accept-ra": False,
        "addresses": [str(interface.address)],
    }
    if interface.mtu is not None:
        ethernet["mtu"] = interface.mtu
    if interface.gateway is not None:
        # Not `gateway4`, which netplan calls deprecated; not `default`, which cloud-init 18 does not know.
        ethernet["routes"] = [{"to": "0.0.0.0/0", "via": str(interface.gateway)}]
    if interface.nameserver is not None:
        ethernet["nameservers"] = {"addresses": [str(interface.nameserver)]}
    return ethernet


def _dump(document: Mapping[str, Any]) -> str:
    return _JSON.encode(document) + "\n"
