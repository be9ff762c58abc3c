"""The distributions' package managers: how each installs files, what it says when something is missing."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vmlab.errors import UsageError
from vmlab.store.packages import Kind

Command = tuple[str, ...]

# Whoever builds an image is not there to be asked, and no mirror is worth waiting for.
_APT = (
    *("apt-get", "-y", "-q", "--no-install-recommends", "--allow-downgrades", "--allow-change-held-packages"),
    *("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"),
    *("-o", "Dpkg::Options::=--force-unsafe-io"),  # after a crash the guest is thrown away
    *("-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::http::Timeout=15", "-o", "Acquire::https::Timeout=15"),
)


@dataclass(frozen=True, slots=True)
class Manager:
    """One package manager. `offline` is tried first: packages that are complete need no network.

    `online` follows if something is missing (`missing` matches what is said then; its groups name it). The package
    files come after each of `offline` and of the last of `online`. `done` are the statuses with which all is installed.
    """

    program: str
    kind: Kind
    offline: Command
    online: tuple[Command, ...]
    missing: re.Pattern[str]
    installed: Command
    done: frozenset[int] = frozenset({0})


_DEB_INSTALLED = ("dpkg-query", "-W", "-f", r"${Package}\t${Version}\t${Status}\n")
_RPM_INSTALLED = ("rpm", "-qa", "--qf", r"%{NAME}\t%{VERSION}-%{RELEASE}\tok installed\n")
_NOTHING_PROVIDES = re.compile(
    r"nothing provides '?(?P<what>[^'\n]+?)'? needed by (?:the to be installed )?(?P<who>\S+)"
)


def _dnf(program: str, missing: re.Pattern[str]) -> Manager:
    command = (program, "-y", "--setopt=install_weak_deps=False", "--setopt=timeout=15", "install")
    return Manager(program, "rpm", (*command, "--disablerepo=*"), (command,), missing, _RPM_INSTALLED)


_ZYPPER = ("zypper", "--non-interactive", "--no-gpg-checks")
_ZYPPER_INSTALL = ("install", "--no-recommends", "--allow-unsigned-rpm", "--oldpackage")

# In the order of preference: where dnf is, yum is only another name of it.
MANAGERS = (
    Manager(
        "apt-get",
        "deb",
        (*_APT, "install"),
        # Of a way out that leads nowhere, once is enough.
        ((*_APT, "-o", "Acquire::Retries=0", "update"), (*_APT, "install")),
        re.compile(r"^ +(?:(?P<who>\S+) : )?(?:Pre)?Depends: (?P<what>.+?) but (?:it|\S+) is", re.MULTILINE),
        _DEB_INSTALLED,
    ),
    _dnf("dnf", _NOTHING_PROVIDES),
    Manager(
        "zypper",
        "rpm",
        (*_ZYPPER, "--no-remote", "--no-refresh", *_ZYPPER_INSTALL),
        ((*_ZYPPER, *_ZYPPER_INSTALL),),
        _NOTHING_PROVIDES,
        _RPM_INSTALLED,
        # zypper(8): done; a reboot is needed, zypper is to be run anew, a repository was left out, a scriptlet failed.
        done=frozenset({0, 102, 103, 106, 107}),
    ),
    _dnf("yum", re.compile(r"^Error: Package: (?P<who>\S+).*\n +Requires: (?P<what>.+)$", re.MULTILINE)),
)


def manager_of(programs: Iterable[str], kind: Kind, image: str) -> Manager:
    """The manager of a guest that has these programs; UsageError if it is not for packages of this kind."""
    there = set(programs)
    found = [manager for manager in MANAGERS if manager.program in there]
    if not found:
        known = ", ".join(manager.program for manager in MANAGERS)
        raise UsageError(f"the image {image} has no package manager that vmlab knows ({known})")
    fitting = [manager for manager in found if manager.kind == kind]
    if not fitting:
        raise UsageError(f"the packages are .{kind} files, and the image {image} has {found[0].program}")
    return fitting[0]


def worth_asking(manager: Manager, output: str) -> bool:
    """Repositories may help after what the attempt without them said: it missed something, or its lists were old."""
    return bool(manager.missing.search(output)) or "Failed to fetch" in output


def lacking(manager: Manager, output: str) -> tuple[str, ...]:
    """What the package manager says it misses, `NAME (needed by PACKAGE)`, each once."""
    found: dict[str, None] = {}
    who = ""
    for match in manager.missing.finditer(output):
        who = match["who"] or who  # apt names a package once, and then only what else it lacks
        found[f"{match['what']} (needed by {who})" if who else match["what"]] = None
    return tuple(found)


def failed_scriptlets(output: str) -> tuple[str, ...]:
    """Scriptlets of rpms that failed with no more than a warning: `%post(NAME): exit status 7`."""
    found = re.findall(r"^ *warning: (%\w+\(\S+\)) scriptlet failed, (.+)$", output, re.MULTILINE)
    return tuple(dict.fromkeys(f"{scriptlet}: {how}" for scriptlet, how in found))


def installed(output: str) -> Mapping[str, str]:
    """Versions by package, from what `Manager.installed` printed."""
    lines = (line.split("\t") for line in output.splitlines())
    return {line[0]: line[1] for line in lines if len(line) == 3 and line[2].endswith("ok installed")}  # noqa: PLR2004
