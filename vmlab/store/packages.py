"""Package files: what they are, which kernel their modules are for, which kernel they bring."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vmlab.errors import UsageError

Kind = Literal["deb", "rpm"]

_KINDS: dict[str, Kind] = {".deb": "deb", ".rpm": "rpm"}
# In a folder where packages were built these lie beside the others. Whoever names one as a file gets it.
_UNWANTED = re.compile(r"\.(src|nosrc)\.rpm$|-(debuginfo|debugsource|dbgsym|dbg)(-common-[^-]+)?[-_]")
_MODULE = re.compile(r"(?:usr/)?lib/modules/(?P<release>[^/]+)/(?P<folder>[^/]+)/(?:.*/)?(?P<name>[^/]+)\.ko(?:\.\w+)?")
_KERNEL = re.compile(r"boot/vmlinuz-(?P<boot>[^/]+)|(?:usr/)?lib/modules/(?P<modules>[^/]+)/vmlinuz")


@dataclass(frozen=True, slots=True)
class Package:
    """A package file. `modules_for` and `kernels` are kernel releases, as `uname -r` prints them.

    `modules` are the names of those that do not come with the kernel (outside of its folder `kernel/`).
    """

    file: str
    name: str
    version: str
    modules_for: frozenset[str] = frozenset()
    modules: tuple[str, ...] = ()
    kernels: frozenset[str] = field(default_factory=frozenset)


def collect(paths: Iterable[Path]) -> tuple[Kind, tuple[Path, ...]]:
    """The package files that files and folders mean, all of one kind; of a folder no sources and no debug symbols.

    Raises UsageError for what is no package, for none at all and for a mixture.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = [p for p in sorted(path.iterdir()) if p.suffix in _KINDS and not _UNWANTED.search(p.name)]
            if not found:
                raise UsageError(f"there are no .deb or .rpm files in {path}", hint=f"ls {path}")
            files += found
        elif path.suffix in _KINDS and path.is_file():
            files.append(path)
        else:
            told = "is no .deb or .rpm file" if path.exists() else "is not there"
            raise UsageError(f"the package {path} {told}", hint=f"ls {path.parent}")
    kinds = {_KINDS[path.suffix] for path in files}
    if len(kinds) != 1:
        raise UsageError("the packages are of two kinds, .deb and .rpm" if kinds else "no packages are named")
    names: dict[str, Path] = {}
    for path in files:
        if names.setdefault(path.name, path).resolve() != path.resolve():
            raise UsageError(f"two different packages are called {path.name}: {names[path.name]} and {path}")
    return kinds.pop(), tuple(names.values())


def listing_commands(kind: Kind, file: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What prints a package's name and version, and what prints its files: input of `package`."""
    if kind == "deb":
        return ("dpkg-deb", "-f", file, "Package", "Version"), ("dpkg-deb", "-c", file)
    fields = r"Package: %{NAME}\nVersion: %{VERSION}-%{RELEASE}\n"
    return ("rpm", "-qp", "--nosignature", "--qf", fields, file), ("rpm", "-qlp", "--nosignature", file)


def package(kind: Kind, file: str, head: str, listing: str) -> Package:
    """A package from what `listing_commands` printed."""
    fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    paths = [_path_of(line) for line in listing.splitlines()] if kind == "deb" else listing.splitlines()
    modules_for, modules, kernels = set(), set(), set()
    for path in paths:
        relative = path.removeprefix(".").lstrip("/")
        if found := _MODULE.fullmatch(relative):
            modules_for.add(found["release"])
            if found["folder"] != "kernel":
                modules.add(found["name"])
        elif found := _KERNEL.fullmatch(relative):
            kernels.add(found["boot"] or found["modules"])
    return Package(
        file=Path(file).name,
        name=fields.get("Package", ""),
        version=fields.get("Version", ""),
        modules_for=frozenset(modules_for),
        modules=tuple(sorted(modules)),
        kernels=frozenset(kernels),
    )


def _path_of(line: str) -> str:
    """The path in a line as `tar -tv` prints it: mode, owner, size, date, time, path, for a link its target."""
    columns = line.split(None, 5)
    return columns[5].partition(" -> ")[0] if len(columns) > 5 else ""  # noqa: PLR2004


def kernel_to_boot(packages: Sequence[Package], *, image: str, boots: str, brought: bool) -> str:
    """The release that the new image boots: the image's own, `boots`, or with `brought` that of the packages.

    Raises UsageError, with both versions named, if a package has modules for another kernel only.
    """
    kernels = {release: package for package in packages for release in sorted(package.kernels)}
    wanted, whence = boots, f"the image {image} boots {boots}"
    if brought:
        wanted = _brought(packages, kernels)
        whence = f"{kernels[wanted].file} brings {wanted}"
    for one in packages:
        if one.modules_for and wanted not in one.modules_for:
            theirs = " and ".join(sorted(one.modules_for))
            hint = _hint(min(one.modules_for), wanted, kernels, brought=brought)
            raise UsageError(f"{one.file} has modules for kernel {theirs}, and {whence}", hint=hint)
    return wanted


def _hint(theirs: str, wanted: str, kernels: Iterable[str], *, brought: bool) -> str:
    if brought or theirs not in kernels:
        more = "" if brought else ", and --kernel"
        return f"packages built for {wanted}, or the package of kernel {theirs} with them{more}"
    return "--kernel, if the image shall boot the kernel that is among the packages"


def _brought(packages: Sequence[Package], kernels: Iterable[str]) -> str:
    releases = sorted(kernels)
    if not releases:
        raise UsageError("--kernel, and no kernel is among the packages", hint="add its package (one with a vmlinuz)")
    if len(releases) == 1:
        return releases[0]
    # The one that modules are for which do not come with a kernel.
    asked = {release for one in packages if one.modules and not one.kernels for release in one.modules_for}
    fitting = [release for release in releases if release in asked]
    if len(fitting) != 1:
        raise UsageError(f"the packages bring more than one kernel: {', '.join(releases)}", hint="leave one")
    return fitting[0]
