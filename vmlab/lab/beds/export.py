"""A bed in the forms that other tools read."""

from dataclasses import replace

from vmlab.errors import UsageError
from vmlab.guest import export
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.guests import guests
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.filesystems import lnet, targets
from vmlab.suites.cfg import lustre_cfg as cfg_text
from vmlab.topology import Topology
from vmlab.values.nodeset import fold
from vmlab.virt.describe import domain_xml


def ssh(hosts: Hosts, bed: str) -> str:
    """A file for `ssh -F`."""
    return export.ssh_config(guests(hosts, existing(hosts, bed)).values())


def ansible(hosts: Hosts, bed: str) -> str:
    """An inventory of Ansible."""
    found = existing(hosts, bed)
    return export.ansible(guests(hosts, found), {name: node.roles for name, node in found.metadata.items()})


def hosts_file(hosts: Hosts, bed: str) -> str:
    """Lines for the host's /etc/hosts: NODE.BED and NODE by the management address."""
    nodes = existing(hosts, bed).metadata
    return "".join(f"{n.management.ip.ip}\t{name}.{bed} {name}\n" for name, n in nodes.items())


def xml(hosts: Hosts, bed: str) -> str:
    """The bed's domains as libvirt has them defined, one after the other."""
    found = existing(hosts, bed)
    return "".join(domain_xml(hosts.of(domain), domain.facts.name) for domain in found.nodes.values())


def lustre_cfg(hosts: Hosts, topology: Topology) -> str:
    """The configuration of Lustre's test framework, with the addresses and rights that the bed has in force."""
    found = existing(hosts, topology.name)
    if missing := topology.nodes.keys() - found.metadata.keys():
        raise UsageError(f"{topology.name} has no {fold(missing)} yet", hint="vmlab up FILE")
    in_force = {name: replace(node, powers=found.metadata[name].powers) for name, node in topology.nodes.items()}
    topology = replace(topology, nodes=in_force)
    configs = lnet(topology, {name: metadata.addresses for name, metadata in found.metadata.items()})
    return cfg_text(topology, targets(topology, configs), configs)
