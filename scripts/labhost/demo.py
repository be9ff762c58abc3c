"""The images that the lab host's own vmlab finds: this machine's demo image, on a disk of its own."""

import shutil
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.process import run
from vmlab.store.images import find
from vmlab.virt.pool import IMAGES, folder

_SIZE = "2G"  # of the disk; its file is sparse


def ensure_images(cache: Path) -> Path:
    """A disk with the demo image as it is now in this machine's store; its name tells the image's content.

    Raises HostError if there is no demo image.
    """
    store = folder(IMAGES)
    manifest = find(store, "demo")
    disk = cache / f"images-{Path(manifest.files.disk).stem}.raw"
    if disk.exists():
        return disk
    cache.mkdir(parents=True, exist_ok=True)
    for old in cache.glob("images-*"):
        old.unlink()
    tree, partial = cache / ".images", cache / ".images.raw"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(mode=0o711)
    try:
        for name in ("demo.json", *manifest.files.model_dump(exclude_none=True).values()):
            shutil.copy(store / name, tree / name)
        owner = "root_owner=0:0,nodiscard"
        argv = ("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", owner, "-d", str(tree), str(partial), _SIZE)
        result = run(argv, deadline_s=300, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
        if not result.ok:
            raise HostError(f"{disk}: mke2fs: {result.last_line}")
        partial.rename(disk)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        partial.unlink(missing_ok=True)
    return disk
