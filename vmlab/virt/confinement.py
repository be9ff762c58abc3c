"""SELinux and AppArmor: whether libvirt's daemons and guests may use the files of the pools.

What libvirt does by itself: at a guest's start it gives the clone, its backing image, the seed, kernel and initrd
labels by which QEMU may read or write them (SELinux), or names them in a profile of the guest's own (AppArmor). It does
not do that for the console's log, which virtlogd makes in the pool's folder, nor for the folder itself.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from lxml import etree

from vmlab.runtime.distribution import install_hint
from vmlab.virt.connection import Host
from vmlab.virt.finding import Finding
from vmlab.virt.pool import BEDS, IMAGES, pool_path

_WHAT = "confinement"
_ENFORCE = Path("/sys/fs/selinux/enforce")
# What /var/lib/libvirt has, and what is made below it gets. virtstoraged may make files also where the label is
# virt_image_t, which is usual for pools of disks; virtlogd may only look there. (Read in fedora-selinux/selinux-policy,
# policy/modules/contrib/virt.te; not seen on a host.)
_LABEL = "virt_var_lib_t"
_GOOD = {BEDS: {_LABEL}, IMAGES: {_LABEL, "virt_image_t"}}
# /etc/apparmor.d/usr.lib.libvirt.virt-aa-helper denies these.
_DENIED = re.compile(r"/(?:home/[^/]+|root)/(?:\.|bin(?:/|$))")


def confinement(host: Host) -> Finding:
    """As libvirt and this machine tell."""
    if not host.local:
        return Finding(_WHAT, "ok", f"not looked at ({host.uri})")
    root = etree.fromstring(host.call(lambda connection: connection.getCapabilities()))
    models = {model.text for model in root.iterfind("host/secmodel/model")}
    paths = host.call(lambda connection: {name: pool_path(connection, name) for name in _GOOD})
    if (enforcing := _enforcing()) is not None:
        return selinux([(path, _label(Path(path)), name) for name, path in paths.items()], enforcing=enforcing)
    return apparmor(paths.values()) if "apparmor" in models else Finding(_WHAT, "ok", "none")


def selinux(folders: Iterable[tuple[str, str | None, str]], *, enforcing: bool) -> Finding:
    """`folders` are the pools' paths, their types (None for one that cannot be seen) and their names."""
    wrong = [(path, label) for path, label, pool in folders if label is not None and label not in _GOOD[pool]]
    mode = "SELinux" if enforcing else "SELinux, permissive"
    if not wrong:
        return Finding(_WHAT, "ok", mode)
    told = " and ".join(f"{path} is {label}" for path, label in wrong)
    paths = sorted(path for path, _ in wrong)
    commands = [f"semanage fcontext -a -t {_LABEL} '{path}(/.*)?'" for path in paths]
    hint = "; ".join((*commands, f"restorecon -R {' '.join(paths)}"))
    if tools := install_hint("semanage"):
        hint = f"{hint} (semanage: {tools})"
    found = f"{mode}: {told}, where libvirt's daemons may not make volumes or consoles' logs"
    return Finding(_WHAT, "warning", found, hint)


def apparmor(paths: Iterable[str]) -> Finding:
    """virt-aa-helper, which writes a guest's profile, has to read its disks, and is denied some places."""
    closed = [path for path in paths if _DENIED.match(path)]
    if not closed:
        return Finding(_WHAT, "ok", "AppArmor")
    hint = "VMLAB_POOL_DIR=/srv/vmlab, or another folder that is in no home's hidden folder"
    return Finding(_WHAT, "no", f"AppArmor: libvirt's virt-aa-helper may not read {closed[0]}", hint)


def _enforcing() -> bool | None:
    """None where there is no SELinux."""
    try:
        return _ENFORCE.read_text().strip() == "1"
    except OSError:
        return None


def _label(path: Path) -> str | None:
    """The type of a folder, or of the nearest one above it that is there: the folder will get that."""
    for folder in (path, *path.parents):
        try:
            label = os.getxattr(folder, "security.selinux")
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return label.rstrip(b"\0").decode(errors="replace").split(":")[2]
    return None
