"""Refusals of other machines' libvirt, before anything connects: where only this machine will do, or a shell there."""

from vmlab.errors import HostError
from vmlab.values.libvirt_uri import Way, leads_elsewhere


def refuse_elsewhere(uri: str) -> None:
    """Raise HostError for another machine's libvirt; nothing connects to it."""
    if leads_elsewhere(uri):
        raise HostError(
            f"{uri} is another machine's libvirt, and this is only done on the machine that vmlab runs on",
            hint="run vmlab there; or name that host in a topology's `hosts`, for what beds do",
        )


def refuse_without_shell(way: Way) -> None:
    """Raise HostError for another machine's libvirt to which ssh does not lead; nothing connects to it."""
    if leads_elsewhere(way.uri) and not way.has_shell:
        raise no_shell(way.uri)


def no_shell(uri: str) -> HostError:
    """What whoever needs a shell of that machine is told."""
    return HostError(
        f"{uri} leads to another machine's libvirt, and to no shell there: a bed's locks and links need one",
        hint="in the topology file, beside that host's `uri`: ssh: root@HOST (and --on names that file)",
    )
