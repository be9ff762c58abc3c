"""A bed in the forms that other tools read."""

from vmlab.guest.ssh import ssh_config
from vmlab.lab.ground.bed import existing, guests
from vmlab.virt.connection import Host
from vmlab.virt.describe import domain_xml


def ssh(host: Host, bed: str) -> str:
    """A file for `ssh -F`."""
    return ssh_config(guests(host, existing(host, bed)).values())


def hosts(host: Host, bed: str) -> str:
    """Lines for the host's /etc/hosts: NODE.BED and NODE by the management address."""
    nodes = existing(host, bed).metadata
    return "".join(f"{n.management.ip.ip}\t{name}.{bed} {name}\n" for name, n in nodes.items())


def xml(host: Host, bed: str) -> str:
    """The bed's domains as libvirt has them defined, one after the other."""
    return "".join(domain_xml(host, domain.facts.name) for domain in existing(host, bed).nodes.values())
