"""The image store: a folder (of the pool `vmlab-images`) with one manifest NAME.json per image.

The files behind a manifest carry their content's digest in their names and are never changed: an image that is built
anew lies beside the old one as long as clones are linked to that, and their nodes show as changed.

What comes from elsewhere is not trusted: a disk is a qcow2 that needs no other file, a manifest names files that lie
beside it, and what it tells is text.
"""

import errno
import hashlib
import os
import re
import shlex
import stat
from collections.abc import Iterable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vmlab.errors import HostError, UsageError
from vmlab.runtime.files import write_atomically
from vmlab.runtime.log import log
from vmlab.runtime.process import run
from vmlab.store import qcow2
from vmlab.values import identity
from vmlab.values.printable import one_line

_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
_USER = r"^[A-Za-z_][A-Za-z0-9._-]{0,31}$"
_WORK = ".build-"
# Of `build demo`, which nobody takes up again, and of a manifest that is about to be replaced.
RECIPE_WORK = ".build"
_RECIPE_WORK = (RECIPE_WORK, f".{RECIPE_WORK}.building")
_HALF_WRITTEN = re.compile(r"\.[a-z0-9][a-z0-9._-]{0,62}\.json\.[0-9a-f]+")
_SUFFIXES = {"disk": ".qcow2", "kernel": ".vmlinuz", "initrd": ".initrd", "vmlinux": ".vmlinux"}
_BY_RECIPE = ("demo", "tools")
_LONGEST = 1 << 20  # bytes of a manifest
FIRST_BOOT, TEMPLATE = "vmlab-first-boot", "vmlab-template"
"""What an image carries that has vmlab's units; the version is that of what they understand.

1: the archive behind a seed. 2: the program that is its first file.
"""
_UNDERSTOOD = ("1", "2")
_CHUNK = 1 << 20


def _plain_name(name: str) -> str:
    if "/" in name or "\0" in name or name in {".", ".."}:
        raise ValueError(f"{name!r:.80} is no file's name (a path is none)")
    return name


_Line = Annotated[str, AfterValidator(one_line)]
_File = Annotated[str, AfterValidator(_plain_name)]


class Files(BaseModel):
    """File names beside the manifest. Without a kernel the image boots from its own disk only.

    `vmlinux` is its kernel with debug symbols, for who reads memory of crashed guests.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    disk: _File
    kernel: _File | None = None
    initrd: _File | None = None
    vmlinux: _File | None = None


class Manifest(BaseModel):
    """What an image is: who logs in, how it boots, what it carries (package or product -> version)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = Field(default=1, alias="schema")
    name: str = Field(pattern=_NAME)
    user: str = Field(default="root", pattern=_USER)
    distribution: _Line = ""
    architecture: _Line = Field(default="", description="as `uname -m` says it; empty: not known")
    kernel: _Line = ""
    cmdline: _Line = ""
    size: int = Field(default=0, description="virtual size of the disk in bytes")
    carries: Mapping[_Line, _Line] = Field(default_factory=dict)
    backends: tuple[_Line, ...] = Field(default=(), description="of Lustre's targets: ldiskfs, zfs, wbcfs")
    files: Files

    @property
    def lustre(self) -> str | None:
        """The version of Lustre that it carries; None, too, where that is not known: see `tells`."""
        return self.carries.get("lustre")

    @property
    def lean(self) -> bool:
        """Its guests become who they are by vmlab's own unit, and need no cloud-init."""
        return self.carries.get(FIRST_BOOT) in _UNDERSTOOD

    @property
    def clonable(self) -> bool:
        """A guest of it that has booted can become any node: its unit waits for that."""
        return self.lean and self.carries.get(TEMPLATE) in _UNDERSTOOD

    @property
    def tells(self) -> bool:
        """It says what the image carries. One that was made up for an imported disk does not."""
        return bool(self.carries)


def images(folder: Path) -> list[Manifest]:
    """All images, by name. A manifest that cannot be read is warned of, and passed over."""
    return [manifest for manifest in _manifests(folder).values() if manifest is not None]


def _manifests(folder: Path) -> dict[str, Manifest | None]:
    """By the names of the files; None is one that cannot be read."""
    found: dict[str, Manifest | None] = {}
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            found[path.stem] = read(path)
        except HostError as error:
            log.warning("%s; it is passed over", error.message)
            found[path.stem] = None
    return found


def read(path: Path) -> Manifest:
    """One manifest of the store."""
    return _read(path, hint=f"vmlab image rm {shlex.quote(path.stem)}, then build or import it again")


def _read(path: Path, *, hint: str) -> Manifest:
    try:
        with _opened(path) as file:
            content = file.read(_LONGEST)
        return Manifest.model_validate_json(content)
    except OSError as error:
        raise HostError(f"cannot read the image manifest {path}: {error.strerror}", hint="vmlab host check") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        what = first["msg"].removeprefix("Value error, ")
        raise HostError(f"the image manifest {path} is broken: {where}: {what}", hint=hint) from error


