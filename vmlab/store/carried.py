"""What an image carries: the versions of what matters to a Lustre lab, and the backends of its Lustre."""

import re
from collections.abc import Iterable, Mapping

# Products by the first package name that is installed; the names are those of Debian, RHEL and SUSE.
_PRODUCTS = {
    "ior": ("ior", "ior-openmpi", "ior-mpich"),
    "perftest": ("perftest",),
    "rdma-core": ("rdma-core",),
    "mofed": ("mlnx-ofed-kernel-dkms", "mlnx-ofa_kernel", "mlnx-ofed-kernel-modules"),
    "openmpi": ("openmpi-bin", "openmpi", "openmpi4"),
    "mpich": ("mpich",),
    "e2fsprogs": ("e2fsprogs",),
    "zfs": ("zfsutils-linux", "zfs"),
    "fio": ("fio",),
    "iperf3": ("iperf3", "iperf"),
    "iproute2": ("iproute2", "iproute"),
    "pciutils": ("pciutils",),
    "kmod": ("kmod",),
    "pacemaker": ("pacemaker",),
    "cloud-init": ("cloud-init",),
    "openssh-server": ("openssh-server", "openssh"),
}
BACKENDS = {"osd_ldiskfs": "ldiskfs", "osd_zfs": "zfs", "osd_wbcfs": "wbcfs"}
_LUSTRE = re.compile(r"[0-9]+(?:\.[0-9]+){1,3}")


def carried(
    versions: Mapping[str, str], *, before: Iterable[str], added: Iterable[str], lustre: str | None
) -> dict[str, str]:
    """Versions by product or package: the products above, what the image carried `before`, the packages `added`.

    `versions` are those of all installed packages; `lustre` is what its own module says, such as
    `2.17.57_62_gc881f8e_dirty`, of which the release is kept.
    """
    found = {
        product: versions[name]
        for product, names in _PRODUCTS.items()
        for name in names[::-1]  # the first one wins
        if name in versions
    }
    found |= {name: versions[name] for name in (*before, *added) if name in versions}
    if lustre is not None and (release := _LUSTRE.match(lustre)):
        found["lustre"] = release[0]
    return dict(sorted(found.items()))


def backends(modules: Iterable[str]) -> tuple[str, ...]:
    """The backends whose modules are among these."""
    there = set(modules)
    return tuple(backend for module, backend in BACKENDS.items() if module in there)
