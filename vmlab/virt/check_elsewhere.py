"""What beds need of another machine besides its libvirt: a shell without questions, programs, devices."""

from collections.abc import Iterator

from vmlab.errors import VmlabError
from vmlab.shell import script
from vmlab.virt.connection import Host
from vmlab.virt.finding import Finding, Verdict
from vmlab.virt.machine import machine_of

_ASK = script(__file__, "check_elsewhere.sh")
_ASK_S = 60.0
# Why, in which package it usually is, and whether a bed comes up without it.
_PROGRAMS = {
    "ip": ("its networks", "iproute2", True),
    "bridge": ("its networks", "iproute2", True),
    "flock": ("its locks", "util-linux", True),
    "sha256sum": ("images that arrive whole", "coreutils", True),
    "qemu-io": ("`shared: FOLDER`", "qemu-utils or qemu-img", False),
    "qemu-nbd": ("`shared: export`, on the first host", "qemu-utils or qemu-img", False),
}
_VXLAN = "joins networks over several hosts"


def machine_there(host: Host) -> list[Finding]:
    """All of it. Nothing is changed."""
    try:
        machine = machine_of(host)
        asked = machine.run(("sh", "-c", _ASK, "vmlab", *_PROGRAMS), deadline_s=_ASK_S)
        meant = "" if host.ssh is None else host.call(lambda connection: connection.getHostname())
    except VmlabError as error:
        return [Finding("shell", "no", error.message, error.hint)]
    if not asked.ok:
        return [Finding("shell", "no", asked.last_line, machine.try_it)]
    return list(_found(dict(line.split(" ", 1) for line in asked.stdout.splitlines() if " " in line), meant))


def _found(there: dict[str, str], meant: str) -> Iterator[Finding]:
    names = there.get("machine", "").split()
    if meant and meant not in names:
        why = f"libvirt is on the machine {meant}, and ssh leads to {names[0] if names else 'another one'}"
        yield Finding("shell", "no", why, "`ssh` of that host in the topology file")
    elif there.get("user") == "0":
        yield Finding("shell", "ok", "ssh leads to root's")
    else:
        yield Finding("shell", "no", f"ssh leads to user {there.get('user')}", "root's login, or sudo without password")
    for program, (use, package, needed) in _PROGRAMS.items():
        if program in there:
            yield Finding(program, "ok", there[program])
        else:
            verdict: Verdict = "no" if needed else "warning"
            yield Finding(program, verdict, f"not installed ({use})", f"install {package}, there")
    if "tun" in there:
        yield Finding("tap devices", "ok", there["tun"])
    else:
        yield Finding("tap devices", "no", "there is no /dev/net/tun", "modprobe tun, there")
    if "vxlan" in there:
        yield Finding("VXLAN", "ok", there["vxlan"])
    else:
        yield Finding("VXLAN", "warning", f"its kernel has no module for it ({_VXLAN})", "modprobe vxlan, there")
