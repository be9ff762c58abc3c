"""The images of a bed on other machines: they get what they lack from the store of this one, each once."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.runtime.parallel import each
from vmlab.store.images import Manifest
from vmlab.virt.connection import Host
from vmlab.virt.held_there import held_there
from vmlab.virt.pool import IMAGES, pool_path
from vmlab.virt.pool import folder as default_folder
from vmlab.virt.send_file import missing, send

_MIB = 1 << 20


def elsewhere(host: Host) -> bool:
    """It is another machine, with files of its own."""
    return not host.local and not host.simulated


def store_here(hosts: Hosts) -> Path:
    """The image store of this machine, which may be none of the hosts."""
    for host in hosts.values():
        if not elsewhere(host):
            return Path(host.call(lambda connection: pool_path(connection, IMAGES)))
    return default_folder(IMAGES)


@contextlib.contextmanager
def cloning_elsewhere(hosts: Hosts) -> Iterator[None]:
    """As `image_store.cloning`, on the other machines: nobody there removes an image until its clones exist."""
    with contextlib.ExitStack() as stack:
        for host in filter(elsewhere, hosts.values()):
            held = held_there(host, "images.cloned", what="the image store", wait_s=60.0, shared=True)
            stack.enter_context(held)
        yield


def bring(hosts: Hosts, images: Mapping[tuple[str, str], tuple[Manifest, Path]], progress: Progress) -> None:
    """Send what other machines lack of these images, to all at once. Raises HostError for what does not arrive."""
    store = store_here(hosts)

    def files(host: Host) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for (name, _), (manifest, _) in images.items():
            if name == host.name:
                told = manifest.files
                found |= dict.fromkeys(filter(None, (told.disk, told.kernel, told.initrd)))
        return tuple(found)

    def to(host: Host) -> None:
        if lacking := missing(host, files(host)):
            size = sum((store / file).stat().st_size for file in lacking)
            progress.say(f"{host.name} gets {', '.join(lacking)}: {size // _MIB} MiB")
            for file in lacking:
                send(host, store / file)

    others = [host for host in hosts.values() if elsewhere(host)]
    each(to, others, jobs=max(1, len(others)), failed="not all hosts have got their images")
