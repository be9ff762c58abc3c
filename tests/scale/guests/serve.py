"""In place of a bed's guests, however many: whoever connects to an address meets the sshd of the node that has it.

One process accepts for all of them and starts `sshd -i` for each connection, with the node's host key. To be run as
root in a network namespace in which all addresses of beds are local: serve.py BED FOLDER NODES...
"""

import contextlib
import itertools
import json
import socket
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

from vmlab.guest.keys import BedKeys
from vmlab.plan.lease import _FIRST_HOST
from vmlab.values.addresses import RANGE

HERE = Path(__file__).parent
SSHD = "/usr/sbin/sshd"
CONFIG = f"""
AuthorizedKeysFile %s
StrictModes no
UsePAM no
PermitRootLogin yes
LogLevel ERROR
ForceCommand {HERE}/login
"""


class Guests:
    """All of them. Their keys are looked up when somebody comes: before `up` there are none."""

    def __init__(self, bed: str, folder: Path, nodes: list[str]) -> None:
        self._bed = bed
        self._folder = folder
        self._nodes = nodes
        self._keys: BedKeys | None = None
        for node in nodes:
            root = folder / node
            for part in ("etc/ssh", "root", "run/cloud-init", "run/systemd/system", "cloud/instance", "mnt"):
                (root / part).mkdir(parents=True)
            (root / "etc/hostname").write_text(f"{node}\n")
            (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
            (root / "etc/ssh/sshd_config").write_text("Include /etc/ssh/sshd_config.d/*.conf\n")
            (root / "mounts").touch()
            (root / "run/cloud-init/result.json").write_text(json.dumps({"v1": {"errors": []}}))

    def meet(self, connection: socket.socket) -> "subprocess.Popen[bytes]":
        """The sshd of the address that was called, at work."""
        place = int(IPv4Address(connection.getsockname()[0])) - int(RANGE[_FIRST_HOST])
        node = self._nodes[place]
        root = self._folder / node
        # Nobody's ~/.bashrc.
        options = ("-h", root / "etc/ssh/ssh_host_ed25519_key", "-o", f"SetEnv=NODE={root} HOME={root}")
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                (SSHD, "-i", "-e", "-f", self._config(), *options), stdin=connection, stdout=connection, stderr=log
            )

    def _config(self) -> Path:
        config, authorized = self._folder / "sshd_config", self._folder / "authorized"
        if self._keys is None:
            (secret,) = (self._folder.parent / "state").glob(f"hosts/*/beds/{self._bed}/secret")
            self._keys = BedKeys.of(secret.parent)
            authorized.write_text(f"{self._keys.public_key}\n")
            for node in self._nodes:
                key = self._folder / node / "etc/ssh/ssh_host_ed25519_key"
                key.touch(mode=0o600)
                key.write_text(self._keys.host_key(node).private)
            config.write_text(CONFIG % authorized)
        return config


def main() -> None:
    """Until it is ended."""
    bed, folder, *nodes = sys.argv[1:]
    guests = Guests(bed, Path(folder), nodes)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    at_work: list[subprocess.Popen[bytes]] = []
    with socket.create_server(("0.0.0.0", 22), backlog=4096) as server:  # noqa: S104 (nobody else is there)
        print("ready", flush=True)  # noqa: T201 (whoever started us waits for it)
        for number in itertools.count():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                at_work.append(guests.meet(connection))
            if number % 100 == 0:
                at_work = [sshd for sshd in at_work if sshd.poll() is None]


if __name__ == "__main__":
    main()
