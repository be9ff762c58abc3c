"""The kernel with its debug symbols, out of the distribution's package of them: of gigabytes one file is wanted."""

from pathlib import Path

from vmlab.errors import HostError, UsageError
from vmlab.runtime.process import run
from vmlab.shell import script

_TAKE = script(__file__, "vmlinux.sh")
_TAKE_S = 900.0
_PLACES = {".deb": "./usr/lib/debug/boot/vmlinux-{}", ".rpm": "./usr/lib/debug/lib/modules/{}/vmlinux"}


def check_debug_package(path: Path) -> None:
    """UsageError if it is no package that could have one."""
    if path.suffix not in _PLACES or not path.is_file():
        told = "is no .deb or .rpm file" if path.exists() else "is not there"
        hint = "apt-get download linux-image-KERNEL-dbg, or dnf download kernel-debuginfo"
        raise UsageError(f"the debug package {path} {told}", hint=hint)


def take_vmlinux(package: Path, release: str, to: Path) -> None:
    """Write the vmlinux of this kernel to a file that is not there yet. Raises HostError if there is none."""
    place = _PLACES[package.suffix].format(release)
    try:
        done = run(("sh", "-c", _TAKE, "vmlab", str(package.absolute()), place, str(to)), deadline_s=_TAKE_S)
    except OSError as error:
        raise HostError(f"{package}: {error.strerror}") from error
    if not done.ok:
        to.unlink(missing_ok=True)
        raise HostError(
            f"there is no vmlinux of kernel {release} in {package.name}: {done.last_line}",
            hint=f"the debug package of that kernel: linux-image-{release}-dbg, or kernel-debuginfo",
        )
