"""A Debian unpacked into a folder, as a recipe's `packages` and `excludes` say: one entry a line, # for remarks."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

DEBIAN = "http://deb.debian.org/debian"
APT_CONFIG = ("apt-config", "dump")
# Before a command whose mounts shall be gone with us: if we are killed, so are it and all that it started.
CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
)
_MIRROR = re.compile(r"^(?:URIs:|deb\s+(?:\[.*?\])?)\s*(\S+/debian/?)(?:\s|$)", re.MULTILINE)
# What this machine's administrator decided on proxies, certificates and leniency holds for the image too.
_OF_HOST = re.compile(r"Acquire::(http|https|ftp|Check-|Retries|AllowInsecure)")


def bootstrap(recipe: Path, tree: Path, suite: str, mirror: str, apt_config: str) -> tuple[str, ...]:
    """The mmdebstrap that unpacks into `tree`, to be run as root; `apt_config` is what APT_CONFIG printed here."""
    packages = ",".join(line.split()[0] for line in lines(recipe / "packages"))
    of_host = (line.rstrip(";") for line in apt_config.splitlines() if _OF_HOST.match(line))
    apt = ['APT::Install-Recommends "false"', 'Acquire::Languages "none"']
    apt += [line for line in of_host if not line.endswith('""')]
    return (
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", f"--include={packages}"),
        *(f"--aptopt={option}" for option in apt),
        *(f"--dpkgopt=path-exclude={path}" for path in lines(recipe / "excludes")),
        *(suite, str(tree), mirror),
    )


def apt_mirror(sources: Path = Path("/etc/apt")) -> str:
    """The first Debian archive among this machine's apt sources, in either format; else deb.debian.org."""
    files = [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))]
    for file in files:
        if file.is_file() and (found := _MIRROR.search(file.read_text())):
            return found[1].rstrip("/")
    return DEBIAN


def lines(file: Path) -> list[str]:
    """The entries of a recipe's list."""
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]


def environment() -> dict[str, str]:
    """For all programs of a build: PATH has root's tools, which a user's under sudo or cron may lack."""
    return {"PATH": path(), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def path() -> str:
    """PATH with the folders of root's tools."""
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def missing(needed: Iterable[str]) -> list[str]:
    """Those of the tools that are not on this machine."""
    return sorted(tool for tool in needed if shutil.which(tool, path=path()) is None)
