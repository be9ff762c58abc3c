"""libvirt's daemons: libvirtd, or one for each driver (RHEL 9, SLES 15 SP6), and how to start those that are off."""

import re
from dataclasses import dataclass
from pathlib import Path
from shutil import which

# What beds need: domains, networks, pools, devices. All of them log consoles by virtlogd, which they start themselves.
DRIVERS = ("virtqemud", "virtnetworkd", "virtstoraged", "virtnodedevd")
_ALL = ("libvirtd", "virtlogd", *DRIVERS)
_SBIN = "/usr/sbin:/sbin"
_UNITS = tuple(map(Path, ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")))
_ENABLED = Path("/etc/systemd/system/sockets.target.wants")
_SYSTEMD = Path("/run/systemd/system")
_SOCKET = re.compile(r"/(?P<daemon>libvirt|virt[a-z]+d)-sock\b")
_NOBODY = re.compile("No such file|Connection refused")


@dataclass(frozen=True, slots=True)
class Daemons:
    """What is installed of them, which have a socket that is enabled, and whether systemd is there to start them."""

    installed: frozenset[str]
    enabled: frozenset[str] = frozenset()
    systemd: bool = True

    @property
    def modular(self) -> bool:
        """One for each driver is what starts here."""
        return "virtqemud" in self.installed and ("virtqemud" in self.enabled or "libvirtd" not in self.installed)


def look() -> Daemons:
    """Those of this machine."""
    units = {name for name in _ALL for folder in _UNITS if (folder / f"{name}.socket").exists()}
    systemd = _SYSTEMD.is_dir()
    programs = {name for name in _ALL if which(name) or which(name, path=_SBIN)}
    enabled = {name for name in _ALL if (_ENABLED / f"{name}.socket").is_symlink()}
    return Daemons(frozenset(units if systemd else programs), frozenset(enabled), systemd)


def how_to_start(error: str, there: Daemons, install: str) -> str:
    """What starts the daemon that nobody answered for, by libvirt's words; "" if they tell of something else.

    `install` is the line that installs libvirt.
    """
    found = _SOCKET.search(error)
    if found is None or _NOBODY.search(error) is None:
        return ""
    daemon = "libvirtd" if found["daemon"] == "libvirt" else found["daemon"]
    wanted: tuple[str, ...] = (daemon,)
    if daemon in ("libvirtd", "virtqemud"):  # libvirt's client asks for one of them, whichever is installed
        wanted = DRIVERS if there.modular else ("libvirtd",)
    if not there.installed & set(wanted):
        return f"{install}, and then vmlab host check" if install else "install libvirt"
    if there.systemd:
        return "start it: systemctl enable --now " + " ".join(f"{name}.socket" for name in wanted)
    first = () if daemon == "virtlogd" or "virtlogd" not in there.installed else ("virtlogd",)
    return "start it: " + "; ".join(f"{name} -d" for name in (*first, *wanted[::-1]))
