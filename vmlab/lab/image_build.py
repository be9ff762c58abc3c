"""An image made of another one and packages: in a guest of it, by the distribution's own package manager.

The guest is a bed of one node with a reserved name, brought up and taken down as any other. What a killed build leaves
is therefore what any bed leaves: the next build of the image removes it, and so does `vmlab down build-NAME`.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmlab.errors import HostError, UsageError
from vmlab.lab.down import down
from vmlab.lab.image import changing, folder
from vmlab.lab.image_session import NODE, Job, Session, read_packages
from vmlab.lab.prepare import images_of
from vmlab.lab.progress import Progress
from vmlab.lab.up import up
from vmlab.runtime import lock
from vmlab.runtime.process import run
from vmlab.runtime.wait import Deadline
from vmlab.store import images as store
from vmlab.store.images import Files, Manifest
from vmlab.store.packages import Kind, Package, collect, kernel_to_boot, listing_commands
from vmlab.topology import Topology, loads
from vmlab.values.size import Bytes
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe

_CPUS, _MEMORY = 2, Bytes(2 << 30)
_LIST_S, _STORE_S, _CONVERT_S = 120.0, 3600.0, 3600.0
_LONGEST = 31  # characters of a bed's name


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: image `name` of image `base` and `packages` (files and folders).

    `kernel`: the packages bring the kernel that it boots. `disk`: the root disk's size, None as large as the base's.
    """

    name: str
    base: str
    packages: tuple[Path, ...]
    kernel: bool = False
    disk: Bytes | None = None


def build_from(host: Host, wish: Wish, *, accel: str, timeout_s: float, progress: Progress) -> Manifest:
    """Build the image and put it into the store, replacing one of its name.

    Raises UsageError if the packages do not fit the image, as early as that can be seen; GuestError with the package
    manager's words. Nothing is left of the guest in either case.
    """
    store.check_name(wish.name)
    kind, files = collect(wish.packages)
    where = _store_of(host)
    topology = _topology(wish)
    base, beside = images_of(host, topology)[topology.nodes[NODE].image]
    packages = _read_here(kind, files)
    if packages and (wish.kernel or base.kernel):
        kernel_to_boot(packages, image=wish.base, boots=base.kernel, brought=wish.kernel)
    job = Job(wish.name, wish.base, base, kind, files, packages, wish.kernel)
    deadline = Deadline.after(timeout_s)
    with lock.held(f"image.{wish.name}", what=f"the build of the image {wish.name}"):
        _check_ours(host, topology.name)
        down(host, topology.name, keep_disks=False, progress=progress)
        try:
            raised = up(
                host,
                topology,
                accel=accel,
                restart=False,
                timeout_s=deadline.left_s,
                jobs=1,
                wait=True,
                progress=progress,
            )
            session = Session(host, raised, deadline, progress)
            with tempfile.TemporaryDirectory(prefix="vmlab-image-") as scratch:
                out = Path(scratch)
                manifest = session.work(job, out)
                # Its own kernel and initrd, or else those of the image that it is made of: they are still the same.
                boot = {kind: out / kind for kind in ("kernel", "initrd") if (out / kind).exists()} or {
                    kind: beside / name for kind, name in base.files.model_dump(exclude={"disk"}).items() if name
                }
                with changing(wait_s=_STORE_S):
                    progress.stage(NODE, "write the image")
                    return _write(session.disk, manifest, boot, where)
        finally:
            down(host, topology.name, keep_disks=False, progress=progress)


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


def _topology(wish: Wish) -> Topology:
    base = str(Path(wish.base).resolve()) if "/" in wish.base else wish.base
    node = {"role": "build", "cpus": _CPUS, "memory": str(_MEMORY), "pin": "shared", "image": base}
    if wish.disk is not None:
        node["disk"] = str(wish.disk)
    return loads(json.dumps({"name": bed_name(wish.name), "nodes": {NODE: node}}), "vmlab image build")


def _check_ours(host: Host, bed: str) -> None:
    others = sorted(set(observe(host, volumes=False).bed(bed).nodes) - {NODE})
    if others:
        told = f"the image would be built in a bed {bed}, and that is one of yours (nodes: {', '.join(others)})"
        raise UsageError(told, hint=f"vmlab down {bed}, or another name for the image")


def _read_here(kind: Kind, files: Sequence[Path]) -> tuple[Package, ...]:
    """The packages, if the program that knows them is on this machine; else none, and the guest is asked."""
    if shutil.which(listing_commands(kind, "")[0][0]) is None:
        return ()
    return read_packages(kind, [str(file.absolute()) for file in files], lambda argv: run(argv, deadline_s=_LIST_S))


def _write(disk: Path, manifest: Manifest, boot: Mapping[str, Path], where: Path) -> Manifest:
    """Flatten the clone `disk` and put it into the store, with the kernel and initrd that `boot` names."""
    work = where / f".build-{manifest.name}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(mode=0o700)
        for name, source in boot.items():
            shutil.copyfile(source, work / name)
        options = ("-O", "qcow2", "-c", "-W", "-m", "4", "-o", "compression_type=zstd")
        done = run(("qemu-img", "convert", *options, str(disk), str(work / "disk")), deadline_s=_CONVERT_S)
        if not done.ok:
            raise HostError(f"cannot write the image: {done.last_line}", hint=f"df -h {where}")
        files = Files(disk="disk", **{name: name for name in boot})
        return store.add(where, manifest.model_copy(update={"files": files}), work)
    except OSError as error:
        raise HostError(f"cannot write to the image store {where}: {error.strerror}", hint="use sudo") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
