"""A libvirtd that hangs as a whole: keepalive finds out, and the connection is made anew."""

import socket
import threading
import time
from pathlib import Path

import pytest

from vmlab.virt import connection as connection_module
from vmlab.virt.connection import Host

REAL = "/run/libvirt/libvirt-sock"


class Relay:
    """Between us and libvirtd; when it is `stopped` nothing goes through, and nobody is told."""

    def __init__(self, path: Path) -> None:
        self.stopped = threading.Event()
        self.connections = 0
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._server.accept()
            self.connections += 1
            hanging = threading.Event()
            if self.connections == 1:
                hanging = self.stopped
            far = socket.socket(socket.AF_UNIX)
            far.connect(REAL)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink, hanging), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, hanging: threading.Event) -> None:
        while data := source.recv(65536):
            if not hanging.is_set():
                sink.sendall(data)


def test_keepalive_notices_and_the_call_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_KEEPALIVE_S", 1)
    monkeypatch.setattr(connection_module, "_KEEPALIVES", 1)
    relay = Relay(tmp_path / "s")
    host = Host(f"qemu+unix:///system?socket={tmp_path}/s")
    relay.stopped.set()
    begin = time.monotonic()
    assert host.call(lambda connection: connection.getHostname())
    assert time.monotonic() - begin < 20
    assert relay.connections == 2
