"""What is told when `--timeout` is over, and how long a command may take where none is given."""

import math
import time

import pytest

from vmlab.errors import GuestError, HostError, VmlabError, together
from vmlab.lab.beds import up as up_module
from vmlab.lab.beds.up import up
from vmlab.lab.ground import hard_end as module
from vmlab.lab.ground.hard_end import Going, limit_s, told
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.plan.actions import Action, StartDomain
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology
from vmlab.virt.connection import Host


def test_without_an_end_under_emulation_only() -> None:
    assert limit_s(None, 600, emulated=False) == 600
    assert limit_s(None, 600, emulated=True) == math.inf
    assert limit_s(90, 600, emulated=True) == 90


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_s = 0.0
        monkeypatch.setattr(module, "now", lambda: self.at_s)


def failing(host: Host, going: Going, *errors: VmlabError, over: bool = True, seconds: float = 600) -> VmlabError:
    end = Deadline.after(-1 if over else 60)
    with pytest.raises(VmlabError) as caught, told(only(host), "t", end, seconds, going, again="vmlab up"):
        raise together(list(errors), "t: not all nodes came up")
    return caught.value


def late(node: str, message: str = "waited 1 s for a kernel") -> GuestError:
    return GuestError(f"{node}, {message}", node=node, stage="kernel", console=("a line",))


def test_it_says_what_went_on_and_how_to_go_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    going = Going(Silent())
    for node in ("a1", "a2", "a3"):
        going.stage(node, "start-domain")
    clock.at_s = 597.0
    going.stage("a1", "kernel")
    going.stage("a3", "ready")
    clock.at_s = 600.0
    error = failing(host, going, late("a1"), late("a2"))
    assert isinstance(error, GuestError)
    assert error.message == (
        "t: --timeout 10m is over, and this was still going on: "
        "a1: kernel since 3 s, after start-domain took 597 s; a2: start-domain since 600 s"
    )
    assert error.hint == "`vmlab up` again goes on from there; --timeout 20m gives it more time"
    assert [cause.message for cause in error.causes] == ["a1, waited 1 s for a kernel", "a2, waited 1 s for a kernel"]
    assert error.status == 6


def test_many_nodes_are_counted(host: Host) -> None:
    going = Going(Silent())
    names = [f"n{number}" for number in range(20)]
    for node in names:
        going.stage(node, "ssh")
    assert failing(host, going, *map(late, names), seconds=90).message.endswith("n4: ssh since 0 s; 15 more nodes")
    assert "--timeout 90s is over" in failing(host, going, late("n1"), seconds=90).message


def test_what_is_not_of_a_node_is_told_too(host: Host) -> None:
    error = failing(host, Going(Silent()), HostError("create-network t.mgmt: libvirt has not answered for 10 s"))
    assert "still going on: create-network t.mgmt: libvirt has not answered" in error.message


def test_what_fails_before_the_end_is_told_as_it_is(host: Host) -> None:
    error = late("a1")
    assert failing(host, Going(Silent()), error, over=False) is error


def test_time_that_libvirt_took_is_told_as_that(host: Host, bed: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    perform = up_module.perform

    def slow(host: Host, action: Action) -> None:
        if isinstance(action, StartDomain):
            time.sleep(2.5)
        perform(host, action)

    monkeypatch.setattr(up_module, "perform", slow)
    monkeypatch.setattr(module, "_WORTH_TELLING_S", 1.0)
    with pytest.raises(GuestError) as caught:
        up(only(host), bed, accel="auto", restart=False, timeout_s=1.5, jobs=1, wait=True, progress=Silent())
    error = caught.value
    assert error.message.startswith("ha: --timeout 1.5s is over, and this was still going on: ")
    assert "waiting for its turn" in error.message
    assert {cause.message for cause in error.causes} <= {f"{node} was not begun" for node in bed.nodes}
    again = up(only(host), bed, accel="auto", restart=False, timeout_s=60, jobs=5, wait=False, progress=Silent())
    assert {action.kind for action in again.actions} <= {"start-domain", "define-domain", "create-volume", "write-seed"}
