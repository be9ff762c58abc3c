"""A machine that is no guest beside guests: a network namespace on their bed's bridges, with an sshd in it."""

import json
import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from sshd import Sshd, UsersSsh

from vmlab.guest.keys import BedKeys
from vmlab.runtime.wait import Deadline, until
from vmlab.values.identity import bridge_name

from .conftest import Vmlab

_LAST = -6  # of a subnet: far from where guests begin


@pytest.fixture
def with_machine(bed: Vmlab, topology: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The bed's topology with the machine cn1 in it, which is on its management network and on `eth`."""
    first = bed.json("status", str(topology), "--no-guests")[0]
    places = {place["fabric"]: IPv4Interface(place["ip"]) for place in first["addresses"]}
    name = topology.read_text().split("name: ")[1].split()[0]
    taken = {name: IPv4Interface((place.network[_LAST], place.network.prefixlen)) for name, place in places.items()}
    keeper = subprocess.Popen(("unshare", "--net", "sleep", "3600"))
    ours, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{keeper.pid}/ns/net")
    assert until(lambda: theirs.readlink() != ours.readlink(), Deadline.after(10))
    inside = ("nsenter", "--target", str(keeper.pid), "--net", "--")
    for number, (fabric, place) in enumerate(taken.items()):
        near = f"t-cn1-{number}"
        peer = ("peer", "name", fabric, "netns", str(keeper.pid))
        _ip("link", "add", near, "type", "veth", *peer)
        _ip("link", "set", near, "master", bridge_name(name, fabric), "up")
        _ip("address", "add", str(place), "dev", fabric, inside=inside)
        _ip("link", "set", fabric, "up", inside=inside)
    keys, address = BedKeys.fresh(tmp_path / "keys"), str(taken["mgmt"].ip)
    keys.write(["cn1"])
    user = UsersSsh(tmp_path / "users", keys, monkeypatch)
    monkeypatch.setitem(bed.environment, "PATH", os.environ["PATH"])
    sshd = Sshd(tmp_path / "sshd", keys, "cn1", address=address, inside=inside)
    user.know(sshd.port, keys.host_key("cn1").public, address)
    sshd.start()
    machine = {
        "external": f"ssh://root@{address}:{sshd.port}",
        "role": "client",
        "fabrics": {"eth": {"address": str(taken["eth"].ip)}},
    }
    path = tmp_path / "bed.yaml"
    path.write_text(topology.read_text().replace('nodes: {"n', f'nodes: {{"cn1": {json.dumps(machine)}, "n'))
    yield str(path)
    sshd.stop()
    keeper.kill()  # its ends of the pairs go with its namespace, and so do ours
    keeper.wait()


def _ip(*words: str, inside: tuple[str, ...] = ()) -> None:
    subprocess.run((*inside, "ip", *words), check=True)
