"""What beds need of a machine besides libvirt: programs, devices, a packet filter. Nothing is changed."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from vmlab.runtime.distribution import install_hint
from vmlab.runtime.process import run
from vmlab.values.size import Bytes
from vmlab.virt.accel import locked_away
from vmlab.virt.finding import Finding, Verdict

# What is called by name: why, and whether a bed comes up without it.
_PROGRAMS = (
    ("qemu-img", "reads images", True),
    ("dnsmasq", "libvirt's networks", True),
    ("ip", "the host's routes", True),
    ("ssh", "the way into guests", True),
    ("scp", "vmlab cp", False),
    ("setpriv", "ends what vmlab started", True),
    ("mmdebstrap", "vmlab image build demo", False),
    ("dot", "vmlab graph", False),
)
_ZONES = (Path("/etc/firewalld/zones/libvirt.xml"), Path("/usr/lib/firewalld/zones/libvirt.xml"))
_FIREWALLD_S = 10.0


def machine() -> list[Finding]:
    """All of it."""
    return [_kvm_access(), _iommu(), *programs(), _packet_filter(), _firewalld(), _tun(), _hugepages()]


def programs() -> Iterator[Finding]:
    """What is called by its name."""
    for program, use, needed in _PROGRAMS:
        path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if path is not None:
            yield Finding(program, "ok", path)
        else:
            verdict: Verdict = "no" if needed else "warning"
            yield Finding(program, verdict, f"not installed ({use})", install_hint(program))


def firewalld(zones: str | None, *, known: bool) -> Finding:
    """`zones` are those in force, None where it does not run; `known`: its folders have libvirt's."""
    what = "firewalld"
    if zones is None:
        return Finding(what, "ok", "does not run")
    if "libvirt" in zones.split():
        return Finding(what, "ok", "runs; guests reach of the host itself what its zone libvirt lets through")
    found = "runs without the zone libvirt, which libvirt puts each network into"
    hint = "firewall-cmd --reload" if known else f"{install_hint('firewalld-zone')}; firewall-cmd --reload"
    return Finding(what, "no", found, hint)


def _firewalld() -> Finding:
    if shutil.which("firewall-cmd") is None:
        return firewalld(None, known=False)
    asked = run(("firewall-cmd", "--get-zones"), deadline_s=_FIREWALLD_S)
    if not asked.ok and "not running" not in asked.stdout + asked.stderr:
        return Finding("firewalld", "ok", f"not for us to see: {asked.last_line}")
    return firewalld(asked.stdout if asked.ok else None, known=any(zone.exists() for zone in _ZONES))


def _kvm_access() -> Finding:
    if locked_away():
        hint = "chgrp kvm /dev/kvm; chmod 660 /dev/kvm"
        return Finding("KVM device", "warning", "only root may open it: libvirt probes QEMU anew at each call", hint)
    return Finding("KVM device", "ok", "the guests' user may open it, or there is none")


def _iommu() -> Finding:
    groups = len(list(Path("/sys/kernel/iommu_groups").glob("*")))
    if groups:
        return Finding("IOMMU", "ok", f"on, {groups} groups")
    hint = "for passthrough: VT-d or AMD-Vi on in the firmware, and intel_iommu=on (Intel) iommu=pt for the kernel"
    return Finding("IOMMU", "warning", "off: no device can be passed to a guest", hint)


def _packet_filter() -> Finding:
    found = [tool for tool in ("iptables", "nft") if shutil.which(tool, path="/usr/sbin:/sbin:/usr/bin:/bin")]
    if found:
        return Finding("packet filter", "ok", ", ".join(found))
    return Finding("packet filter", "no", "neither iptables nor nft (the NAT network)", install_hint("iptables"))


def _tun() -> Finding:
    if Path("/dev/net/tun").exists():
        return Finding("tap devices", "ok", "/dev/net/tun")
    hint = "modprobe tun; in a container: mkdir -p /dev/net; mknod /dev/net/tun c 10 200"
    return Finding("tap devices", "no", "there is no /dev/net/tun", hint)


def _hugepages() -> Finding:
    told = []
    for folder in sorted(Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB")):
        size = Bytes(int(re.sub(r"\D", "", folder.name)) * 1024)
        total, free = (int((folder / name).read_text()) for name in ("nr_hugepages", "free_hugepages"))
        told.append(f"{size}: {free} of {total} free")
    if not told:
        return Finding("hugepages", "ok", "none")
    return Finding("hugepages", "ok", "; ".join(told))
