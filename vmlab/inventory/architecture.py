"""Which architectures a machine runs natively, by the names that the kernel and libvirt give them."""

GUESTS = "x86_64"  # what vmlab's own template and images are

# The older or narrower mode that processors of the key have besides their own.
_ALSO = {
    "x86_64": {"i686"},
    "aarch64": {"armv7l"},
    "ppc64le": {"ppc64"},
    "ppc64": {"ppc64le"},
    "s390x": {"s390"},
}
# Debian's and other names for the same.
_NAMES = {"amd64": "x86_64", "x86-64": "x86_64", "i386": "i686", "arm64": "aarch64", "ppc64el": "ppc64le"}


def named(architecture: str) -> str:
    """The kernel's name: `x86_64` for Debian's `amd64`."""
    return _NAMES.get(architecture.lower(), architecture.lower())


def runs(host: str, guest: str) -> bool:
    """A host runs such guests under KVM. What is not known, "" or libvirt's "unknown", is not held against it."""
    have, want = named(host), named(guest)
    return have == want or want in _ALSO.get(have, ()) or not {have, want}.isdisjoint(("", "unknown"))
