"""Look at what the machine can do for beds, as they would find it."""

from collections.abc import Mapping
from pathlib import Path

from vmlab.errors import VmlabError
from vmlab.lab.ground.progress import Progress
from vmlab.runtime.parallel import each
from vmlab.store import images as store
from vmlab.values.libvirt_uri import Way
from vmlab.virt import check as look
from vmlab.virt.check import Kernel
from vmlab.virt.connection import Host
from vmlab.virt.finding import Finding
from vmlab.virt.pool import IMAGES, pool_path

_FIRST = "demo"  # the image of beds that name none


def check(way: Way, progress: Progress) -> list[Finding]:
    """Everything, in the order in which it is best put right. Changes nothing."""
    return look.check(way, kernel, progress.say)


def check_all(ways: Mapping[str, Way], progress: Progress) -> dict[str, list[Finding]]:
    """Of several hosts, by name, all at once; one that does not answer is a finding."""
    found = each(lambda way: check(way, progress), ways.values(), jobs=len(ways), failed="not all could be looked at")
    return dict(zip(ways, found, strict=True))


def kernel(host: Host) -> Kernel | None:
    """The kernel to try KVM with: that of the image that beds have by default, else of the first that has one."""
    try:
        folder = Path(host.call(lambda connection: pool_path(connection, IMAGES)))
        manifests = sorted(folder.glob("[!.]*.json"), key=lambda path: (path.stem != _FIRST, path.stem))
    except (VmlabError, OSError):
        return None  # whether libvirt answers, and the folder can be entered, is looked at by itself
    for path in manifests:
        try:
            manifest = store.read(path)
        except VmlabError:
            continue  # named by `vmlab image list`
        if manifest.files.kernel is not None and (folder / manifest.files.kernel).is_file():
            return Kernel(manifest.name, folder / manifest.files.kernel)
    return None
