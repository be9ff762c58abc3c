"""What this machine can do for beds: each thing is looked at, and one that is wrong says what to do."""

import grp
import os
import pwd
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vmlab.errors import HostError, VmlabError
from vmlab.runtime.distribution import install_hint
from vmlab.values.addresses import RANGE
from vmlab.values.libvirt_uri import Way, leads_elsewhere
from vmlab.virt.accel import DEVICE, why_no_kvm
from vmlab.virt.check_elsewhere import machine_there
from vmlab.virt.check_machine import machine
from vmlab.virt.confinement import confinement
from vmlab.virt.connection import Host
from vmlab.virt.daemons import how_to_start, look
from vmlab.virt.finding import Finding, Verdict
from vmlab.virt.host import available_memory
from vmlab.virt.observe import observe
from vmlab.virt.outside import no_way_out
from vmlab.virt.pool import BEDS, IMAGES, locate, pool_path, refresh
from vmlab.virt.qemu import emulator

if TYPE_CHECKING:
    import libvirt

_GIB = 1 << 30
_FEW_SUBNETS = 16
_VIRTLOGD = Path("/run/libvirt/virtlogd-sock")
_VIRTQEMUD = Path("/run/libvirt/virtqemud-sock")
_QEMU_CONF = Path("/etc/libvirt/qemu.conf")
_QEMU_USERS = ("libvirt-qemu", "qemu")
_QEMU_WITH_IGB = 8_000_000  # libvirt's form of 8.0.0


class Kernel(NamedTuple):
    """A kernel to try KVM with, and the image that has it."""

    image: str
    path: Path


def check(way: Way, kernel_of: Callable[[Host], Kernel | None], say: Callable[[str], None]) -> list[Finding]:
    """Everything, in the order in which it is best put right. Changes nothing.

    KVM is tried as beds try it: with the kernel that `kernel_of` knows there. `say` is told what takes long.
    """
    try:
        host = Host(way.uri, ssh=way.ssh)
    except HostError as error:
        if leads_elsewhere(way.uri):
            return [Finding("libvirt", "no", error.message, error.hint)]
        kvm = Finding("KVM", "warning", "not tried: only libvirt knows which QEMU guests have")
        return [Finding("libvirt", "no", error.message, error.hint), kvm, *machine()]
    try:
        if not host.local and not host.simulated:
            there = (("libvirt", _libvirt), ("daemons", _daemons), ("QEMU", _qemu), ("KVM", _kvm_offered))
            room = (("disk space", _pool_space), ("memory", _memory), ("subnets", _subnets))
            return [*(_asked(host, what, ask) for what, ask in (*there, *room)), *machine_there(host)]
        asked: tuple[tuple[str, Callable[[Host], Finding]], ...] = (
            ("libvirt", _libvirt),
            ("daemons", _daemons),
            ("virtlogd", _virtlogd),
            ("QEMU", _qemu),
            ("confinement", confinement),
            ("pool permissions", _permissions),
            ("disk space", _disk_space),
            ("memory", _memory),
            ("subnets", _subnets),
            ("way out", _way_out),
        )
        found = [_asked(host, what, ask) for what, ask in asked]
        kernel = kernel_of(host) if host.local else None
        kvm = _asked(host, "KVM", lambda there: _kvm(emulator(there).path, kernel, say))
        return [*found, kvm, *machine()]
    finally:
        host.close()


def _asked(host: Host, what: str, ask: Callable[[Host], Finding]) -> Finding:
    try:
        return ask(host)
    except VmlabError as error:
        return Finding(what, "no", error.message, error.hint)


def _kvm(qemu: str, kernel: Kernel | None, say: Callable[[str], None]) -> Finding:
    why_not = why_no_kvm(qemu, None if kernel is None else kernel.path, say=say, fresh=True)
    if why_not is None and kernel is not None:
        return Finding("KVM", "ok", f"a guest runs under it, with the kernel of the image {kernel.image}")
    if why_not is None:
        hint = "vmlab image build demo: beds try it with the image's kernel, and so does this"
        return Finding("KVM", "ok", "a guest of a few instructions runs under it; no image has a kernel to try", hint)
    absent = not DEVICE.exists()
    hint = "modprobe kvm_intel or kvm_amd; switch on VT-x or AMD-V, in a VM nested virtualization"
    if not absent:
        hint = "if this is a VM: its host must pass on all that KVM needs; guests are emulated (TCG) until then"
    return Finding("KVM", "warning", why_not, hint)


def _kvm_offered(host: Host) -> Finding:
    """Of another machine, where nobody tries it."""
    if "kvm" in emulator(host).kinds:
        return Finding("KVM", "ok", "libvirt offers it; whether guests run under it is tried there: vmlab host check")
    return Finding("KVM", "warning", "libvirt offers none: guests are emulated (TCG)", "VT-x or AMD-V, modprobe kvm")


def _libvirt(host: Host) -> Finding:
    version = host.call(lambda connection: connection.getLibVersion())
    return Finding("libvirt", "ok", f"{_version(version)} at {host.uri}")


def _daemons(host: Host) -> Finding:
    """Where each driver has a daemon of its own, those of networks, pools and devices are asked for here."""
    host.call(lambda connection: connection.numOfNetworks())
    host.call(lambda connection: connection.numOfStoragePools())
    if not host.simulated:
        host.call(lambda connection: connection.numOfDevices(None))
    if host.uri != "qemu:///system":
        return Finding("daemons", "ok", f"all that are needed ({host.uri})")
    return Finding("daemons", "ok", "one for each driver (virtqemud)" if _VIRTQEMUD.exists() else "libvirtd")


