"""A second complete host on this machine: namespaces with a libvirtd, a virtlogd and an sshd of their own.

It is reached as any other machine is, `qemu+ssh://root@ADDRESS:PORT/system` over a veth pair, and shares neither
networks nor iptables nor files of libvirt's with the first. What ends is this process's own: the first process of the
namespace, and by --kill-child all that runs there.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sshd import Sshd

from vmlab.guest.keys import IDENTITY, BedKeys
from vmlab.runtime.lock import held
from vmlab.runtime.wait import sleep

from .certificates import Authority
from .conftest import COLD, MINUTES, ROOT, Vmlab

FIRST, SECOND = "198.18.77.1", "198.18.77.2"
"""The addresses of the two hosts in the network between them (of RFC 2544's range, which is for tests)."""
OTHER_FIRST, OTHER_SECOND = "198.18.87.1", "198.18.87.2"
"""The same of another second host, which may be there beside that one."""
SITE, SITE_THERE = "t-site", "t-site-there"
"""Bridges of the two, in one network beside that, in which the hosts have `IN_SITE`; not of the other one."""
IN_SITE = "198.18.78.1", "198.18.78.2"
_PREFIX = 24
_LIBVIRTD_S = 60


@dataclass(frozen=True, slots=True)
class SecondHost:
    """`holder` is the process id, seen from here, of its first process.

    `path` is to stand first in PATH: its ssh knows the host, whoever calls it, libvirt or vmlab.
    """

    holder: int
    sshd: Sshd
    path: Path
    folder: Path
    address: str

    @property
    def uri(self) -> str:
        """As a topology's `hosts` names it."""
        return f"qemu+ssh://root@{self.address}:{self.sshd.port}/system"

    def tls_uri(self, client: str = "client") -> str:
        """The same libvirt by TLS. A `stranger` knows another authority, and is known to that one alone.

        One that is `mixed` has a stranger's certificate and knows the authority.
        """
        return f"qemu+tls://{self.address}/system?pkipath={self.folder / client}"

    @property
    def ssh(self) -> str:
        """As a topology has it beside such a URI."""
        return f"root@{self.address}:{self.sshd.port}"

    def sh(self, script: str) -> str:
        """Run a script there; its standard output."""
        done = subprocess.run([*inside(self.holder), "sh", "-ec", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cut_off(self, *, really: bool = True) -> None:
        """Nobody hears anything of the other any more, and nothing says so; or they do again."""
        how = "-I" if really else "-D"
        self.sh(f"iptables -w {how} INPUT -i eth0 -j DROP; iptables -w {how} OUTPUT -o eth0 -j DROP")

    def fence_agent(self, domain: str) -> str:
        """The words of a fence agent, which takes a domain there for the whole host: it kills its QEMU, and looks."""
        pid = f"/run/libvirt/qemu/{domain}.pid"
        alive = f'[ -e {pid} ] && kill -0 "$(cat {pid})" 2>/dev/null'
        script = (
            f'case $2 in off) kill -9 "$(cat {pid})"; while {alive}; do sleep 0.1; done ;; '
            f"status) {alive} || exit 2 ;; *) exit 1 ;; esac"
        )
        return shlex.join((*inside(self.holder), "sh", "-c", script, "fence"))

    @property
    def images(self) -> Path:
        """Its image store, seen from here."""
        return self.folder / "lib/vmlab/images"

    def remains(self, bed: str) -> list[str]:
        """Whatever is left of a bed there: libvirt's objects, files, locks, links."""
        found = self.sh("virsh -q list --all --name; virsh -q net-list --all --name; ls /run/lock/vmlab || :").split()
        found += [path.name for path in (self.folder / "lib/vmlab/beds").glob("*")]
        left = [name for name in found if name.startswith(f"{bed}.") or f".{bed}." in name]
        return left + self.sh(f"ip -o link show | grep -F 'vmlab {bed}.' || :").splitlines()


class OverHosts(Vmlab):
    """The command, whose ssh knows the second host."""

    def __init__(self, state: Path, second: SecondHost) -> None:
        super().__init__(state)
        self.environment |= COLD  # those of the second host boot in any case, and no bed is ready without them
        self.environment["PATH"] = f"{second.path}:{self.environment['PATH']}"
        self.second = second

    def up(self, file: str) -> None:
        self.run("up", file, "--accel", "tcg", deadline_s=15 * MINUTES)


@contextmanager
def second_host(work: Path, *, other: bool = False) -> Iterator[SecondHost]:
    """The host, whose files are below `work`; all of it is gone afterwards. Only root may. There is one at a time.

    The `other` one may be there at the same time: tests of real Lustre are long, and run beside the rest.
    """
    first, second = (OTHER_FIRST, OTHER_SECOND) if other else (FIRST, SECOND)
    only = ExitStack()
    only.enter_context(held(f"tests.{second}", what="the second host of the tests", wait_s=30 * MINUTES))
    (work / "lib/vmlab").mkdir(parents=True)
    (work / "lib").chmod(0o755)
    _certified(work, second)
    unshare = ("unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
    argv = (*unshare, "sh", str(Path(__file__).with_suffix(".sh")), str(work), sys.executable)
    with (work / "setup.log").open("w") as log:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    sshd = None
    try:
        holder = _holder(process, work)
        link = f"vmt{process.pid}"
        there = ("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(holder))
        subprocess.run(there, check=True)
        _address(link, first)
        _address("eth0", second, *inside(holder))
        if not other:
            _bridged(holder, f"vms{process.pid}")
        keys = BedKeys.fresh(work / "keys")
        keys.write(("second",))
        sshd = Sshd(work / "sshd", keys, "second", address=second, inside=inside(holder))
        sshd.start()
        yield SecondHost(holder, sshd, _ssh(work, keys, sshd, second), work, second)
    finally:
        if sshd is not None:
            sshd.stop()
        process.kill()  # and with it, by --kill-child, all that runs there; its ends of the veth pairs end the others
        process.wait()
        if not other:
            subprocess.run(("ip", "link", "delete", SITE), check=False, capture_output=True)
        shutil.rmtree(work / "lib", ignore_errors=True)
        only.close()


def _certified(work: Path, address: str) -> None:
    """libvirtd's configuration, with certificates for it and for two clients."""
    authority = Authority("tests")
    authority.server(work / "server", address)
    authority.client(work / "client")
    Authority("others").client(work / "stranger")
    shutil.copytree(work / "stranger", work / "mixed")
    shutil.copy(work / "client/cacert.pem", work / "mixed")
    own = work / "server"
    (work / "libvirtd.conf").write_text(
        f'ca_file = "{own}/cacert.pem"\ncert_file = "{own}/servercert.pem"\nkey_file = "{own}/serverkey.pem"\n'
    )


def inside(holder: int) -> tuple[str, ...]:
    """What brings a command there."""
    return "nsenter", "--target", str(holder), "--mount", "--net", "--uts", "--pid"


def _address(link: str, address: str, *there: str) -> None:
    subprocess.run((*there, "ip", "address", "add", f"{address}/{_PREFIX}", "dev", link), check=True)
    subprocess.run((*there, "ip", "link", "set", link, "up"), check=True)


def _bridged(holder: int, link: str) -> None:
    """A veth pair whose ends are on bridges, each host's own."""
    subprocess.run(
        ("ip", "link", "add", link, "type", "veth", "peer", "name", "eth1", "netns", str(holder)), check=True
    )
    ends = ((link, SITE, IN_SITE[0], ()), ("eth1", SITE_THERE, IN_SITE[1], inside(holder)))
    for end, bridge, address, there in ends:
        subprocess.run((*there, "ip", "link", "add", bridge, "type", "bridge"), check=True)
        subprocess.run((*there, "ip", "link", "set", end, "master", bridge, "up"), check=True)
        _address(bridge, address, *there)


def _holder(process: "subprocess.Popen[bytes]", work: Path) -> int:
    """The first process there, when libvirtd answers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for _ in range(_LIBVIRTD_S * 10):
        assert process.poll() is None, (work / "setup.log").read_text()
        sleep(0.1)
        for child in children.read_text().split():
            # Before its last step the machine's own libvirtd would answer.
            if b"reaper.py" not in Path(f"/proc/{child}/cmdline").read_bytes():
                continue
            asked = (*inside(int(child)), "virsh", "-q", "-c", "qemu:///system", "uri")
            if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
                return int(child)
    raise AssertionError((work / "setup.log").read_text())


def _ssh(work: Path, keys: BedKeys, sshd: Sshd, address: str) -> Path:
    """A folder with the ssh of a user who knows the host: ssh finds its own files by passwd, whatever HOME says."""
    folder = work / "ssh"
    folder.mkdir()
    known = folder / "known_hosts"
    known.write_text(f"[{address}]:{sshd.port} {keys.host_key('second').public}\n")
    config = folder / "config"
    config.write_text(
        f"IdentityFile {keys.folder / IDENTITY}\nUserKnownHostsFile {known}\nGlobalKnownHostsFile none\n"
        "IdentityAgent none\nIdentitiesOnly yes\n"
    )
    for name in ("ssh", "scp"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {shutil.which(name)} -F {shlex.quote(str(config))} "$@"\n')
        program.chmod(0o755)
    return folder
