"""Whether a libvirt is this machine's, or another one's with a shell by ssh, which does what libvirt does not."""

from urllib.parse import urlsplit

from vmlab.errors import HostError

_BY_SSH = ("ssh", "libssh", "libssh2")


def leads_elsewhere(uri: str) -> bool:
    """A URI that names a machine, be it this one by a network's name: qemu+ssh://kvm1/system, qemu+tcp://10.0.0.1/."""
    parts = urlsplit(uri)
    transport = parts.scheme.partition("+")[2]
    return bool(parts.netloc) or transport not in ("", "unix")


def refuse_elsewhere(uri: str) -> None:
    """Raise HostError for another machine's libvirt; nothing connects to it."""
    if leads_elsewhere(uri):
        raise HostError(
            f"{uri} is another machine's libvirt, and this is only done on the machine that vmlab runs on",
            hint="run vmlab there; or name that host in a topology's `hosts`, for what beds do",
        )


def has_shell(uri: str) -> bool:
    """ssh leads to the machine, as it leads to its libvirt."""
    parts = urlsplit(uri)
    return parts.scheme.partition("+")[2] in _BY_SSH and bool(parts.hostname)


def refuse_without_shell(uri: str) -> None:
    """Raise HostError for another machine's libvirt to which ssh does not lead; nothing connects to it."""
    if leads_elsewhere(uri) and not has_shell(uri):
        raise HostError(
            f"{uri} leads to another machine's libvirt, and to no shell there: a bed's locks and links need one",
            hint="uri: qemu+ssh://root@HOST/system",
        )
