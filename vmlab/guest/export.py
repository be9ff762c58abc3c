"""The way into guests in the forms that other tools read: ssh_config, and an inventory of Ansible.

A guest is called BED.NODE in both: files of several beds can be joined, and no node of a bed takes a real host's name.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from vmlab.guest.ssh import Guest


def ssh_config(guests: Iterable[Guest]) -> str:
    """A file for `ssh -F`, or to be included."""
    blocks = []
    for guest in guests:
        own = {"HostName": str(guest.address), "Port": str(guest.port), "User": guest.user}
        lines = [f"  {name} {value}" for name, value in {**own, **guest.exported_options()}.items()]
        blocks.append("\n".join([f"Host {guest.bed}.{guest.node}", *lines, ""]))
    return "\n".join(blocks)


def ansible(guests: Mapping[str, Guest], roles: Mapping[str, Sequence[str]]) -> str:
    """An inventory in YAML: the guests, a group for the bed and one for each role."""
    hosts = {f"{guest.bed}.{name}": _variables(guest) for name, guest in guests.items()}
    groups: dict[str, Any] = {}
    for name, guest in guests.items():
        for group in (f"bed_{guest.bed.replace('-', '_')}", *roles[name]):
            groups.setdefault(group, {"hosts": {}})["hosts"][f"{guest.bed}.{name}"] = {}
    return yaml.safe_dump({"all": {"hosts": hosts, "children": groups}}, sort_keys=False, width=1000)


def _variables(guest: Guest) -> dict[str, Any]:
    options = (f"-o{name}={value}" for name, value in guest.exported_options().items())
    return {
        "ansible_host": str(guest.address),
        "ansible_port": guest.port,
        "ansible_user": guest.user,
        "ansible_ssh_common_args": shlex.join(("-F", "none", *options)),
    }
