"""Whether a libvirt is this machine's: guests' files, consoles and addresses are only at hand there."""

from urllib.parse import urlsplit

from vmlab.errors import HostError


def leads_elsewhere(uri: str) -> bool:
    """A URI that names a machine, be it this one by a network's name: qemu+ssh://kvm1/system, qemu+tcp://10.0.0.1/."""
    parts = urlsplit(uri)
    transport = parts.scheme.partition("+")[2]
    return bool(parts.netloc) or transport not in ("", "unix")


def refuse_elsewhere(uri: str) -> None:
    """Raise HostError for another machine's libvirt; nothing connects to it."""
    if leads_elsewhere(uri):
        raise HostError(
            f"{uri} is another machine's libvirt, and beds are only run on the machine that vmlab runs on, so far",
            hint="run vmlab there; or only plan for it: vmlab host capture DIR, vmlab plan FILE --inventory DIR",
        )
