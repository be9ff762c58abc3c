"""What `fs status` says of targets and clients, from what guests say and from who says nothing."""

from pathlib import Path
from typing import Any

import pytest

from vmlab.lab.filesystems import status as module
from vmlab.lab.filesystems.status import FsStatus
from vmlab.lustre import status
from vmlab.lustre.survey import Busy, Survey
from vmlab.lustre.version import Version
from vmlab.topology import Topology, load

from .beds import answered, opening

ROOT = Path(__file__).parents[3]
NEW = Version(2, 17, 57)
HOST: Any = None
OST = "lustre-OST0000"
MOUNTED = f"/dev/vdc /mnt/{OST} lustre_tgt rw,svname={OST},osd=osd-ldiskfs 0 0"
HERE = Survey(version=NEW, mounts=status.mounts(MOUNTED), services=frozenset({OST}))
IDLE = Survey(version=NEW)


def busy(state: str, *words: str) -> Survey:
    return Survey(version=NEW, busy=(Busy(state, words),))


@pytest.fixture
def ha() -> Topology:
    return load(ROOT / "topologies" / "ha-topology.yaml")


def looked(
    monkeypatch: pytest.MonkeyPatch, topology: Topology, surveys: dict[str, Survey], silent: dict[str, str]
) -> FsStatus:
    everyone = {node: surveys.get(node, IDLE) for node in topology.nodes if node not in silent}
    monkeypatch.setattr(module, "opened", opening(answered(topology, everyone, silent)))
    return module.status(HOST, topology)


@pytest.mark.parametrize(
    ("surveys", "silent", "wanted"),
    [
        ({"oss1": HERE}, {}, ("oss1", "mounted")),
        ({}, {}, ("", "unmounted")),
        ({"oss2": busy("mounting", "/dev/vdc", f"/mnt/{OST}", "-o", "rw")}, {"oss1": "off"}, ("oss2", "mounting")),
        ({"oss1": HERE, "oss2": busy("mounting", "/dev/vdc", f"/mnt/{OST}")}, {}, ("oss1", "mounted")),
        ({"oss1": busy("unmounting", f"/mnt/{OST}")}, {}, ("oss1", "unmounting")),
        ({"oss1": busy("formatting", "--ost", f"/dev/disk/by-id/virtio-{OST}")}, {}, ("oss1", "formatting")),
        ({"oss1": HERE, "oss2": HERE}, {}, ("oss1 oss2", "mounted twice")),
        ({}, {"oss1": "off"}, ("", "unmounted")),
        ({}, {"oss1": "10.77.0.13 does not answer"}, ("", "unknown")),
        ({"oss1": Survey(), "oss2": Survey()}, {}, ("", "no Lustre")),
        ({"oss1": Survey()}, {"oss2": "off"}, ("", "no Lustre")),
        ({"oss1": Survey()}, {"oss2": "10.77.0.14 does not answer"}, ("", "unknown")),
    ],
)
def test_a_target(
    monkeypatch: pytest.MonkeyPatch,
    ha: Topology,
    surveys: dict[str, Survey],
    silent: dict[str, str],
    wanted: tuple[str, str],
) -> None:
    found = {one.target: one for one in looked(monkeypatch, ha, surveys, silent).targets}
    assert (found[OST].node, found[OST].state) == wanted


@pytest.mark.parametrize(
    ("survey", "state"),
    [
        (IDLE, "unmounted"),
        (Survey(), "no Lustre"),
        (busy("mounting", "10.77.1.11@o2ib:/lustre", "/mnt/lustre", "-o", "rw"), "mounting"),
        (busy("unmounting", "/mnt/lustre"), "unmounting"),
        (Survey(version=NEW, mounts=status.mounts("10.77.1.11@o2ib:/lustre /mnt/lustre lustre rw 0 0")), "mounted"),
    ],
)
def test_a_client(monkeypatch: pytest.MonkeyPatch, ha: Topology, survey: Survey, state: str) -> None:
    (client,) = looked(monkeypatch, ha, {"client1": survey}, {}).clients
    assert client.state == state


def test_a_target_that_is_switched_off_somewhere_says_where(monkeypatch: pytest.MonkeyPatch, ha: Topology) -> None:
    off = Survey(version=NEW, inactive=frozenset({OST}))
    told = looked(monkeypatch, ha, {"oss1": HERE, "mds1": off, "client1": off}, {})
    found = {one.target: one for one in told.targets}
    assert (found[OST].state, found[OST].inactive_on) == ("mounted", ("mds1", "client1"))
    assert found["lustre-OST0001"].inactive_on == ()