def manifest_of(disk: Path) -> Manifest | None:
    """What lies beside a disk outside the store and has its name with .json, if that is there."""
    beside = disk.with_suffix(".json")
    if not beside.exists():
        return None
    return _read(beside, hint=f"put it right or remove it: {shlex.quote(str(beside))}")


def check_name(name: str) -> None:
    """UsageError if no image can be called so."""
    if not re.match(_NAME, name) or name.endswith("\n"):
        raise UsageError(f"{name!r:.80} is no image's name (expected [a-z0-9][a-z0-9._-]*, at most 63 characters)")


def check_user(user: str) -> None:
    """UsageError if nobody can be called so."""
    if not re.match(_USER, user) or user.endswith("\n"):
        raise UsageError(f"{user!r:.80} is no user's name (expected [A-Za-z_][A-Za-z0-9._-]*, at most 32 characters)")


def find(folder: Path, name: str) -> Manifest:
    """The image of this name; raises HostError saying how to get it."""
    path = folder / f"{name}.json"
    if not re.match(_NAME, name) or not path.exists():
        known = ", ".join(p.stem for p in sorted(folder.glob("*.json"))) or "none"
        how = (
            f"vmlab image build {name}" if name in _BY_RECIPE else f"vmlab image import {shlex.quote(name)} FILE.qcow2"
        )
        raise HostError(f"there is no image {name} in {folder} (images: {known})", hint=how)
    return read(path)


def at_path(path: Path) -> Manifest:
    """A disk outside the store, used where it lies: as a manifest beside it tells, which has its name with .json.

    Without one it boots from itself, and root logs in.
    """
    size = check_disk(path)
    manifest = manifest_of(path) or Manifest(name="image", files=Files(disk=""))
    boot = {
        kind: _beside(path.parent, name).name
        for kind, name in manifest.files.model_dump(exclude={"disk"}, exclude_none=True).items()
    }
    files = manifest.files.model_copy(update={"disk": str(path.resolve()), **boot})
    return manifest.model_copy(update={"size": size, "files": files})


def check_disk(path: Path) -> int:
    """The virtual size in bytes of a qcow2 that needs no other file; HostError for anything else.

    QEMU opens what a header refers to already when it is asked about the image, so the header is read before.
    """
    real = _beside(path.parent, path.name)
    quoted = shlex.quote(str(path))
    try:
        with _opened(real) as file:
            head = file.read(qcow2.HEAD)
    except OSError as error:
        raise HostError(f"cannot read the image {path}: {error.strerror}", hint=f"ls -l {quoted}") from error
    try:
        header = qcow2.parse(head)
    except ValueError as error:
        raise HostError(f"{path} is no qcow2 image: {error}", hint=_converted(path, head)) from error
    if header.encrypted:
        raise HostError(f"{path} is encrypted, and vmlab keeps no keys", hint="qemu-img convert decrypts it")
    if header.refers_to:
        raise HostError(
            f"{path} is not whole: it needs {header.refers_to}",
            hint=f"qemu-img convert -f qcow2 -O qcow2 {quoted} whole.qcow2, if you trust it",
        )
    told = run(("qemu-img", "info", "-f", "qcow2", "--force-share", "--output", "json", str(real)), deadline_s=60)
    if not told.ok:
        raise HostError(f"{path} is no disk image: {told.last_line}", hint=f"qemu-img check -f qcow2 {quoted}")
    return header.size


def _converted(path: Path, head: bytes) -> str:
    quoted = shlex.quote(str(path))
    if program := qcow2.unpacked_by(head):
        return f"it is packed: {program} -d {quoted}" if program != "unzip" else f"it is packed: unzip {quoted}"
    into = shlex.quote(str(path.with_suffix(".qcow2")) if path.suffix != ".qcow2" else "whole.qcow2")
    return f"qemu-img convert -f {qcow2.format_of(head)} -O qcow2 {quoted} {into}, if you trust it"


def _beside(folder: Path, name: str) -> Path:
    """The file of this name, where it really lies: in `folder`, else HostError.

    A link out of the folder that an image came in makes other files of the host part of it.
    """
    path = folder / name
    try:
        real, home = path.resolve(), folder.resolve()
        found = real.stat()
    except (OSError, RuntimeError, ValueError):
        raise HostError(f"there is no image file {path}", hint="vmlab image list") from None
    if not stat.S_ISREG(found.st_mode):
        raise HostError(f"{path} is no file", hint=f"ls -l {shlex.quote(str(path))}")
    if real.parent != home:
        raise HostError(
            f"{path} is a link to {real}, and an image is one folder's files",
            hint=f"name that file itself: {shlex.quote(str(real))}",
        )
    return real


