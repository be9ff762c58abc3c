"""Clients that went idle are woken while a target waits for them. The bed is a double: its guests are dictionaries."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from vmlab.errors import GuestError
from vmlab.lab.filesystems.recovery import recovered
from vmlab.lustre.status import Mount, RecoveryStatus
from vmlab.lustre.survey import Survey
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline

OST = "lustre-OST0000"


@dataclass
class Client:
    """A guest whose import becomes FULL when it is woken `needs` times, or that does not answer."""

    needs: int = 1
    answers: bool = True
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, argv: tuple[str, ...], *, deadline_s: float, as_root: bool) -> Result:
        assert as_root
        assert deadline_s <= 10
        self.asked.append(argv)
        if not self.answers:
            raise GuestError("gone", node="client", stage="ssh")
        return Result(argv, 0, "", "")

    @property
    def back(self) -> bool:
        return self.answers and len(self.asked) >= self.needs


@dataclass
class Target:
    fsname: str = "lustre"
    kind: str = "OST"
    service: str = OST


class Progress:
    def say(self, text: str) -> None: ...


class Bed:
    def __init__(self, **clients: Client) -> None:
        self.guests: dict[str, Any] = clients
        mounted = Survey(mounts=(Mount("10.0.0.1@tcp:/lustre", "/mnt/lustre", "lustre"),))
        self.surveys = dict.fromkeys(clients, mounted) | {"oss2": Survey()}
        self.targets = {OST: Target()}

    def survey(self, node: str) -> Survey:
        assert node == "oss2"
        clients = self.guests.values()
        back = sum(client.back for client in clients)
        state = "COMPLETE" if back == len([c for c in clients if c.answers]) else "WAITING_FOR_CLIENTS"
        return Survey(recovery={OST: RecoveryStatus(OST, state, connected=back, expected=len(clients))})


def recover(bed: Any) -> dict[str, tuple[float, RecoveryStatus]]:
    return recovered(bed, {OST: "oss2"}, Progress(), Deadline.after(20))  # type: ignore[arg-type]


def test_clients_are_woken_until_all_are_back() -> None:
    """The first call may come while an import still waits for the answer to its farewell."""
    bed = Bed(client1=Client(), client2=Client(needs=2))
    assert recover(bed)[OST][1].connected == 2
    for client in bed.guests.values():
        assert all("idle_connect" in argv[2] and argv[-1] == OST for argv in client.asked)


def test_a_client_that_does_not_answer_is_asked_once() -> None:
    bed = Bed(client1=Client(needs=2), client2=Client(answers=False))
    recover(bed)
    assert len(bed.guests["client2"].asked) == 1
    assert len(bed.guests["client1"].asked) == 2


def test_an_mgt_has_nobody_to_wake() -> None:
    bed = Bed(client1=Client())
    bed.targets[OST].kind = "MGT"
    recover(bed)
    assert bed.guests["client1"].asked == []


class Waiting(Bed):
    """A target that waits until its recovery is ended by hand."""

    def __init__(self) -> None:
        super().__init__(client1=Client())
        self.guests["oss2"] = self
        self.ended: list[tuple[str, ...]] = []
        self.topology: Any = type("Topology", (), {"name": "ha"})

    def run(self, argv: tuple[str, ...], **_: Any) -> Result:
        self.ended.append(argv)
        return Result(argv, 0, "", "")

    def survey(self, node: str) -> Survey:
        assert node == "oss2"
        state = "COMPLETE" if self.ended else "WAITING_FOR_CLIENTS"
        return Survey(recovery={OST: RecoveryStatus(OST, state, connected=0, expected=2, evicted=2 * bool(self.ended))})


def test_what_waits_for_nobody_is_ended_when_patience_is() -> None:
    bed: Any = Waiting()
    ended = recovered(bed, {OST: "oss2"}, Progress(), Deadline.after(20), patience_s=0.0)  # type: ignore[arg-type]
    assert bed.ended == [("lctl", "--device", OST, "abort_recovery")]
    assert ended[OST][1].evicted == 2


def test_a_recovery_that_is_not_over_in_time_is_told_with_what_ends_it() -> None:
    bed: Any = Waiting()
    with pytest.raises(GuestError, match=f"{OST} on oss2: its recovery is not over: WAITING_FOR_CLIENTS 0/2") as told:
        recovered(bed, {OST: "oss2"}, Progress(), Deadline.after(0))  # type: ignore[arg-type]
    assert told.value.hint == f"vmlab ssh ha oss2 -- lctl --device {OST} abort_recovery"
    assert bed.ended == []
