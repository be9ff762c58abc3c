"""A machine that is no guest beside three that are: a network namespace on the bed's bridges, with an sshd in it."""

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
from .test_workloads import BED, TOPOLOGY, bed

__all__ = ["bed"]
_LAST = -6  # of a subnet: far from where guests begin


@pytest.fixture
def file(bed: Vmlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The bed's topology with the machine cn1 in it, which is on its management network and on `eth`."""
    places = {place["fabric"]: IPv4Interface(place["ip"]) for place in _status(bed, BED)["n1"]["addresses"]}
    taken = {name: IPv4Interface((place.network[_LAST], place.network.prefixlen)) for name, place in places.items()}
    keeper = subprocess.Popen(("unshare", "--net", "sleep", "3600"))
    ours, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{keeper.pid}/ns/net")
    assert until(lambda: theirs.readlink() != ours.readlink(), Deadline.after(10))
    inside = ("nsenter", "--target", str(keeper.pid), "--net", "--")
    for number, (fabric, place) in enumerate(taken.items()):
        near = f"t-cn1-{number}"
        peer = ("peer", "name", fabric, "netns", str(keeper.pid))
        _ip("link", "add", near, "type", "veth", *peer)
        _ip("link", "set", near, "master", bridge_name(BED, fabric), "up")
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
    path.write_text(TOPOLOGY.replace('nodes: {"n', f'nodes: {{"cn1": {json.dumps(machine)}, "n'))
    yield str(path)
    sshd.stop()
    keeper.kill()  # its ends of the pairs go with its namespace, and so do ours
    keeper.wait()


def _ip(*words: str, inside: tuple[str, ...] = ()) -> None:
    subprocess.run((*inside, "ip", *words), check=True)


def _status(bed: Vmlab, named: str) -> dict[str, dict[str, list[dict[str, str]]]]:
    return {node["name"]: node for node in bed.json("status", named, "--no-guests")}


def test_commands_and_files_reach_guests_and_machines_alike(bed: Vmlab, file: str, tmp_path: Path) -> None:
    answers = json.loads(bed.run("exec", file, "-n", "@client", "-o", "json", "--", "cat", "/proc/uptime"))
    assert {answer["node"]: answer["status"] for answer in answers} == dict.fromkeys(("n1", "n2", "n3", "cn1"), 0)
    told = _status(bed, file)
    assert {name: node["state"] for name, node in told.items()} == {
        **dict.fromkeys(("n1", "n2", "n3"), "running"),
        "cn1": "external",
    }
    bed.run("plan", file, "--detailed-exitcode")
    bed.run("power", "off", file, "cn1", status=2)
    (tmp_path / "one").write_text("from here")
    there, guest = f"cn1:{tmp_path}/two", "n2:/root/three"
    for source, destination in (("one", there), (there, guest), (guest, "four")):
        # The topology of a bed that is only named is looked for where one is.
        subprocess.run(bed.argv("cp", source, destination), cwd=tmp_path, env=bed.environment, check=True)
    assert (tmp_path / "four").read_text() == "from here"
