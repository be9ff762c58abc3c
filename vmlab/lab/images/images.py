"""Images: list, build, import, remove."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vmlab.errors import UsageError
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.image_store import changing, folder, removing, used
from vmlab.lab.ground.images_elsewhere import store_here, stored_there
from vmlab.store import images as store
from vmlab.store.build import RECIPES, build_recipe
from vmlab.store.images import Files, Manifest
from vmlab.store.vmlinux import check_debug_package, take_vmlinux
from vmlab.virt.connection import Host

_PATIENCE_S = 10.0


def build(
    host: Host, name: str, *, mirror: str | None, suite: str, debug: Path | None, progress: Callable[[str], None]
) -> Manifest:
    """Build an image that vmlab has a recipe for, and put it into the store.

    `debug` is the debug package of its kernel, whose vmlinux is kept with it.
    """
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise UsageError(f"vmlab has no recipe for an image {name} (recipes: {known})", hint="vmlab image import")
    if debug is not None:
        check_debug_package(debug)
    where = folder(host)
    with changing():
        built = build_recipe(name, where / store.RECIPE_WORK, mirror=mirror, suite=suite, progress=progress)
        manifest = store.read(built)
        if debug is not None:
            progress(f"taking vmlinux out of {debug.name}")
            take_vmlinux(debug, manifest.kernel, built.with_suffix(".vmlinux"))
            files = manifest.files.model_copy(update={"vmlinux": f"{name}.vmlinux"})
            manifest = manifest.model_copy(update={"files": files})
        manifest = store.add(where, manifest, built.parent, move=True)
        shutil.rmtree(built.parent)
    return manifest


def bring(host: Host, name: str, source: Path, *, user: str | None) -> Manifest:
    """Import a disk: a qcow2 without backing chain. A `NAME.json` manifest beside it is taken over, if there is one.

    `user` None: whom that manifest names, else root.
    """
    store.check_name(name)
    if user:
        store.check_user(user)
    store.check_disk(source)
    where = folder(host)
    files = Files(disk=source.name)
    if beside := store.manifest_of(source):
        files = beside.files.model_copy(update={"disk": source.name})
        manifest = beside.model_copy(update={"name": name, "files": files} | ({"user": user} if user else {}))
    else:
        manifest = Manifest(name=name, user=user or "root", files=files)
    with changing():
        return store.add(where, manifest, source.parent)


def removable(host: Host, name: str) -> list[str]:
    """What `remove` would remove, a line each; HostError names who needs it."""
    return [f"{name}: this goes:", *(f"  {path.name}" for path in store.removable(folder(host), name, used(host)))]


def remove(host: Host, name: str) -> None:
    """Remove an image; HostError names who needs it, BusyError who is about to clone one."""
    where = folder(host)
    with removing(wait_s=_PATIENCE_S):
        store.remove(where, name, used(host))


@dataclass(frozen=True, slots=True)
class FileOn:
    """A file of an image on a host. `size`: bytes on its disk. `here`: this store has an image with that file.

    `whole`: nothing of it is still to be sent.
    """

    host: str
    image: str
    file: str
    size: int
    whole: bool
    here: bool
    clones: tuple[str, ...]


def files_on(hosts: Hosts) -> list[FileOn]:
    """What hosts have of images, and who needs it there."""
    here = {Path(image.files.disk).stem for image in store.images(store_here(hosts))}

    def of(host: Host) -> list[FileOn]:
        return [
            FileOn(
                host.name,
                file.image,
                file.name,
                file.size,
                not file.name.endswith(".partial"),
                file.stem in here,
                tuple(users),
            )
            for file, users in stored_there(host)
        ]

    return [file for files in hosts.each(of, failed="not all hosts could be asked").values() for file in files]


def listed(host: Host) -> list[tuple[Manifest, list[str]]]:
    """All images with the domains that need each. What is broken is warned of."""
    where = folder(host)
    users = used(host)
    return [(manifest, users.get(manifest.files.disk, [])) for manifest in store.images(where)]
