"""Stages of steps in real guests, with commands that need no Lustre."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from vmlab.guest.child import no_watch
from vmlab.lab.ground.bed import DEFAULT_URI, existing
from vmlab.lab.ground.guests import guests
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.lab.ground.stages import drive
from vmlab.plan.filesystems import Stage, Track
from vmlab.runtime.wait import Deadline
from vmlab.steps import Step
from vmlab.virt.connection import connected

from .conftest import Vmlab

BED = "t-stages"
NODES = ("oss1", "oss2")


@pytest.fixture(scope="module")
def file(vmlab: Vmlab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two servers with a disk that both see, and an LNet that nothing can bring up."""
    path = tmp_path_factory.mktemp("stages") / "stages.yaml"
    content = {
        "name": BED,
        "hosts": {"local": {"reserve": {"cpus": 0, "memory": "0B"}}},
        "fabrics": {"eth": {"kind": "ethernet", "lnet": "tcp"}},
        "nodes": {"oss[1-2]": {"role": ["mgs", "mds", "oss"], "memory": "512MiB", "fabrics": ["eth"]}},
        "filesystems": {
            "lustre": {
                "mgt": {"servers": "oss1", "size": "64MiB"},
                "mdts": [{"servers": "oss1", "size": "64MiB"}],
                "osts": [{"servers": ["oss1", "oss2"], "size": "64MiB"}],
            }
        },
    }
    path.write_text(yaml.safe_dump(content))
    vmlab.run("up", str(path), "--timings")
    yield str(path)
    vmlab.run("down", BED, "--yes")


def test_an_image_without_lustre_comes_up_without_file_systems(vmlab: Vmlab, file: str) -> None:
    vmlab.run("up", file)
    assert "carries no Lustre: the bed comes up without its file systems (lustre)" in vmlab.complaints
    assert "nothing to change" in vmlab.complaints
    for verb in (("fs", "status", file), ("fs", "mount", file), ("lnet", "ping", file)):
        vmlab.run(*verb, status={"status": 0, "mount": 4, "ping": 4}[verb[1]])
    assert {target["state"] for target in vmlab.json("fs", "status", file)["targets"]} == {"no Lustre"}
    assert {node["problem"] for node in vmlab.json("lnet", "show", file)} == {"no Lustre in the image demo"}


def written(path: str, text: str) -> Step:
    check = ("sh", "-c", 'grep -qxF "$2" "$1"', "vmlab", path, text)
    return Step(f"write {text}", check, (("sh", "-c", 'echo "$2" >>"$1"', "vmlab", path, text),))


def test_stages_go_through_all_guests(vmlab: Vmlab, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    del file
    monkeypatch.setenv("VMLAB_STATE_DIR", str(vmlab.state))
    disk = Path("/dev/disk/by-id/virtio-lustre-OST0000")
    stages = (
        Stage("first", tuple(Track(n, w, (written(f"/root/{w}", n),)) for n in NODES for w in ("a", "b", "c"))),
        Stage("second", tuple(Track(n, "disk", (Step("disk", ("test", "-b", str(disk)), ()),)) for n in NODES)),
    )
    with connected(DEFAULT_URI) as host:
        doors = guests(only(host), existing(only(host), BED))
        for door in doors.values():
            door.connect(Deadline.after(120))
        try:
            ran = [
                drive(stages, doors, watch=lambda _: no_watch, progress=Silent(), deadline=Deadline.after(300))
                for _ in range(2)
            ]
        finally:
            for door in doors.values():
                door.close()
    assert [[stage.applied for stage in run] for run in ran] == [[6, 0], [0, 0]]
    assert vmlab.run("ssh", BED, "oss2", "--", "cat", "/root/b") == "oss2\n"
