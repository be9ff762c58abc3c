"""The one lab host of a cache folder: start, find, enter, end. Once it stands ready it is stored, and loaded next time.

In the cache: `image-*` (see image.py), `images-*` (see demo.py), `state` (a stored machine
with its disks), `run` (the running one: its disks, console, monitor, ssh port).
"""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from labhost.demo import ensure_images
from labhost.hardware import CELL_GIB, arguments, plugged
from labhost.image import ensure_image, qemu_command
from labhost.qmp import Monitor
from vmlab.errors import HostError
from vmlab.runtime.process import Result, run
from vmlab.runtime.wait import Deadline, now, sleep, until
from vmlab.virt.tsc import kernel_parameters

_BOOT_S = 400.0
_SILENT_S = 120.0  # of the console: an emulated host that stops in early interrupts does not go on
_LOAD_S = 90.0
_CONSOLE_LINES = 30
_NAME = "lab-host"
# libvirt asks QEMU what it can do and remembers it; better before the machine is stored than after.
_WARM = "systemctl -q is-active libvirtd && virsh -q domcapabilities --virttype kvm >/dev/null && virsh -q nodedev-list"


def cache() -> Path:
    """`VMLAB_LAB_HOST_DIR`, else ~/.cache/vmlab/lab-host."""
    set_by_user = os.environ.get("VMLAB_LAB_HOST_DIR")
    return Path(set_by_user) if set_by_user else Path.home() / ".cache/vmlab/lab-host"


