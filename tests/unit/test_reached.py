"""How far guests have come: whoever does not answer keeps nobody else from being asked."""

import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmlab.guest.ssh import Guest
from vmlab.lab.beds import reached as module
from vmlab.lab.beds.status import NodeStatus
from vmlab.plan.observed import ObservedBed

HOST = SimpleNamespace(local=True, simulated=False)
HOSTS: Any = SimpleNamespace(have_guests=True, whole=True, of=lambda _: HOST)
DOMAIN: Any = SimpleNamespace(state="running", facts=SimpleNamespace(name="bed.oss"))
MANY = 60


class Silent:
    """Takes connections, and ends them all when the last one has come, or none comes any more."""

    def __init__(self, expected: int) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=expected)
        self.listening.settimeout(30)
        self.together = 0
        self._expected = expected
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        connections = []
        try:
            while len(connections) < self._expected:
                connections.append(self.listening.accept()[0])
        except TimeoutError:
            pass
        self.together = len(connections)
        for connection in connections:
            connection.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    server = Silent(MANY)
    yield server
    server.thread.join()
    server.listening.close()


def status(name: str, state: str = "running") -> NodeStatus:
    stage = "" if state == "running" else "off"
    return NodeStatus(name, ("oss",), state, stage, 1, 512, "any", (), {}, (), "demo", "/nowhere/console.log")


def test_all_are_asked_at_the_same_time(silent: Silent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [f"oss{number}" for number in range(MANY)]
    port = silent.listening.getsockname()[1]
    doors = {name: Guest("bed", name, IPv4Address("127.0.0.1"), "root", tmp_path, port=port) for name in names}
    monkeypatch.setattr(module, "doors", lambda _hosts, _bed: doors)
    told: list[str] = []
    bed = ObservedBed("bed", dict.fromkeys(names, DOMAIN))
    monkeypatch.setattr(ObservedBed, "metadata", {})
    nodes = [status("off1", "shut off"), *map(status, names)]
    found = module.reached(HOSTS, bed, nodes, lambda node: told.append(node.name))
    assert [(node.name, node.stage) for node in found] == [("off1", "off"), *((name, "domain") for name in names)]
    assert sorted(told) == sorted(names)
    silent.thread.join()
    assert silent.together == MANY
