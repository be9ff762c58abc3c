"""The image store: a folder (of the pool `vmlab-images`) with one manifest NAME.json per image.

The files behind a manifest carry their content's digest in their names and are never changed: an image that is built
anew lies beside the old one as long as clones are linked to that, and their nodes show as changed.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vmlab.errors import HostError, UsageError
from vmlab.runtime.files import write_atomically
from vmlab.runtime.process import run

_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
_WORK = ".build-"
_SUFFIXES = {"disk": ".qcow2", "kernel": ".vmlinuz", "initrd": ".initrd"}


class Files(BaseModel):
    """File names beside the manifest. Without a kernel the image boots from its own disk only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    disk: str
    kernel: str | None = None
    initrd: str | None = None


class Manifest(BaseModel):
    """What an image is: who logs in, how it boots, what it carries (package or product -> version)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = Field(default=1, alias="schema")
    name: str = Field(pattern=_NAME)
    user: str = "root"
    distribution: str = ""
    architecture: str = "x86_64"
    kernel: str = ""
    cmdline: str = ""
    size: int = Field(default=0, description="virtual size of the disk in bytes")
    carries: Mapping[str, str] = Field(default_factory=dict)
    backends: tuple[str, ...] = Field(default=(), description="of Lustre's targets: ldiskfs, zfs, wbcfs")
    files: Files

    @property
    def lustre(self) -> str | None:
        """The version of Lustre that it carries."""
        return self.carries.get("lustre")


def images(folder: Path) -> list[Manifest]:
    """All images, by name. A manifest that cannot be read is an error naming it."""
    return [read(path) for path in sorted(folder.glob("[!.]*.json"))]


def read(path: Path) -> Manifest:
    """One manifest."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise HostError(f"cannot read the image manifest {path}: {error.strerror}", hint="vmlab host check") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise HostError(
            f"the image manifest {path} is broken: {where}: {first['msg']}",
            hint=f"vmlab image rm {path.stem}, then build or import it again",
        ) from error


def check_name(name: str) -> None:
    """UsageError if no image can be called so."""
    if not re.match(_NAME, name) or name.endswith("\n"):
        raise UsageError(f"{name!r:.80} is no image's name (expected [a-z0-9][a-z0-9._-]*, at most 63 characters)")


def find(folder: Path, name: str) -> Manifest:
    """The image of this name; raises HostError saying how to get it."""
    path = folder / f"{name}.json"
    if not path.exists():
        known = ", ".join(p.stem for p in sorted(folder.glob("*.json"))) or "none"
        how = "vmlab image build demo" if name == "demo" else f"vmlab image import {name} FILE.qcow2"
        raise HostError(f"there is no image {name} in {folder} (images: {known})", hint=how)
    return read(path)


def at_path(path: Path) -> Manifest:
    """A disk outside the store, used where it lies: as a manifest beside it tells, which has its name with .json.

    Without one it boots from itself, and root logs in.
    """
    size, beside = check_disk(path), path.with_suffix(".json")
    manifest = read(beside) if beside.exists() else Manifest(name="image", files=Files(disk=""))
    files = manifest.files.model_copy(update={"disk": str(path.resolve())})
    return manifest.model_copy(update={"size": size, "files": files})


def check_disk(path: Path) -> int:
    """The virtual size in bytes of a qcow2 without a backing chain; HostError for anything else."""
    if not path.is_file():
        raise HostError(f"there is no image file {path}", hint="vmlab image list")
    told = run(("qemu-img", "info", "--force-share", "--output", "json", str(path.resolve())), deadline_s=60)
    if not told.ok:
        raise HostError(f"{path} is no disk image: {told.last_line}", hint=f"qemu-img check {path}")
    info = json.loads(told.stdout)
    if info["format"] != "qcow2":
        raise HostError(
            f"{path} is no qcow2 image but {info['format']}",
            hint=f"qemu-img convert -O qcow2 {path} {path.with_suffix('.qcow2')}",
        )
    if backing := info.get("backing-filename"):
        raise HostError(
            f"{path} is only the top of a chain: it needs {backing}",
            hint=f"qemu-img convert -O qcow2 {path} whole.qcow2",
        )
    return int(info["virtual-size"])


def add(folder: Path, manifest: Manifest, source: Path, *, move: bool = False) -> Manifest:
    """Put an image into the store, replacing one of its name; `source` holds the manifest's files.

    With `move` they are taken from there, a folder of the store's file system, and else copied.
    The manifest is written last: an interrupted import leaves files that `unused` tells.
    """
    disk = source / manifest.files.disk
    size = check_disk(disk)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sources = {kind: source / name for kind, name in manifest.files.model_dump(exclude_none=True).items()}
        stem = f"{manifest.name}-{_digest(sources.values())}"
        files = {kind: stem + _SUFFIXES[kind] for kind in sources}
        for kind, path in sources.items():
            _place(path, folder / files[kind], move=move)
        complete = manifest.model_copy(update={"size": size, "files": Files(**files)})
        write_atomically(folder / f"{manifest.name}.json", complete.model_dump_json(by_alias=True, indent=2) + "\n")
    except OSError as error:
        raise HostError(f"cannot write to the image store {folder}: {error.strerror}", hint="use sudo") from error
    return complete


def removable(folder: Path, name: str, used: Mapping[str, Iterable[str]]) -> Manifest:
    """The image, if no clone needs it; `used` says which nodes' clones are linked to which file.

    Raises HostError naming them when there are any.
    """
    manifest = find(folder, name)
    users = sorted(used.get(str(folder / manifest.files.disk), ()))
    if users:
        raise HostError(
            f"the image {name} is in use: clones of it are {', '.join(users)}",
            hint=f"vmlab down {users[0].partition('.')[0]}",
        )
    return manifest


def remove(folder: Path, name: str, used: Mapping[str, Iterable[str]]) -> None:
    """Take an image out of the store; raises what `removable` does."""
    removable(folder, name, used)
    (folder / f"{name}.json").unlink()
    for path in unused(folder, used):
        path.unlink(missing_ok=True)


def unused(folder: Path, used: Mapping[str, Iterable[str]]) -> list[Path]:
    """Files of the store that neither a manifest, a clone nor a build needs: an image's files share their stem."""
    disks = [manifest.files.disk for manifest in images(folder)]
    kept = {Path(path).stem for path in (*disks, *used)}
    builds = {work_folder(folder, name) for name in begun(folder)}
    others = [path for path in sorted(folder.glob("*")) if path.suffix != ".json" and path not in builds]
    return [path for path in others if path.stem not in kept]


def work_folder(folder: Path, name: str) -> Path:
    """Where the image is built that will be called so: there before anything else of the build, and the last to go."""
    return folder / f"{_WORK}{name}"


def begun(folder: Path) -> list[str]:
    """The names of the images whose builds go on, or were killed."""
    return [path.name.removeprefix(_WORK) for path in sorted(folder.glob(f"{_WORK}*"))]


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def _place(source: Path, destination: Path, *, move: bool) -> None:
    """Bring a file so that it is there whole or not at all; one of this name has this content already."""
    if destination.exists():
        return
    partial = source if move else destination.with_name(f".{destination.name}.partial")
    if not move:
        shutil.copyfile(source, partial)
    partial.chmod(0o644)
    partial.replace(destination)
