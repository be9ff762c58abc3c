"""An image made of another one and packages: in a guest of it, by the distribution's own package manager.

The guest is a bed of one node with a reserved name, brought up and taken down as any other; a guest of the new image is
then booted in a bed of the same name. A folder in the store marks the build from its first to its last moment: whatever
a kill leaves, the next build of the image removes it, and so does `vmlab gc --apply`.
"""

import contextlib
import hashlib
import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmlab.errors import BusyError, GuestError, HostError, UsageError
from vmlab.lab.beds.down import down
from vmlab.lab.beds.prepare import images_of
from vmlab.lab.beds.up import up
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.image_store import changing, folder
from vmlab.lab.ground.progress import Progress, Silent
from vmlab.lab.images.session import NODE, Job, Session, read_packages
from vmlab.runtime import lock
from vmlab.runtime.files import exposed, write_atomically
from vmlab.runtime.process import run
from vmlab.runtime.wait import Deadline
from vmlab.store import images as store
from vmlab.store.images import Files, Manifest
from vmlab.store.packages import Kind, Package, collect, kernel_to_boot, listing_commands
from vmlab.store.vmlinux import check_debug_package, take_vmlinux
from vmlab.topology import Topology, loads
from vmlab.topology.bed import DEFAULT_HOST
from vmlab.values.size import Bytes
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe

