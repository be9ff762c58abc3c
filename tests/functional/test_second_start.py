"""A guest that emulation let down at its start is started once more, whoever had started it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vmlab.domainxml.read import read_domain
from vmlab.errors import GuestError
from vmlab.guest.boot import DeadGuest, FailedStart
from vmlab.lab.beds import boot
from vmlab.lab.beds import up as module
from vmlab.lab.beds.up import up
from vmlab.lab.ground.guests import guest_of
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.plan.actions import Action
from vmlab.runtime.wait import Deadline
from vmlab.topology import loads
from vmlab.values.identity import console_volume
from vmlab.virt.connection import Host

BED = loads("name: one\nnodes: {n1: {role: client, memory: 256MiB}}\n", "one.yaml")
PANIC = "[    3.219011] Kernel panic - not syncing: Attempted to kill the idle task!\n"


class Told(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)


class Bed:
    """One node that runs already, whose boot ends as a test wants; the steps hold."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.boots: list[GuestError | None] = []
        self.actions: list[str] = []
        self.told = Told()
        raised = up(only(host), BED, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())
        self.prepared = replace(raised.prepared, accel="tcg")
        monkeypatch.setattr(boot, "wait_until_ready", self.boot)
        monkeypatch.setattr(boot, "satisfy", lambda *_, **__: ())
        monkeypatch.setattr(module, "perform", self.perform)

    def boot(self, *_: Any, **__: Any) -> tuple[str, ...]:
        if (error := self.boots.pop(0)) is not None:
            raise error
        return ()

    def perform(self, _host: Host, action: Action) -> None:
        self.actions.append(action.kind)

    def says(self, console: str) -> None:
        _, part = self.prepared.place("n1")
        path = Path(part.observed.pool_path) / console_volume("one", "n1")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(console)

    def follow(self, accel: str = "tcg", *, warm: str = "auto", cloned: bool = False) -> None:
        node = self.prepared.nodes["n1"]
        prepared = replace(self.prepared, accel=accel, topology=replace(BED, warm=warm))
        end = Deadline.after(60)
        hosts = only(self.host)
        guest = guest_of(hosts, self.host, node.metadata)
        facts = read_domain(node.xml)
        module._follow(hosts, prepared, node, facts, guest, progress=self.told, overall=end, cloned=cloned)


def dead(stage: str, kind: type[GuestError] = DeadGuest) -> GuestError:
    return kind(f"n1, stage {stage}: it is dead: {PANIC.strip()}", node="n1", stage=stage)


@pytest.fixture
def bed(host: Host, monkeypatch: pytest.MonkeyPatch) -> Bed:
    return Bed(host, monkeypatch)


@pytest.mark.parametrize(
    ("error", "console"),
    [
        (lambda: dead("domain"), PANIC),  # it was so when we came
        (lambda: dead("ssh", FailedStart), ""),
    ],
)
def test_it_is_started_once_more(bed: Bed, error: Callable[[], GuestError], console: str) -> None:
    bed.says(console)
    bed.boots = [error(), None]
    bed.follow()
    assert bed.actions == ["stop-domain", "start-domain"]
    (warning,) = bed.told.warnings
    assert "Kernel panic - not syncing: Attempted to kill the idle task!" in warning
    assert "it is started once more" in warning


def test_a_clone_does_not_boot_where_nobody_is_to(bed: Bed) -> None:
    bed.boots = [dead("kernel", FailedStart), None]
    with pytest.raises(FailedStart):
        bed.follow(warm="only", cloned=True)
    assert bed.actions == []
    bed.boots = [dead("kernel", FailedStart), None]
    bed.follow(cloned=True)
    assert bed.actions == ["stop-domain", "start-domain"]


def test_not_twice(bed: Bed) -> None:
    bed.says(PANIC)
    bed.boots = [dead("domain"), dead("ssh", FailedStart), None]
    with pytest.raises(FailedStart):
        bed.follow()
    assert bed.actions == ["stop-domain", "start-domain"]


@pytest.mark.parametrize(
    ("accel", "console"),
    [
        ("kvm", PANIC),
        ("tcg", f"[    2.100000] systemd[1]: Failed to find module 'autofs4'\n{PANIC}"),
        ("tcg", f"n1 login: \n{PANIC}"),
        ("tcg", ""),
    ],
    ids=["a real kernel's", "of user space", "of somebody's work", "none"],
)
def test_another_panic_is_kept_to_be_looked_at(bed: Bed, accel: str, console: str) -> None:
    bed.says(console)
    bed.boots = [dead("domain"), None]
    with pytest.raises(DeadGuest, match="stage domain: it is dead"):
        bed.follow(accel)
    assert bed.actions == []
