"""An image of which nothing is known: its guests are asked before anything is done."""

from pathlib import Path
from typing import Any

import pytest

from vmlab.errors import HostError
from vmlab.lab.filesystems import bring_up
from vmlab.lab.ground.progress import Silent
from vmlab.lustre.survey import Survey
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology, load

from .beds import answered, opening

HOST: Any = None
HA = Path(__file__).parents[3] / "topologies" / "ha-topology.yaml"


class Heard(Silent):
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Topology:
    topology = load(HA)
    bed = answered(topology, dict.fromkeys(topology.nodes, Survey()), {})
    monkeypatch.setattr(bring_up, "opened", opening(bed))
    return topology


def test_guests_that_have_no_lustre_are_left_as_they_are(bare: Topology) -> None:
    heard = Heard()
    assert bring_up.raise_filesystems(HOST, bare, heard, Deadline.after(1), sure=False) == ()
    assert heard.lines == ["ha: its guests were asked, and have no Lustre: the bed is up without LNet, lustre"]


def test_where_lustre_must_be_its_absence_is_an_error(bare: Topology) -> None:
    with pytest.raises(HostError, match="the image has no Lustre: demo"):
        bring_up.raise_filesystems(HOST, bare, Heard(), Deadline.after(1))