_CPUS, _MEMORY = 2, Bytes(2 << 30)
_LIST_S, _STORE_S, _CONVERT_S = 120.0, 3600.0, 3600.0
_LONGEST = 31  # characters of a bed's name
_DISK = "disk.qcow2"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: image `name` of image `base` and `packages` (files and folders).

    `kernel`: the packages bring the kernel that it boots. `disk`: the root disk's size, None as large as the base's.
    `check`: a guest of it has to boot before it enters the store. `debug` is the kernel's debug package, whose vmlinux
    is kept with the image.
    """

    name: str
    base: str
    packages: tuple[Path, ...]
    kernel: bool = False
    disk: Bytes | None = None
    check: bool = True
    debug: Path | None = None


def build_from(host: Host, wish: Wish, *, accel: str, timeout_s: float, progress: Progress) -> Manifest:
    """Build the image, boot it once, and put it into the store, replacing one of its name.

    Raises UsageError if the packages do not fit the image, as early as that can be seen; GuestError with the package
    manager's words, or with what the new image's guest did. Nothing is left of the guests in any case.
    """
    store.check_name(wish.name)
    if wish.debug is not None:
        check_debug_package(wish.debug)
    kind, files = collect(wish.packages)
    where = _store_of(host)
    topology = _topology(wish, _settled(wish.base) if "/" in wish.base else wish.base)
    base, beside = images_of(only(host), topology)[host.name, topology.nodes[NODE].image]
    packages = _read_here(kind, files)
    if packages and (wish.kernel or base.kernel):
        kernel_to_boot(packages, image=wish.base, boots=base.kernel, brought=wish.kernel)
    job = Job(wish.name, wish.base, base, kind, files, packages, wish.kernel)
    deadline = Deadline.after(timeout_s)

    def session(topology: Topology, accel: str) -> tuple[Session, str]:
        left_s = deadline.left_s
        raised = up(
            only(host), topology, accel=accel, restart=False, timeout_s=left_s, jobs=1, wait=True, progress=progress
        )
        return Session(host, raised, deadline, progress), raised.prepared.accel

    with _building(host, where, wish.name, progress) as work:
        first, accel = session(topology, accel)
        manifest, modules = first.work(job, work)
        if wish.debug is not None:
            take_vmlinux(wish.debug, manifest.kernel, work / "vmlinux")
        progress.stage(NODE, "write the image")
        boot = {
            name: beside / file for name, file in base.files.model_dump(include={"kernel", "initrd"}).items() if file
        }
        manifest = _write(first.disk, manifest, boot, work)
        if wish.check:
            progress.say(f"{wish.name}: written; a guest of it has to boot before it takes its name")
            down(only(host), topology.name, keep_disks=False, progress=progress)
            try:
                session(_topology(wish, str(work / _DISK)), accel)[0].check(manifest, modules)
            except GuestError as error:
                raise _unfit(error) from error
            down(only(host), topology.name, keep_disks=False, progress=progress)
        with changing(wait_s=_STORE_S):
            return store.add(where, manifest, work, move=True)


def _settled(base: str) -> str:
    """The path of an image outside of the store, which stays what it was when it was looked at.

    Else its header could be made to refer to any file of the host, which would become part of the new image.
    """
    path = Path(base).absolute()
    if complaint := exposed(path):
        hint = f"vmlab image import NAME {shlex.quote(base)}, then --from NAME"
        raise HostError(f"the image {base} could change while it is read: {complaint}", hint=hint)
    return str(path)


def abandoned(host: Host) -> list[str]:
    """The images whose builds were killed: of each a folder in the store, and often a bed, are left."""
    return [name for name in store.begun(folder(host)) if _is_free(name)]


def remove_abandoned(host: Host, name: str) -> None:
    """Remove what a killed build left. Raises BusyError if one of this name goes on."""
    with _alone(name):
        _remove(host, store.work_folder(folder(host), name), name, Silent())


def bed_name(image: str) -> str:
    """The bed in which an image is built."""
    plain = "build-" + re.sub(r"[^a-z0-9-]", "-", image)
    if plain == f"build-{image}" and len(plain) <= _LONGEST:
        return plain
    digest = hashlib.sha256(image.encode()).hexdigest()[:6]
    return f"{plain[: _LONGEST - len(digest) - 1]}-{digest}"


def _store_of(host: Host) -> Path:
    where = folder(host)
    if not host.local or host.simulated:
        raise UsageError(f"images are built on the host itself, and {host.uri} is another", hint="run vmlab there")
    try:
        tempfile.TemporaryFile(dir=where).close()
    except OSError as error:
        raise HostError(f"cannot write to the image store {where}: {error.strerror}", hint="use sudo") from error
    return where


def _topology(wish: Wish, image: str) -> Topology:
    node = {"role": "build", "cpus": _CPUS, "memory": str(_MEMORY), "pin": "shared", "image": image}
    if wish.disk is not None:
        node["disk"] = str(wish.disk)
    nothing = {DEFAULT_HOST: {"reserve": {"cpus": 0, "memory": "0B"}}}  # nobody could write another one
    document = {"name": bed_name(wish.name), "warm": "never", "hosts": nothing, "nodes": {NODE: node}}
    return loads(json.dumps(document), "vmlab image build")


def _alone(name: str) -> contextlib.AbstractContextManager[None]:
    # A look at whether a build goes on holds the lock for a moment.
    return lock.held(f"image.{name}", what=f"the build of the image {name}", wait_s=1.0)


def _is_free(name: str) -> bool:
    with contextlib.suppress(BusyError), _alone(name):
        return True
    return False


@contextlib.contextmanager
def _building(host: Host, where: Path, name: str, progress: Progress) -> Iterator[Path]:
    """Hold the build of an image, and its folder. What a killed build left goes before, and everything afterwards."""
    bed, work = bed_name(name), store.work_folder(where, name)
    with _alone(name):
        _remove(host, work, name, progress)
        if observe(host).bed(bed).exists:
            told = f"the image would be built in a bed {bed}, and there is one of yours"
            raise UsageError(told, hint=f"vmlab down {bed}, or another name for the image")
        work.mkdir()
        try:
            work.chmod(0o711)  # for QEMU's user
            yield work
        finally:
            _remove(host, work, name, progress)


def _remove(host: Host, work: Path, name: str, progress: Progress) -> None:
    if not work.exists():
        return
    bed = bed_name(name)
    found = observe(host).bed(bed)
    if set(found.nodes) <= {NODE} and not found.kept:  # else a user has a bed of this name by now
        down(only(host), bed, keep_disks=False, progress=progress)
    shutil.rmtree(work)


def _unfit(error: GuestError) -> GuestError:
    return GuestError(
        f"the new image is not stored, because a guest of it fails: {error.message}",
        node=error.node,
        stage=error.stage,
        console=error.console,
        hint="--no-check stores it as it is",
    )


def _read_here(kind: Kind, files: Sequence[Path]) -> tuple[Package, ...]:
    """The packages, if the program that knows them is on this machine; else none, and the guest is asked."""
    if shutil.which(listing_commands(kind, "")[0][0]) is None:
        return ()
    return read_packages(kind, [str(file.absolute()) for file in files], lambda argv: run(argv, deadline_s=_LIST_S))


def _write(disk: Path, manifest: Manifest, boot: Mapping[str, Path], work: Path) -> Manifest:
    """Flatten the clone `disk` into `work`, with a manifest that tells what lies there.

    `boot` are the kernel and initrd of the base, which are still the right ones if none were taken out.
    """
    try:
        if not (work / "kernel").exists():
            for name, source in boot.items():
                store.copy(source, work / name)
        # If we are killed, so is it: it would go on writing for minutes.
        argv = ("setpriv", "--pdeathsig", "KILL", "qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", "-c", "-W")
        how = ("-m", "4", "-o", "compression_type=zstd")
        done = run((*argv, *how, str(disk), str(work / _DISK)), deadline_s=_CONVERT_S)
        if not done.ok:
            raise HostError(f"cannot write the image: {done.last_line}", hint=f"df -h {work.parent}")
        files = Files(disk=_DISK, **{name: name for name in ("kernel", "initrd", "vmlinux") if (work / name).exists()})
        for name in files.model_dump(exclude_none=True).values():
            (work / name).chmod(0o644)
        manifest = manifest.model_copy(update={"files": files})
        write_atomically((work / _DISK).with_suffix(".json"), manifest.model_dump_json(by_alias=True))
    except OSError as error:
        raise HostError(f"cannot write to {work}: {error.strerror}", hint=f"df -h {work.parent}") from error
    return manifest
