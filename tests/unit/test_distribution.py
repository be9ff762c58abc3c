"""Packages by the names of the distribution at hand."""

import re
from pathlib import Path

import pytest

from vmlab.values import distribution
from vmlab.values.distribution import read_distribution

ROOT = Path(__file__).parents[2]

# The lines of os-release(5) that count, as each distribution's own file has them.
_RELEASES = {
    "debian": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n',
    "ubuntu": 'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nID=ubuntu\nID_LIKE=debian\n',
    "rhel": 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n',
    "rocky": 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n',
    "almalinux": 'NAME="AlmaLinux"\nID="almalinux"\nID_LIKE="rhel centos fedora"\n',
    "sles": 'NAME="SLES"\nVERSION="15-SP6"\nID="sles"\nID_LIKE="suse"\n',
    "opensuse-leap": 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n',
    "hpc-linux": 'ID=hpc-linux\nID_LIKE="rhel"\n',
    "gentoo": "ID=gentoo\n",
}


@pytest.mark.parametrize(
    ("id_", "family", "qemu"),
    [
        ("debian", "debian", "apt-get install qemu-system-x86"),
        ("ubuntu", "debian", "apt-get install qemu-system-x86"),
        ("rhel", "rhel", "dnf install qemu-kvm"),
        ("rocky", "rhel", "dnf install qemu-kvm"),
        ("almalinux", "rhel", "dnf install qemu-kvm"),
        ("sles", "suse", "zypper install qemu-x86"),
        ("opensuse-leap", "suse", "zypper install qemu-x86"),
        ("hpc-linux", "rhel", "dnf install qemu-kvm"),
        ("gentoo", "", "install qemu-system-x86"),
    ],
)
def test_distributions_and_their_names(id_: str, family: str, qemu: str) -> None:
    found = read_distribution(_RELEASES[id_])
    assert (found.id, found.family) == (id_, family)
    assert found.install("qemu-system-x86_64") == qemu


def test_several_programs_are_one_line_and_a_package_is_named_once() -> None:
    found = read_distribution(_RELEASES["rocky"])
    assert found.install("ssh", "scp", "dot", "mke2fs") == "dnf install e2fsprogs graphviz openssh-clients"


def test_what_nobody_packages_has_no_hint() -> None:
    assert read_distribution(_RELEASES["sles"]).install("mmdebstrap") == ""
    assert read_distribution("").install("frobnicate") == ""


def test_ubuntu_has_a_kernel_of_its_own() -> None:
    assert read_distribution(_RELEASES["ubuntu"]).install("vfio-pci") == "apt-get install linux-image-generic"


def test_no_other_place_names_a_package_manager_for_this_machine() -> None:
    allowed = {"vmlab/values/distribution.py", "vmlab/store/managers.py", "vmlab/guest/facts.py"}
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "vmlab").rglob("*.py")
        if re.search(r"\b(apt-get|apt|dnf|yum|zypper) install\b", path.read_text())
    }
    assert found <= allowed


def test_the_table_has_a_name_for_each_family_or_none_on_purpose() -> None:
    lacking = {program for program, names in distribution._PACKAGES.items() if not all(names)}
    assert lacking == {"mmdebstrap", "hpcc"}  # hpcc is in Debian and Ubuntu only
