"""A domain in libvirt's own words."""

import libvirt

from vmlab.virt.connection import Host


def domain_xml(host: Host, name: str) -> str:
    """The domain as it is defined, without what only its running QEMU has."""
    return host.call(lambda connection: str(connection.lookupByName(name).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
