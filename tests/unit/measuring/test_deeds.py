"""What workloads have vmlab do to a bed: which operation, with what, and what its outcome becomes; all doubles."""

import json
from pathlib import Path
from typing import Any

import pytest

from vmlab.errors import GuestError, HostError
from vmlab.lab.filesystems.failover import Failover, Moved
from vmlab.lab.ground.progress import Silent
from vmlab.lab.measuring import deeds as module
from vmlab.lab.measuring.deeds import Deeds
from vmlab.topology import Topology, load
from vmlab.workloads import Deed

HOSTS: Any = object()
MOVED = Failover("power", 1.5, 40.0, (Moved("lustre-OST0000", "oss1", "oss2", 30.0, 41.0, "COMPLETE", 2, 2, 0),))


@pytest.fixture
def ha() -> Topology:
    return load(Path(__file__).parents[3] / "topologies" / "ha-topology.yaml")


class Operations:
    """What was asked of `up`, `failover` and `failback`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.back: Failover | None = None
        self.fails: Exception | None = None
        for name in ("up", "failover", "failback"):
            monkeypatch.setattr(module, name, self.operation(name))

    def operation(self, name: str) -> Any:
        def operate(hosts: Any, topology: Topology, *what: Any, **how: Any) -> Any:
            assert hosts is HOSTS
            assert topology.name == "ha"
            self.asked.append((name, {"what": what, **how}))
            if name == "failover":
                how["on_blow"]("oss1")
            if self.fails is not None:
                raise self.fails
            return {"up": None, "failover": MOVED, "failback": self.back}[name]

        return operate


def deed(verb: Any, **more: Any) -> Deed:
    return Deed(name=verb, argv=("vmlab", verb), deadline_s=60.0, verb=verb, **more)


def test_a_failover_tells_what_moved_and_who_is_down_until_up(ha: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    deeds = Deeds(HOSTS, ha, "tcg", Silent())
    done = deeds(deed("failover", target="OST0001", how="panic"))
    assert (done.status, json.loads(done.stdout)["moved"][0]["destination"]) == (0, "oss2")
    name, asked = operations.asked[-1]
    assert (name, asked["what"], asked["how"]) == ("failover", ("OST0001",), "panic")
    assert deeds.struck == {"oss1"}
    deeds(deed("up"))
    name, asked = operations.asked[-1]
    # The run holds the bed already, and what was not changed is not restarted.
    assert (name, asked["held"], asked["restart"], asked["accel"]) == ("up", True, False, "tcg")
    assert deeds.struck == set()


def test_without_a_target_the_first_that_has_a_partner_is_taken(ha: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    Deeds(HOSTS, ha, "tcg", Silent())(deed("failover"))
    assert operations.asked[-1][1]["what"] == ("lustre-OST0000",)


def test_nothing_to_move_back_is_null(ha: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    deeds = Deeds(HOSTS, ha, "tcg", Silent())
    assert deeds(deed("failback")).stdout == "null\n"
    operations.back = MOVED
    assert json.loads(deeds(deed("failback")).stdout)["moved"][0]["recovery"] == "COMPLETE"


def test_a_guest_that_did_not_follow_is_an_outcome_with_its_console_first(
    ha: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = Operations(monkeypatch)
    operations.fails = GuestError("oss2: mount: no such device", node="oss2", stage="mount", console=("Oops", "panic"))
    done = Deeds(HOSTS, ha, "tcg", Silent())(deed("failover"))
    assert (done.status, done.stdout) == (6, "")
    assert done.stderr.splitlines() == ["Oops", "panic", "oss2: mount: no such device"]


def test_what_could_not_begin_is_an_error(ha: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    operations.fails = HostError("s3 runs, does not answer")
    with pytest.raises(HostError, match="s3 runs"):
        Deeds(HOSTS, ha, "tcg", Silent())(deed("failback"))


def test_all_nodes_begin_anew_spared_meanwhile_and_reached_again(ha: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    opened: list[str] = []

    class Door:
        def close(self) -> None:
            asked.append("closed")

    def revive(hosts: Any, bed: str, _progress: Any, deadline: Any) -> None:
        assert hosts is HOSTS
        assert 0 < deadline.left_s <= 60
        assert deeds.struck == set(ha.nodes)
        asked.append(bed)

    monkeypatch.setattr(module, "revive", revive)
    monkeypatch.setattr(module, "open_door", lambda _guest, on: opened.append(on))
    doors: Any = {"oss1": Door()}
    ways: Any = {"oss1": "its way"}
    deeds = Deeds(HOSTS, ha, "tcg", Silent(), guests=doors, advances=ways, forget=lambda: asked.append("forgotten"))
    assert deeds(deed("revive")).stdout == "null\n"
    assert (asked, opened, deeds.struck) == (["closed", "ha", "forgotten"], ["its way"], set())