@dataclass(frozen=True, slots=True)
class LabHost:
    """A lab host, running or not; each of its two cells has `cell_gib` of memory when it starts."""

    folder: Path
    cell_gib: int = CELL_GIB

    @property
    def _run(self) -> Path:
        return self.folder / "run"

    @property
    def pid(self) -> int | None:
        """The QEMU process, if it runs."""
        try:
            pid = int((self._run / "pid").read_text())
            runs = str(self._run).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if runs else None

    def up(self) -> str:
        """Have it running as recipe, hardware and images are now; says what that took: "runs", "loaded" or "booted"."""
        self.folder.mkdir(parents=True, exist_ok=True)
        image = ensure_image(self.folder)
        images = ensure_images(self.folder)
        parameters = kernel_parameters()
        told = [str(image), str(images), *arguments(image, self._run, 0, parameters, self.cell_gib), _WARM]
        key = hashlib.sha256("\n".join(told).encode()).hexdigest()
        if self.pid is not None and _read(self._run / "key") == key and self.ssh("true", deadline_s=30).ok:
            return "runs"
        self.down()
        if _read(self.folder / "state/key") == key:
            try:
                self._start(image, images, parameters, load=True)
            except HostError as error:
                _tell(f"{error.message}; it boots instead")
            else:
                (self._run / "key").write_text(key)
                return "loaded"
        for last in (False, True):
            try:
                self._start(image, images, parameters, load=False)
                break
            except HostError as error:
                _tell(error.message)
                if last:
                    raise
        self._store(key)
        (self._run / "key").write_text(key)
        return "booted"

    def down(self) -> None:
        """End it; nothing of this run stays."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGTERM)
            if not until(lambda: self.pid is None, Deadline.after(10)):
                os.kill(pid, signal.SIGKILL)
                until(lambda: self.pid is None, Deadline.after(10))
        self._leave_ssh()
        shutil.rmtree(self._run, ignore_errors=True)

    @property
    def cable(self) -> Path:
        """Where the end of a cable from its switch is."""
        return self._run / "cable"

    def plug(self, far: Path) -> None:
        """A cable from its switch to the end `far` of another one's, which is to be plugged in there, too.

        Its igb and their VFs are on one Ethernet with that one's then. It has one cable. HostError if it does not run.
        """
        if self.pid is None:
            raise HostError(f"the lab host of {self.folder} does not run", hint="scripts/lab-host up")
        ends = {end: {"type": "unix", "path": str(path)} for end, path in (("local", self.cable), ("remote", far))}
        monitor = Monitor(self._run / "monitor")
        try:
            for there in ("cable-port", "cable"):
                with contextlib.suppress(HostError):  # there is none as a rule
                    monitor.do("netdev_del", id=there)
            monitor.do("netdev_add", type="dgram", id="cable", **ends)
            monitor.do("netdev_add", type="hubport", id="cable-port", hubid=0, netdev="cable")
        finally:
            monitor.close()

    def ssh_command(self, *command: str) -> tuple[str, ...]:
        """ssh into it as root; as ever, the shell there splits the words again. HostError if it does not run."""
        told = [word for name, value in self._way_in().items() for word in ("-o", f"{name}={value}")]
        return ("ssh", "-F", "none", *told, f"root@{_NAME}", *command)

    def ssh_config(self) -> str:
        """The file that leads ssh in, and libvirt by it: qemu+ssh://root@lab-host/system."""
        lines = (f"  {name} {value}\n" for name, value in self._way_in().items())
        return f"Host {_NAME}\n{''.join(lines)}"

    def _way_in(self) -> dict[str, str]:
        port = _read(self._run / "port")
        if self.pid is None or port is None:
            raise HostError("the lab host does not run", hint="scripts/lab-host up")
        image = Path(_read(self._run / "image") or "")
        return {
            "HostName": "127.0.0.1",
            "Port": port,
            "HostKeyAlias": _NAME,
            "IdentityFile": str(image / "key"),
            "UserKnownHostsFile": str(image / "known_hosts"),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
            "ConnectTimeout": "20",
            # Emulated, a key exchange takes a second: one connection serves all.
            "ControlPath": str(self._run / "ssh"),
            "ControlMaster": "auto",
            "ControlPersist": "yes",
            "ServerAliveInterval": "30",
            "ServerAliveCountMax": "4",
        }

    def ssh(self, *command: str, deadline_s: float, stdin: str | bytes | None = None) -> Result:
        """Run a command in it."""
        return run(self.ssh_command(*command), deadline_s=deadline_s, stdin=stdin)

    def console(self, lines: int = _CONSOLE_LINES) -> str:
        """The end of what its kernel and systemd printed."""
        try:
            text = (self._run / "console").read_bytes()
        except OSError:
            return ""
        return "\n".join(text.decode(errors="replace").replace("\r", "").splitlines()[-lines:])

    def _start(self, image: Path, images: Path, parameters: str, *, load: bool) -> None:
        self.down()
        self._run.mkdir(mode=0o700)
        begin = now()
        port = _free_port()
        (self._run / "port").write_text(str(port))
        (self._run / "image").write_text(str(image))
        for name, base in (("root", image / "root.raw"), ("images", images)):
            overlay = self._run / f"{name}.qcow2"
            if load:
                shutil.copy(self.folder / "state" / overlay.name, overlay)
            else:
                _do("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(overlay))
        command = [*qemu_command(image), *arguments(image, self._run, port, parameters, self.cell_gib)]
        command += ["-daemonize", "-pidfile", str(self._run / "pid")]
        _do(*command, *(("-incoming", "defer") if load else ()))
        try:
            if load:
                self._load()
            self._wait(_LOAD_S if load else _BOOT_S)
        except HostError as error:
            end = self.console()
            self.down()
            raise HostError(f"{error.message}; the end of its console:\n{end}") from error
        _tell(f"lab host: {'loaded' if load else 'booted'} in {now() - begin:.0f} s")
        if load:
            self._ready()

    def _wait(self, deadline_s: float) -> None:
        """Until sshd answers. HostError if QEMU ended, the console is silent for too long, or time is up."""
        deadline = Deadline.after(deadline_s)
        console, size, heard = self._run / "console", -1, now()
        while not self._answers():
            if self.pid is None:
                raise HostError("the lab host's QEMU ended")
            if console.stat().st_size != size:
                size, heard = console.stat().st_size, now()
            if now() - heard > _SILENT_S:
                raise HostError(f"the lab host printed nothing for {_SILENT_S:.0f} s")
            if deadline.passed:
                raise HostError(f"the lab host did not come up within {deadline_s:.0f} s")
            sleep(0.5)

    def _answers(self) -> bool:
        """QEMU accepts connections at once, so only sshd's own greeting tells."""
        try:
            with socket.create_connection(("127.0.0.1", int(_read(self._run / "port") or 0)), timeout=5) as door:
                return door.recv(4) == b"SSH-"
        except OSError:
            return False

    def _ready(self) -> None:
        """What no stored machine has: the right time, and what is plugged in late."""
        monitor = Monitor(self._run / "monitor")
        try:
            for command, told in plugged(self._run):
                monitor.do(command, **told)
        finally:
            monitor.close()
        self._inside(f"date -s @{time.time():.0f} >/dev/null", 60)
        listed = "virsh -q nodedev-list --cap pci | grep -c -e 22_00_0 -e 64_00_0"
        self._inside(f"until [ $({listed}) = 2 ]; do sleep 0.5; done", 120)

    def _store(self, key: str) -> None:
        """Store the machine that just booted, then let it run on."""
        begin = now()
        self._inside(f"until {_WARM}; do sleep 1; done >/dev/null 2>&1; sync", 300)
        self._leave_ssh()
        state = self.folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(mode=0o700)
        monitor = Monitor(self._run / "monitor")
        try:
            monitor.do("stop")
            monitor.migrate("migrate", state / "memory")
            for overlay in self._run.glob("*.qcow2"):
                shutil.copy(overlay, state)
            monitor.do("cont")
        finally:
            monitor.close()
        self._wait(_LOAD_S)
        self._ready()
        (state / "key").write_text(key)
        _tell(f"lab host: stored in {now() - begin:.0f} s")

    def _load(self) -> None:
        monitor = Monitor(self._run / "monitor")
        try:
            monitor.migrate("migrate-incoming", self.folder / "state/memory")
            monitor.do("cont")
        finally:
            monitor.close()

    def _inside(self, script: str, deadline_s: float) -> None:
        result = self.ssh(script, deadline_s=deadline_s)
        if not result.ok:
            why = f"no end after {deadline_s:.0f} s" if result.timed_out else result.last_line
            raise HostError(f"in the lab host, {script}: {why}")

    def _leave_ssh(self) -> None:
        """End the shared connection."""
        if (self._run / "ssh").exists():
            run(("ssh", "-F", "none", "-o", f"ControlPath={self._run / 'ssh'}", "-O", "exit", "x"), deadline_s=10)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
        return port


def _do(*argv: str) -> None:
    result = run(argv, deadline_s=120)
    if not result.ok:
        raise HostError(f"{Path(argv[0]).name}: {'no end' if result.timed_out else result.stderr.strip()[-1000:]}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
