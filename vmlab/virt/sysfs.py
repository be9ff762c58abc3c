"""The one module that reads and writes a host's sysfs: of this machine, or of another by way of ssh.

Paths are relative to sysfs (`bus/pci/devices/0000:41:00.0/sriov_numvfs`) and never lead out of it.
"""

import abc
import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from typing_extensions import override

from vmlab.errors import HostError
from vmlab.runtime.log import log
from vmlab.shell import script
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine, machine_of
from vmlab.virt.machine import over_ssh as machine_over_ssh

_READ_S = 30.0
# Making 63 virtual functions takes a minute, and some HCAs longer.
_WRITE_S = 180.0
_ROOT = Path("/sys")


class WriteRefused(HostError):
    """The kernel refused a write; `reason` is its errno's text, as in "Device or resource busy"."""

    def __init__(self, path: str, text: str, reason: str) -> None:
        denied = "permission" in reason.lower() or "not permitted" in reason.lower()
        super().__init__(
            f"the kernel refused to write {text.strip()!r} to {path}: {reason}",
            hint="it takes root: sudo vmlab" if denied else "",
        )
        self.reason = reason


class Sysfs(abc.ABC):
    """A host's sysfs."""

    @staticmethod
    def local(root: Path = _ROOT) -> "Sysfs":
        """That of this machine."""
        return _Local(root)

    @staticmethod
    def over_ssh(destination: str, root: Path = _ROOT) -> "Sysfs":
        """Another machine's, as `ssh destination` reaches it."""
        return _Remote(machine_over_ssh(destination), root)

    @abc.abstractmethod
    def read(self, path: str) -> str | None:
        """A file's text without the newline at its end; None if there is no such file or it cannot be read."""

    @abc.abstractmethod
    def read_many(self, patterns: Iterable[str]) -> Mapping[str, str]:
        """All files that fit the shell patterns, by path, in one round trip; empty and unreadable ones are left out."""

    @abc.abstractmethod
    def link(self, path: str) -> str | None:
        """The last part of what a symbolic link points to (`driver` -> "mlx5_core"); None if there is no such link."""

    @abc.abstractmethod
    def links(self, patterns: Iterable[str]) -> Mapping[str, str]:
        """`link` of all that fit the shell patterns, by path, in one round trip."""

    @abc.abstractmethod
    def exists(self, path: str) -> bool:
        """There is such a file, folder or link that leads to one."""

    @abc.abstractmethod
    def write(self, path: str, text: str) -> None:
        """Write `text` at once. Raises WriteRefused with what the kernel says against it.

        It takes as long as the kernel takes: no signal ends a write that waits inside a driver.
        """


class _Local(Sysfs):
    def __init__(self, root: Path) -> None:
        self._root = root

    @override
    def read(self, path: str) -> str | None:
        try:
            return (self._root / _inside(path)).read_bytes().decode(errors="replace").rstrip("\n")
        except OSError:
            return None

    @override
    def read_many(self, patterns: Iterable[str]) -> Mapping[str, str]:
        found = {path: self.read(path) for path in self._matches(patterns)}
        return {path: text for path, text in found.items() if text}

    @override
    def link(self, path: str) -> str | None:
        try:
            return (self._root / _inside(path)).readlink().name
        except OSError:
            return None

    @override
    def links(self, patterns: Iterable[str]) -> Mapping[str, str]:
        found = {path: self.link(path) for path in self._matches(patterns)}
        return {path: target for path, target in found.items() if target is not None}

    @override
    def exists(self, path: str) -> bool:
        return (self._root / _inside(path)).exists()

    @override
    def write(self, path: str, text: str) -> None:
        full = self._root / _inside(path)
        log.debug("echo %s > %s", text, full)
        try:
            file = os.open(full, os.O_WRONLY)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)
        except OSError as error:
            raise WriteRefused(str(full), text, error.strerror or str(error)) from error

    def _matches(self, patterns: Iterable[str]) -> Iterable[str]:
        for pattern in patterns:
            with contextlib.suppress(OSError):  # a folder went away while we looked
                yield from (path.relative_to(self._root).as_posix() for path in self._root.glob(_inside(pattern)))


# Constant scripts; what follows them are their arguments: the root, then paths or patterns. An empty IFS lets $pattern
# unfold to file names and to nothing else. One grep prints PATH NUL LINE for all files, one readlink NUL-ended targets.
_READ = 'cd -- "$1" && exec cat -- "$2" 2>/dev/null'
_READ_MANY = script(__file__, "read_many.sh")
_LINKS = script(__file__, "links.sh")
_EXISTS = 'cd -- "$1" && [ -e "$2" ]'
# tee says which errno it was, as not every shell's echo does; but it would want to make a file that is not there.
_WRITE = """
[ -e "$1/$2" ] || { echo "No such file or directory" >&2; exit 1; }
exec tee -- "$1/$2" >/dev/null
"""


class _Remote(Sysfs):
    def __init__(self, machine: Machine, root: Path) -> None:
        self._machine = machine
        self._root = root

    @override
    def read(self, path: str) -> str | None:
        result = self._machine.run(self._script(_READ, _inside(path)), deadline_s=_READ_S)
        return result.stdout.rstrip("\n") if result.ok else None

    @override
    def read_many(self, patterns: Iterable[str]) -> Mapping[str, str]:
        files: dict[str, list[str]] = {}
        for path, line in self._pairs(_READ_MANY, patterns):
            files.setdefault(path, []).append(line)
        return {path: "\n".join(lines).rstrip("\n") for path, lines in files.items() if any(lines)}

    @override
    def link(self, path: str) -> str | None:
        return self.links((path,)).get(path)

    @override
    def links(self, patterns: Iterable[str]) -> Mapping[str, str]:
        return {path: PurePosixPath(target).name for path, target in self._pairs(_LINKS, patterns)}

    @override
    def exists(self, path: str) -> bool:
        return self._machine.run(self._script(_EXISTS, _inside(path)), deadline_s=_READ_S).ok

    @override
    def write(self, path: str, text: str) -> None:
        result = self._machine.run(self._script(_WRITE, _inside(path)), deadline_s=_WRITE_S, stdin=text)
        if not result.ok:
            raise WriteRefused(f"{self._machine.name}:{self._root / path}", text, result.last_line.rpartition(": ")[2])

    def _script(self, script: str, *values: str) -> tuple[str, ...]:
        return ("sh", "-c", script, "vmlab", str(self._root), *values)

    def _pairs(self, script: str, patterns: Iterable[str]) -> Iterable[tuple[str, str]]:
        result = self._machine.run(self._script(script, *map(_inside, patterns)), deadline_s=_READ_S)
        if not result.ok:
            raise HostError(f"{self._machine.name}: cannot look at {self._root}: {result.last_line}")
        for line in result.stdout.splitlines():
            path, nul, value = line.partition("\0")
            if nul:
                yield path, value


def sysfs_of(host: Host) -> Sysfs:
    """The sysfs of the machine whose libvirt this is. Raises HostError where nothing leads to it."""
    machine = machine_of(host)
    return _Local(_ROOT) if machine.local else _Remote(machine, _ROOT)


def _inside(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r:.80} is no path inside sysfs")
    return path