def _opened(path: Path) -> BufferedReader:
    """A regular file, just as it lies there; OSError for all else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def add(folder: Path, manifest: Manifest, source: Path, *, move: bool = False) -> Manifest:
    """Put an image into the store, replacing one of its name; `source` holds the manifest's files.

    With `move` they are taken from there, a folder of the store's file system, and else copied.
    The manifest is written last: an interrupted import leaves files that `unused` tells.
    """
    size = check_disk(source / manifest.files.disk)
    sources = {kind: _beside(source, name) for kind, name in manifest.files.model_dump(exclude_none=True).items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        digests = {kind: _digest(path) for kind, path in sources.items()}
        digest = hashlib.sha256(b"".join(digests.values())).hexdigest()[:12]
        files = {kind: identity.image_file(manifest.name, digest, _SUFFIXES[kind]) for kind in sources}
        for kind, path in sources.items():
            _place(path, folder / files[kind], digests[kind], move=move)
        complete = manifest.model_copy(update={"size": size, "files": Files(**files)})
        write_atomically(
            folder / f"{manifest.name}.json",
            complete.model_dump_json(by_alias=True, indent=2, exclude_none=True) + "\n",
        )
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        told = f"cannot put the image into the store {folder}: {error.strerror}{where}"
        raise HostError(told, hint="use sudo") from error
    return complete


def copy(source: Path, destination: Path) -> bytes:
    """Copy a regular file, as it lies there, to one that is not there yet; the content's digest (SHA-256)."""
    digest = hashlib.sha256()
    with _opened(source) as file, destination.open("xb") as to:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            to.write(chunk)
    return digest.digest()


def removable(folder: Path, name: str, used: Mapping[str, Iterable[str]]) -> list[Path]:
    """What goes with the image: its manifest and files, older ones that nobody needs included.

    `used` says who needs which file of the store. Raises HostError naming them, if they need what is to go, and for a
    manifest that cannot be read, of an image that has no files: that is somebody else's.
    """
    files = [path for path in sorted(folder.glob("*")) if identity.image_of(path.name) == name]
    try:
        needed = {find(folder, name).files.disk}
    except HostError:
        if not files or not (folder / f"{name}.json").exists():
            raise
        needed = {path.name for path in files}  # nobody can tell which it has
    stems = {Path(file).stem for file in needed}
    if users := sorted({user for file, names in used.items() if Path(file).stem in stems for user in names}):
        bed, dot, _ = users[0].partition(".")
        told = f"the image {name} is in use: clones of it, or of its kernel, are {', '.join(users)}"
        raise HostError(told, hint=f"vmlab down {bed}" if dot else f"virsh dumpxml {shlex.quote(bed)}")
    kept = {Path(file).stem for file in used}
    return [folder / f"{name}.json", *(path for path in files if path.stem not in kept)]


def remove(folder: Path, name: str, used: Mapping[str, Iterable[str]]) -> None:
    """Take an image out of the store; raises what `removable` does."""
    for path in removable(folder, name, used):
        path.unlink(missing_ok=True)


def unused(folder: Path, used: Mapping[str, Iterable[str]]) -> list[Path]:
    """What vmlab put into the store and neither a manifest, `used` nor a build needs.

    An image's files share their stem. What has no name that vmlab gives is somebody else's. Of an image whose manifest
    cannot be read nothing is unused.
    """
    manifests = _manifests(folder)
    kept = {Path(manifest.files.disk).stem for manifest in manifests.values() if manifest is not None}
    kept |= {Path(file).stem for file in used}
    broken = {name for name, manifest in manifests.items() if manifest is None}
    return [
        path
        for path in sorted(folder.glob("*"))
        if path.name in _RECIPE_WORK
        or _HALF_WRITTEN.fullmatch(path.name)
        or ((image := identity.image_of(path.name)) is not None and image not in broken and path.stem not in kept)
    ]


def work_folder(folder: Path, name: str) -> Path:
    """Where the image is built that will be called so: there before anything else of the build, and the last to go."""
    return folder / f"{_WORK}{name}"


def begun(folder: Path) -> list[str]:
    """The names of the images whose builds go on, or were killed."""
    names = (path.name.removeprefix(_WORK) for path in sorted(folder.glob(f"{_WORK}*/")))
    return [name for name in names if re.fullmatch(_NAME, name)]


def _digest(path: Path) -> bytes:
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _place(source: Path, destination: Path, digest: bytes, *, move: bool) -> None:
    """Bring a file so that it is there whole or not at all; one of this name has this content already.

    What was copied is looked at, and not what lies where others may still write.
    """
    if destination.exists():
        return
    partial = source
    try:
        if not move:
            partial = destination.with_name(f".{destination.name}.partial")
            _copy_of(source, partial, digest)
        if destination.suffix == _SUFFIXES["disk"]:
            check_disk(partial)
    except HostError:
        partial.unlink()
        raise
    partial.chmod(0o644)
    partial.replace(destination)


def _copy_of(source: Path, destination: Path, digest: bytes) -> None:
    destination.unlink(missing_ok=True)
    if copy(source, destination) != digest:
        raise HostError(f"{source} changed while it was read", hint="try again when nobody writes to it")