def _virtlogd(host: Host) -> Finding:
    if host.uri != "qemu:///system":
        return Finding("virtlogd", "ok", f"not looked for ({host.uri})")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(5)
            door.connect(str(_VIRTLOGD))
    except PermissionError:
        return Finding("virtlogd", "ok", "runs; only root may ask it")
    except OSError as error:
        told = f"{_VIRTLOGD}: {error.strerror or error}"
        return Finding("virtlogd", "no", told, how_to_start(told, look(), install_hint("virtlogd")))
    return Finding("virtlogd", "ok", "answers")


def _qemu(host: Host) -> Finding:
    if host.simulated:
        return Finding("QEMU", "ok", "none, and none is needed")
    path = emulator(host).path
    version = host.call(lambda connection: connection.getVersion())
    later = "" if version >= _QEMU_WITH_IGB else " (8.0 or later could emulate SR-IOV)"
    return Finding("QEMU", "ok", f"{_version(version)}, {path}{later}")


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def _permissions(host: Host) -> Finding:
    what = "pool permissions"
    if not host.local or "system" not in host.uri:
        return Finding(what, "ok", f"not looked at ({host.uri})")
    user = _qemu_user()
    if user is None:
        return Finding(what, "warning", "the user that QEMU runs as is not known", f"see `user` in {_QEMU_CONF}")
    beds, images = host.call(lambda connection: (pool_path(connection, BEDS), pool_path(connection, IMAGES)))
    for path in (Path(beds), Path(images)):
        for folder in reversed((path, *path.parents)):
            try:
                closed = not _may_pass(folder, user)
            except FileNotFoundError:
                break
            except PermissionError:
                continue  # not for us to see
            if closed:
                hint = f"chmod o+x {folder} (or: setfacl -m u:{user.pw_name}:x {folder})"
                return Finding(what, "no", f"{user.pw_name}, who runs QEMU, may not enter {folder}", hint)
    return Finding(what, "ok", f"{user.pw_name} reaches {beds} and {images}")


def _qemu_user() -> pwd.struct_passwd | None:
    names = _QEMU_USERS
    try:
        set_by_admin = re.search(r'^\s*user\s*=\s*"\+?([^"]+)"', _QEMU_CONF.read_text(), re.MULTILINE)
    except OSError:
        set_by_admin = None
    for name in (set_by_admin[1],) if set_by_admin else names:
        try:
            return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _may_pass(folder: Path, user: pwd.struct_passwd) -> bool:
    if user.pw_uid == 0:
        return True
    status = folder.stat()
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode & 0o100)
    groups = {user.pw_gid, *(group.gr_gid for group in grp.getgrall() if user.pw_name in group.gr_mem)}
    return bool(status.st_mode & (0o010 if status.st_gid in groups else 0o001))


def _disk_space(host: Host) -> Finding:
    path = Path(host.call(lambda connection: pool_path(connection, BEDS)))
    there = next(folder for folder in (path, *path.parents) if os.path.isdir(folder))  # noqa: PTH112 (may not be seen)
    return _space(str(path), shutil.disk_usage(there).free)


def _space(path: str, free: int) -> Finding:
    found = f"{free / _GIB:.1f} GiB free at {path}"
    verdict: Verdict = "no" if free < _GIB // 2 else "warning" if free < 5 * _GIB else "ok"
    return Finding("disk space", verdict, found, "" if verdict == "ok" else "`vmlab gc` lists what belongs to no bed")


def _pool_space(host: Host) -> Finding:
    """Of another machine: what libvirt tells of the pool, if it is there."""

    def act(connection: "libvirt.virConnect") -> tuple[str, int | None]:
        pool, path = locate(connection, BEDS)
        if pool is None or not pool.isActive():
            return path, None
        refresh(pool)
        return path, int(pool.info()[3])

    path, free = host.call(act)
    if free is None:
        return Finding("disk space", "ok", f"not known before there is a pool at {path}: `vmlab up` makes it")
    return _space(path, free)


def _memory(host: Host) -> Finding:
    free = available_memory(host)
    if free is None:
        return Finding("memory", "ok", "libvirt does not tell")
    found = f"{free / (1 << 20):.1f} GiB available"
    if free >= 1 << 20:
        return Finding("memory", "ok", found)
    return Finding("memory", "warning", found, "take beds down that are not needed: vmlab list")


def _way_out(host: Host) -> Finding:
    if not host.local:
        return Finding("way out", "ok", f"not looked at ({host.uri})")
    why = no_way_out()
    if not why:
        return Finding("way out", "ok", "guests resolve and reach what this machine does")
    hint = "what guests install has to be in their image, or on a server that this machine reaches"
    return Finding("way out", "warning", f"{why}: guests reach its own networks only", hint)


def _subnets(host: Host) -> Finding:
    observed = observe(host)
    taken = [subnet for network in observed.networks.values() for subnet in network.facts.subnets]
    taken += [n.facts.metadata.subnet for n in observed.networks.values() if n.facts.metadata is not None]
    taken += [route for _, route in observed.routes]
    all_ = list(RANGE.subnets(new_prefix=24))
    free = sum(not any(subnet.overlaps(other) for other in taken) for subnet in all_)
    verdict: Verdict = "no" if not free else "warning" if free < _FEW_SUBNETS else "ok"
    hint = "" if verdict == "ok" else "vmlab list; a route of the host into that range takes it away: ip route"
    return Finding("subnets", verdict, f"{free} of {len(all_)} are free in {RANGE}", hint)
