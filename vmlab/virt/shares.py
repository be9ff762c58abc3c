"""How a host can share folders with its guests."""

import json
from pathlib import Path

from lxml import etree

from vmlab.domainxml.share import Driver
from vmlab.values.libvirt_uri import of_session
from vmlab.virt.connection import Host

# Where libvirt looks for vhost-user daemons, virtiofsd among them (docs/interop/vhost-user.json of QEMU).
_DAEMONS = ("/etc/qemu/vhost-user", "/usr/share/qemu/vhost-user")


def share_driver(host: Host, domain_type: str) -> Driver:
    """virtiofs where libvirt's QEMU knows it and its daemon is installed, else 9p, which is QEMU's own.

    A session's libvirt has no root to run that daemon as.
    """
    if host.simulated:
        return "virtiofs"
    if of_session(host.uri):
        return "9p"
    told = host.call(lambda connection: connection.getDomainCapabilities(virttype=domain_type))
    known = {value.text for value in etree.fromstring(told).iterfind("devices/filesystem/enum/value")}
    return "virtiofs" if "virtiofs" in known and (not host.local or _installed()) else "9p"


def _installed() -> bool:
    for folder in _DAEMONS:
        for file in sorted(Path(folder).glob("*.json")):
            try:
                told = json.loads(file.read_text())
            except (OSError, ValueError):
                continue
            if told.get("type") == "fs" and Path(told.get("binary", "")).exists():
                return True
    return False
