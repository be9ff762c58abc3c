"""QEMU's monitor: https://www.qemu.org/docs/master/interop/qmp-spec.html."""

import json
import socket
from pathlib import Path
from typing import Any

from vmlab.errors import HostError
from vmlab.runtime.wait import Deadline, until

_PATIENCE_S = 60.0
_STORE_S = 300.0


class Monitor:
    """A connection to the monitor at a socket; OSError if nobody listens there."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_PATIENCE_S)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("r")
        self._file.readline()  # the greeting
        self.do("qmp_capabilities")

    def do(self, command: str, /, **arguments: object) -> Any:
        """What the command returns; HostError if it fails."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        for line in self._file:
            answer = json.loads(line)
            if "error" in answer:
                raise HostError(f"the lab host's QEMU refused {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise HostError(f"the lab host's QEMU ended at {command}")

    def migrate(self, command: str, path: Path) -> None:
        """Store the machine in a file (`migrate`) or load it (`migrate-incoming`), as fast as the disk is."""
        self.do("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.do(command, uri=f"file:{path}")

        def done() -> bool:
            told = self.do("query-migrate")
            if told.get("status") == "failed":
                raise HostError(f"the lab host's state: {told.get('error-desc', 'QEMU does not say why')}")
            return bool(told.get("status") == "completed")

        if not until(done, Deadline.after(_STORE_S)):
            raise HostError(f"the lab host's state: {command} takes more than {_STORE_S:.0f} s")

    def close(self) -> None:
        """Leave; the machine runs on."""
        self._file.close()
        self._socket.close()
