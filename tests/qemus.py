"""What libvirt tells of QEMU on hosts that labs have, composed of what is public about them.

What upstream's QEMU has: libvirt's tests/domaincapsdata/qemu_4.2.0-q35.x86_64.xml, qemu_6.2.0-q35, qemu_7.2.0-q35,
qemu_9.1.0-q35 and qemu_10.1.0-q35; SUSE, Debian and Ubuntu build all of it. What RHEL's lacks, and so Rocky's and
Alma's: configs/devices/x86_64-softmmu/x86_64-rh-devices.mak and the specification of its package qemu-kvm (9.4: no
SPICE and so no qxl, no cirrus, no vmvga, no floppy, no 9p; firmware described for UEFI only). i440fx is deprecated in
9 and gone in 10. What RHEL 8's lacks is written there as the same, less what went with 9.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

_UPSTREAM: Mapping[str, Mapping[str, str]] = {
    "disk": {"diskDevice": "disk cdrom floppy lun", "bus": "fdc scsi virtio usb sata"},
    "graphics": {"type": "sdl vnc spice egl-headless dbus"},
    "video": {"modelType": "vga cirrus vmvga qxl virtio none bochs ramfb"},
    "hostdev": {"mode": "subsystem", "subsysType": "usb pci scsi", "pciBackend": "default vfio"},
    "rng": {"model": "virtio virtio-transitional virtio-non-transitional", "backendModel": "random egd builtin"},
    "filesystem": {"driverType": "path handle virtiofs"},
    "tpm": {"model": "tpm-tis tpm-crb", "backendModel": "passthrough emulator external"},
    "redirdev": {"bus": "usb"},
    "channel": {"type": "pty unix spicevmc"},
    "panic": {"model": "isa hyperv pvpanic"},
}
_RHEL_8_LACKS = {"video": "vmvga", "filesystem": "path handle", "graphics": "sdl dbus", "rng": "egd"}
_RHEL_9_LACKS = {
    **_RHEL_8_LACKS,
    "disk": "floppy fdc",
    "graphics": "sdl dbus spice",
    "video": "vmvga cirrus qxl ramfb",
    "channel": "spicevmc",
    "tpm": "passthrough",
}


@dataclass(frozen=True)
class Lab:
    """A host: its QEMU, the machine types with their aliases, what it lacks, and what its libvirt does not tell of."""

    path: str
    machines: Mapping[str, str]
    lacks: Mapping[str, str]
    firmware: str = "bios efi"
    untold: str = ""
    modes: str = "host-passthrough maximum host-model custom"
    kinds: str = "qemu kvm"

    def capabilities(self) -> str:
        """As `virsh capabilities`, of the guests only."""
        machines = "".join(
            f"<machine maxCpus='710'>{name}</machine><machine canonical='{name}' maxCpus='710'>{alias}</machine>"
            for alias, name in self.machines.items()
        )
        kinds = "".join(f"<domain type='{kind}'/>" for kind in self.kinds.split())
        return (
            "<capabilities><host><cpu><arch>x86_64</arch></cpu></host>"
            f"<guest><os_type>hvm</os_type><arch name='x86_64'><wordsize>64</wordsize><emulator>{self.path}</emulator>"
            f"{machines}{kinds}</arch></guest></capabilities>"
        )

    def domain_capabilities(self, machine: str = "q35", kind: str = "kvm") -> str:
        """As `virsh domcapabilities --machine MACHINE --virttype KIND`."""
        devices = "".join(
            f"<{device} supported='yes'>{self._enums(device, enums)}</{device}>"
            for device, enums in _UPSTREAM.items()
            if device not in self.untold.split()
        )
        return (
            f"<domainCapabilities><path>{self.path}</path><domain>{kind}</domain>"
            f"<machine>{self.machines[machine]}</machine><arch>x86_64</arch>"
            f"<os supported='yes'>{_enum('firmware', self.firmware.split())}</os><cpu>{self._modes(kind)}</cpu>"
            f"<devices>{devices}</devices></domainCapabilities>"
        )

    def _enums(self, device: str, enums: Mapping[str, str]) -> str:
        without = self.lacks.get(device, "").split()
        return "".join(_enum(name, [v for v in values.split() if v not in without]) for name, values in enums.items())

    def _modes(self, kind: str) -> str:
        told = []
        for mode in ("host-passthrough", "maximum", "host-model", "custom"):
            there = mode in self.modes.split() and (mode != "host-passthrough" or kind == "kvm")
            models = "<model usable='yes'>EPYC</model><model usable='no'>Skylake-Server</model>"
            inside = models if mode == "custom" else ""
            told.append(f"<mode name='{mode}' supported='{'yes' if there else 'no'}'>{inside}</mode>")
        return "".join(told)


def _enum(name: str, values: list[str]) -> str:
    return f"<enum name='{name}'>{''.join(f'<value>{value}</value>' for value in values)}</enum>"


_QEMU_KVM, _QEMU_SYSTEM = "/usr/libexec/qemu-kvm", "/usr/bin/qemu-system-x86_64"
# libvirt tells of these only since 8.10 and later, of the last since 11.1.
_UNTOLD_8_0 = "channel redirdev panic"

RHEL_8 = Lab(
    _QEMU_KVM,
    {"q35": "pc-q35-rhel8.6.0", "pc": "pc-i440fx-rhel7.6.0"},
    _RHEL_8_LACKS,
    firmware="efi",
    untold=_UNTOLD_8_0,
)
RHEL_9 = Lab(
    _QEMU_KVM, {"q35": "pc-q35-rhel9.4.0", "pc": "pc-i440fx-rhel7.6.0"}, _RHEL_9_LACKS, firmware="efi", untold="panic"
)
RHEL_10 = Lab(_QEMU_KVM, {"q35": "pc-q35-rhel10.0.0"}, _RHEL_9_LACKS, firmware="efi")
SLES_15 = Lab(_QEMU_SYSTEM, {"q35": "pc-q35-8.2", "pc": "pc-i440fx-8.2"}, {}, untold="panic")
# Of the SPs before 4: libvirt 7.1 told of `maximum`, and 6.0 and 7.0 did not.
SLES_15_SP2 = replace(
    SLES_15,
    machines={"q35": "pc-q35-4.2", "pc": "pc-i440fx-4.2"},
    modes="host-passthrough host-model custom",
    untold=f"{_UNTOLD_8_0} filesystem tpm",
)
UBUNTU = Lab(
    _QEMU_SYSTEM,
    {"q35": "pc-q35-noble", "ubuntu-q35": "pc-q35-noble", "pc": "pc-i440fx-noble"},
    {},
    untold="panic",
)
DEBIAN_12 = Lab(_QEMU_SYSTEM, {"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2"}, {}, firmware="", untold="panic")
DEBIAN_13 = Lab(_QEMU_SYSTEM, {"q35": "pc-q35-10.0", "pc": "pc-i440fx-10.0"}, {})

LABS = {
    "rhel-8": RHEL_8,
    "rhel-9": RHEL_9,
    "rhel-10": RHEL_10,
    "sles-15": SLES_15,
    "sles-15-sp2": SLES_15_SP2,
    "ubuntu": UBUNTU,
    "debian-12": DEBIAN_12,
    "debian-13": DEBIAN_13,
}
