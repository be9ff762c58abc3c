"""A clone that finds no space: the one word that its node's boot is told with."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmlab.errors import HostError
from vmlab.lab.beds.clone import Source, clone
from vmlab.store.templates import Templates
from vmlab.values import identity

XML = (Path(__file__).parent / "data/oss1.xml").read_text()
KEY = "0123456789abcdef"
NODE: Any = SimpleNamespace(name="oss1", root=SimpleNamespace(name="bed.oss1.root.qcow2"), domain="bed.oss1")


@pytest.mark.parametrize("full", [identity.clone_disk, identity.clone_memory], ids=["disk", "memory"])
def test_it_says_so_before_its_domain_is_touched(tmp_path: Path, full: Any) -> None:
    templates = Templates(tmp_path)
    templates.folder.mkdir()
    for suffix in (".json", ".qcow2", ".memory"):
        templates.file(KEY, suffix).write_bytes(b"x" * 5000)
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / full("bed", "oss1")).symlink_to("/dev/full")  # where every byte is one too many
    (pool / NODE.root.name).write_text("the disk that it boots from")
    nobody: Any = None
    with pytest.raises(HostError, match="No space left on device"):
        clone(nobody, Source(templates, KEY, XML, pool), "bed", NODE)
    assert (pool / NODE.root.name).read_text() == "the disk that it boots from"
