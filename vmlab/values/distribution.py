"""Distributions, and what their packages are called: the one table that every install hint is made from."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class _Names(NamedTuple):
    """A program's package in each family; "" where there is none."""

    debian: str
    rhel: str
    suse: str


# The names of Debian 12 and 13, RHEL 8 to 10, SLES 15. A package that a distribution divided in two later is named so
# that both have it: SLES's qemu-tools needs its qemu-img since 15 SP6.
_PACKAGES = {
    "qemu-system-x86_64": _Names("qemu-system-x86", "qemu-kvm", "qemu-x86"),
    "qemu-system-aarch64": _Names("qemu-system-arm", "qemu-kvm", "qemu-arm"),
    "qemu-img": _Names("qemu-utils", "qemu-img", "qemu-tools"),
    "libvirtd": _Names("libvirt-daemon-system", "libvirt", "libvirt"),
    "virtlogd": _Names("libvirt-daemon-system", "libvirt-daemon", "libvirt-daemon"),
    "virsh": _Names("libvirt-clients", "libvirt-client", "libvirt-client"),
    "dnsmasq": _Names("dnsmasq-base", "dnsmasq", "dnsmasq"),
    "iptables": _Names("iptables", "iptables-nft", "iptables"),
    "ip": _Names("iproute2", "iproute", "iproute2"),
    "ssh": _Names("openssh-client", "openssh-clients", "openssh-clients"),
    "scp": _Names("openssh-client", "openssh-clients", "openssh-clients"),
    "setpriv": _Names("util-linux", "util-linux", "util-linux"),
    "unshare": _Names("util-linux", "util-linux", "util-linux"),
    "chroot": _Names("coreutils", "coreutils", "coreutils"),
    "mke2fs": _Names("e2fsprogs", "e2fsprogs", "e2fsprogs"),
    "zstd": _Names("zstd", "zstd", "zstd"),
    "mmdebstrap": _Names("mmdebstrap", "mmdebstrap", ""),  # RHEL's is in EPEL
    "dot": _Names("graphviz", "graphviz", "graphviz"),
    "crash": _Names("crash", "crash", "crash"),
    "semanage": _Names(*["policycoreutils-python-utils"] * 3),
    "efi": _Names("ovmf", "edk2-ovmf", "qemu-ovmf-x86_64"),
    "firewalld-zone": _Names("libvirt-daemon-system", "libvirt-daemon-driver-network", "libvirt-daemon-driver-network"),
    "vfio-pci": _Names("linux-image-amd64", "kernel-modules", "kernel-default"),
    "perftest": _Names("perftest", "perftest", "perftest"),
    "mpirun": _Names("openmpi-bin", "openmpi", "openmpi4"),
    "iperf3": _Names("iperf3", "iperf3", "iperf"),
    "fio": _Names("fio", "fio", "fio"),
    "sbatch": _Names("slurm-client", "slurm", "slurm"),  # RHEL's is in EPEL
    "hpcc": _Names("hpcc", "", ""),
}
# Where one of a family differs from the rest.
_OWN = {("ubuntu", "vfio-pci"): "linux-image-generic"}
_COMMANDS = {"debian": "apt-get install", "rhel": "dnf install", "suse": "zypper install"}
_FAMILIES = {
    **dict.fromkeys(("debian", "ubuntu"), "debian"),
    **dict.fromkeys(("rhel", "fedora", "centos", "rocky", "almalinux", "ol"), "rhel"),
    **dict.fromkeys(("suse", "sles", "opensuse", "opensuse-leap"), "suse"),
}


@dataclass(frozen=True, slots=True)
class Distribution:
    """`id` as in os-release(5); `family` is "debian", "rhel", "suse", or "" for another one."""

    id: str = ""
    family: str = ""

    def install(self, *programs: str) -> str:
        """The line that brings these programs; "" where nobody knows their packages."""
        found = sorted({name for program in programs if (name := self.package(program))})
        if not found:
            return ""
        # Of another family the command is not known, and the names are likely to be those of most others.
        return f"{_COMMANDS.get(self.family, 'install')} {' '.join(found)}"

    def package(self, program: str) -> str:
        """What the package of a program is called here; "" if that is not known."""
        names = _PACKAGES.get(program)
        if names is None:
            return ""
        return _OWN.get((self.id, program)) or getattr(names, self.family or "debian")


def read_distribution(os_release: str) -> Distribution:
    """The distribution that an os-release file describes, by its own ID or by what it says it is like."""
    told = dict(re.findall(r"""^(ID|ID_LIKE)=["']?([^"'\n]*)["']?\s*$""", os_release, re.MULTILINE))
    own = told.get("ID", "").lower()
    return Distribution(own, _family((own, *told.get("ID_LIKE", "").lower().split())))


def _family(names: Iterable[str]) -> str:
    return next((_FAMILIES[name] for name in names if name in _FAMILIES), "")
