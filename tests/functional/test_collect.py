"""collect on libvirt's test driver: what the host has, and what becomes of the folder."""

import gzip
import json
from pathlib import Path

import pytest

from vmlab.errors import HostError, UsageError
from vmlab.lab.beds.collect import Wanted, collect
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.records.evidence import Evidence
from vmlab.topology import Topology
from vmlab.virt.connection import Host

from .test_up_down import bring_up

ALL = Wanted()


def collected(host: Host, folder: Path, wanted: Wanted = ALL, **texts: str) -> Evidence:
    told = {f"{name}.txt": ("a text", text) for name, text in texts.items()}
    return collect(only(host), "ha", wanted, folder, texts=told, progress=Silent())[0]


def test_what_the_host_has_is_there(host: Host, bed: Topology, tmp_path: Path) -> None:
    bring_up(host, bed)
    found = collected(host, tmp_path / "e", Wanted("@oss"), more="user=me password=hunter2")
    assert [node.node for node in found.nodes] == ["oss1", "oss2"]
    assert "<name>ha.oss1</name>" in (tmp_path / "e/oss1/domain.xml").read_text()
    assert (tmp_path / "e/more.txt").read_text() == "user=me password=[removed]"
    missing = {one.what: one.why for one in found.nodes[0].missing}
    assert missing["qemu.log"] == "nobody is behind libvirt's test driver"
    index = json.loads((tmp_path / "e/index.json").read_text())
    assert [node["node"] for node in index["nodes"]] == ["oss1", "oss2"]
    assert "## oss2 (running)" in (tmp_path / "e/index.md").read_text()


def test_a_long_text_is_packed_and_cut_to_its_end(host: Host, bed: Topology, tmp_path: Path) -> None:
    bring_up(host, bed)
    found = collected(host, tmp_path / "e", long="x" * (9 << 20) + "end")
    (kept,) = found.kept
    assert (kept.file, kept.size, kept.cut) == ("long.txt.gz", 8 << 20, True)
    text = gzip.decompress((tmp_path / "e/long.txt.gz").read_bytes())
    assert len(text) == 8 << 20
    assert text.endswith(b"xend")


def test_a_folder_that_is_there_is_left_alone(host: Host, bed: Topology, tmp_path: Path) -> None:
    bring_up(host, bed)
    (tmp_path / "e").mkdir()
    with pytest.raises(HostError, match="is there already"):
        collected(host, tmp_path / "e")
    assert list((tmp_path / "e").iterdir()) == []
    assert not (tmp_path / "e.partial").exists()


def test_no_such_bed_and_no_such_node(host: Host, bed: Topology, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        collected(host, tmp_path / "e")
    bring_up(host, bed)
    with pytest.raises(UsageError):
        collected(host, tmp_path / "e", Wanted("oss9"))
    assert list(tmp_path.glob("e*")) == []
