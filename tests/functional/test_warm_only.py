"""A node that is to be a clone, whose template is gone when its turn comes: it boots, unless nobody is to."""

from dataclasses import replace
from pathlib import Path

import pytest

from vmlab.errors import VmlabError
from vmlab.lab.beds import up as module
from vmlab.lab.beds.clone import Source
from vmlab.lab.beds.decide import Prepared
from vmlab.lab.beds.up import Raised, up
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.store.templates import Templates
from vmlab.topology import loads
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe

BED = loads("name: w\nnodes: {'n[1-2]': {role: client, memory: 256MiB}}\n", "w.yaml")


class Told(Silent):
    def __init__(self) -> None:
        self.template = True
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Told:
    """n1 has a template until its turn, as `up` sees it."""

    told = Told()

    def sources(_hosts: object, prepared: Prepared, *_: object, **__: object) -> dict[str, Source]:
        source = Source(Templates(tmp_path), "0" * 16, prepared.nodes["n1"].xml, tmp_path)
        return {"n1": source} if told.template else {}

    monkeypatch.setattr(module, "sources", sources)
    return told


def bring_up(host: Host, told: Told, warm: str) -> Raised:
    bed = replace(BED, warm=warm)
    return up(only(host), bed, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=told)


def running(host: Host) -> set[str]:
    return {name for name, domain in observe(host).bed("w").nodes.items() if domain.running}


def test_it_boots_and_that_is_told(host: Host, told: Told) -> None:
    assert bring_up(host, told, "auto").clones == frozenset()
    assert running(host) == {"n1", "n2"}
    assert [line for line in told.warnings if line.startswith("n1: ") and line.endswith("; it boots")]


def test_where_none_is_to_boot_that_fails_and_the_next_up_finds_it_new(host: Host, told: Told) -> None:
    with pytest.raises(VmlabError, match=r"n1 is no template's clone, and is not to boot \(--warm only\): ") as raised:
        bring_up(host, told, "only")
    assert raised.value.status == 4
    assert not [line for line in told.warnings if "boots" in line]
    assert running(host) == {"n2"}
    told.template = False
    raised = bring_up(host, told, "only")
    assert [action.kind for action in raised.actions if action.node == "n1"] == ["create-volume", "start-domain"]
    assert running(host) == {"n1", "n2"}
