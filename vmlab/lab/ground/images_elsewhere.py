"""The images of a bed on other machines: they get what they lack from the store of this one, each once."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.observed import Observed
from vmlab.runtime.parallel import each
from vmlab.store.images import Manifest
from vmlab.store.images import images as store_images
from vmlab.virt.connection import Host
from vmlab.virt.held_there import LockThere, held_there
from vmlab.virt.image_files import ImageFile, image_files, remove_image_files
from vmlab.virt.observe import observe
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
        asked = []
        for host in filter(elsewhere, hosts.values()):
            asked.append(LockThere(host, "images.cloned", what="the image store", shared=True))
            stack.callback(asked[-1].end)
        for one in asked:
            stack.enter_context(one.held(wait_s=60.0))
        yield


def stored_there(host: Host, observed: Observed | None = None) -> list[tuple[ImageFile, list[str]]]:
    """The files of another machine's image store, with who needs each: domains and clones, wherever they have it."""
    seen = observed or observe(host)
    users: dict[str, set[str]] = {}
    needs = [(name, path) for name, domain in seen.domains.items() for path in domain.disks_in_use]
    needs += [(v.name.removesuffix(".root.qcow2"), v.backing) for v in seen.volumes.values() if v.backing]
    for name, path in needs:
        users.setdefault(Path(path).stem, set()).add(name)
    return [(file, sorted(users.get(file.stem, ()))) for file in image_files(host)]


def unused_there(host: Host, observed: Observed | None = None) -> list[str]:
    """What `up` sent to another machine's image store, and neither anybody there needs nor an image of this store has.

    An image's files share their stem. What came only half, and is of an image that is still here, is gone on with.
    """
    here = {Path(image.files.disk).stem for image in store_images(default_folder(IMAGES))}
    return [file.name for file, users in stored_there(host, observed) if not (file.own or users or file.stem in here)]


def remove_unused_there(host: Host, names: list[str]) -> list[str]:
    """Remove those that are of no use still, while nobody there is about to clone an image; what was removed."""
    with held_there(host, "images.cloned", what="the image store", wait_s=0.0):
        still = set(unused_there(host))
        return remove_image_files(host, [name for name in names if name in still])


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
