"""A topology's content as a job has it: with marks for what is only known when Slurm has chosen the hosts.

The job's script puts in their place the job's id, name and address of each machine, in the allocation's order, and what
`attach: auto` may be.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from vmlab.topology import Topology
from vmlab.values.ssh_uri import SshUri

JOB = "VMLAB_JOB_"
_ATTACH = "VMLAB_ATTACH_"
_LONGEST = 31 - len("j-") - 8  # a job's id has at most eight digits
_USUAL = "qemu+ssh://root@{}/system"


def bed_name(bed: str) -> str:
    """What the bed is called there: beds of one file may be on one host, and what is left of one tells whose it is."""
    return f"j{JOB}-{bed[:_LONGEST].rstrip('-')}"


def autos(topology: Topology) -> tuple[str, ...]:
    """The fabrics that take functions of the host where some are free, and do without where none is."""
    return tuple(
        name for name, fabric in topology.fabrics.items() if (fabric.kind, fabric.attach) == ("infiniband", "auto")
    )


def allocated(content: Mapping[str, Any], auto: Collection[str] = ()) -> dict[str, Any]:
    """The content of a checked file, for a job. What the `auto` fabrics are the allocation says.

    The host without a `uri` of another machine, else the first one, is where the job's script runs: the first of the
    allocation. The others are the rest of it, each with its own URI and ssh but for the machine's name. `address` is
    that by which Slurm reaches the machine.
    """
    made = {**content, "name": bed_name(str(content["name"]))}
    if auto:
        fabrics = {name: dict(entry or {}) for name, entry in content["fabrics"].items()}
        made["fabrics"] = fabrics | {name: {**fabrics[name], "attach": _ATTACH} for name in auto}
    hosts = content.get("hosts")
    if not isinstance(hosts, dict) or not hosts:
        return made
    entries = {name: dict(entry or {}) for name, entry in hosts.items()}
    first = next((name for name, entry in entries.items() if not _elsewhere(entry)), next(iter(entries)))
    for number, name in enumerate([first, *(name for name in entries if name != first)], start=1):
        entry = entries[name]
        if "address" in entry:
            entry["address"] = f"VMLAB_ADDRESS_{number}_"
        if number > 1:
            machine = f"VMLAB_NODE_{number}_"
            entry["uri"] = _at(entry.get("uri"), machine)
            if "ssh" in entry:
                entry["ssh"] = str(replace(SshUri.of_one(str(entry["ssh"])), hosts=(machine,)))
        else:
            entry.pop("ssh", None)
            if _elsewhere(entry):
                del entry["uri"]
    return made | {"hosts": entries}


def _elsewhere(entry: Mapping[str, Any]) -> bool:
    return bool(urlsplit(str(entry.get("uri") or "")).hostname)


def _at(uri: object, machine: str) -> str:
    parts = urlsplit(str(uri or ""))
    if not parts.hostname:
        return _USUAL.format(machine)
    user, at, _ = parts.netloc.rpartition("@")
    port = "" if parts.port is None else f":{parts.port}"
    return urlunsplit(parts._replace(netloc=f"{user}{at}{machine}{port}"))
