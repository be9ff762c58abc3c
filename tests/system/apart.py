"""A libvirt host of its own within this machine: other mounts, network and processes, and so another libvirtd.

Its QEMU is called /usr/libexec/qemu-kvm, as RHEL's is, and there is none of another name. The machine's own libvirtd,
networks and files are not touched: what is written there goes to a folder that the test throws away.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .conftest import COLD, ROOT, Vmlab

# $1 is a folder on disk, whose `lib` becomes /var/lib/libvirt; $2 the text of /etc/hosts, $3 that of resolv.conf.
_SETUP = r"""
set -e
mount --make-rprivate /
ip link set lo up
umount -R /sys  # with it the cgroups, which are the machine's
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
for folder in usr/bin usr/libexec etc/libvirt; do
  mkdir -p "$1/$folder/upper" "$1/$folder/work"
  mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$1/$folder/upper,workdir=$1/$folder/work" "/$folder"
done
for folder in lib cache log; do
  mkdir -p "$1/$folder"
  mount --bind "$1/$folder" "/var/$folder/libvirt"
done
printf '%s\n' "$2" > "$1/hosts"
printf '%s\n' "$3" > "$1/resolv.conf"
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/resolv.conf" /etc/resolv.conf
cp /usr/bin/qemu-system-x86_64 /usr/libexec/qemu-kvm
rm -rf /usr/bin/qemu-system-* /usr/bin/kvm /etc/libvirt/qemu /etc/libvirt/storage
virtlogd -d
exec "$4" scripts/reaper.py libvirtd -d
"""
_LIBVIRTD_S = 30


class Apart(Vmlab):
    """The command on that host. `holder` is the process id, seen from here, of its first process."""

    def __init__(self, state: Path, holder: int) -> None:
        super().__init__(state)
        self.environment |= COLD  # its store has no templates, and one node
        self.holder = holder
        self.up = ""  # what `up` complained of

    def entering(self, *argv: str) -> list[str]:
        enter = ("nsenter", "--target", str(self.holder), "--mount", "--net", "--pid")
        return [*enter, "env", "-C", str(ROOT), *argv]

    def argv(self, *arguments: str) -> list[str]:
        return self.entering(*super().argv(*arguments))

    def sh(self, script: str) -> str:
        """Run a script there; PYTHON is this one."""
        argv = self.entering("env", f"PYTHON={sys.executable}", "sh", "-ec", script)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def apart(work: Path, images: Path, *, hosts: str = "127.0.0.1 localhost", resolv_conf: str = "") -> Iterator[Apart]:
    """The host, with the demo image of the store `images`; all of it is gone afterwards. Only root may."""
    store = work / "lib/vmlab/images"
    store.mkdir(parents=True)
    store.parent.chmod(0o755)
    for file in images.glob("demo*"):
        shutil.copy(file, store)
    unshare = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    argv = (*unshare, "sh", "-c", _SETUP, "setup", str(work), hosts, resolv_conf, sys.executable)
    with (work / "setup.log").open("w") as log:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield _ready(process, work)
    finally:
        process.kill()  # and with it, by --kill-child, all that runs there
        process.wait()


def _ready(process: "subprocess.Popen[bytes]", work: Path) -> Apart:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for _ in range(_LIBVIRTD_S * 10):
        assert process.poll() is None, (work / "setup.log").read_text()
        time.sleep(0.1)
        for child in children.read_text().split():
            # Before its last step the machine's own libvirtd would answer.
            if b"reaper.py" not in Path(f"/proc/{child}/cmdline").read_bytes():
                continue
            there = Apart(work / "state", int(child))
            asked = there.entering("virsh", "-q", "-c", "qemu:///system", "uri")
            if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
                return there
    raise AssertionError((work / "setup.log").read_text())
