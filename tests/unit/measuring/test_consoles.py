"""Consoles while something is measured: what a kernel complains of is found, with the node that it is of."""

import time
from pathlib import Path
from typing import Any

import pytest
from local_guest import LocalGuest, nodes

from vmlab.domainxml.read import DomainFacts
from vmlab.errors import GuestError, ReferenceMissed
from vmlab.lab.ground.hosts import only
from vmlab.lab.measuring.consoles import Consoles
from vmlab.lab.measuring.workload import run_workload, verdict
from vmlab.plan.observed import ObservedBed, ObservedDomain
from vmlab.virt.connection import Host
from vmlab.workloads import Measurement, Task, Workload

OLD = "[ 1.0] Oops: 0002 [#1] SMP\n"
OOPS = "[ 50.0] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
LBUG = "[ 60.0] LustreError: 1:0:(x.c:1:f()) LBUG\n"


class Pool(Host):
    """A host whose pool is a folder."""

    def __init__(self, folder: Path) -> None:
        self.uri = "qemu:///system"
        self.name = "local"
        self.folder = folder

    def call(self, _action: Any, **_: Any) -> Any:
        return str(self.folder)

    def prints(self, node: str, text: str) -> None:
        with (self.folder / f"bed.{node}.console.log").open("a") as file:
            file.write(text)

    def starts_anew(self, node: str, text: str = "") -> None:
        (self.folder / f"bed.{node}.console.log").write_text(text)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    pool = Pool(tmp_path)
    for node in ("oss1", "client1"):
        pool.prints(node, OLD)
    return pool


def bed() -> ObservedBed:
    found = {}
    for name, node in nodes("oss1", "client1", "oss2").items():
        facts = DomainFacts(f"bed.{name}", "", "kvm", 1, 1024, (), (), node.metadata)
        found[name] = ObservedDomain(facts, "shut off" if name == "oss2" else "running", frozenset())
    return ObservedBed("bed", found)


def test_only_what_is_new_counts_and_every_line_once(pool: Pool) -> None:
    with Consoles(only(pool), bed()) as consoles:
        assert consoles.findings() == ()
        pool.prints("oss1", "fine\n" + OOPS[:20])
        assert consoles.findings() == ()
        pool.prints("oss1", OOPS[20:] + OOPS)
        assert consoles.findings() == (f"oss1: {OOPS.strip()}",)
        consoles.watch()  # it goes on


def test_it_is_noticed_by_itself_and_ends_what_waits(pool: Pool) -> None:
    with Consoles(only(pool), bed()) as consoles:
        pool.prints("client1", LBUG)
        begin = time.monotonic()
        with pytest.raises(GuestError, match=r"client1: .* LBUG") as caught:
            while time.monotonic() - begin < 10:
                consoles.watch()
                time.sleep(0.1)
        assert time.monotonic() - begin < 5
        assert (caught.value.stage, caught.value.hint) == ("panic", "vmlab power cycle bed client1")


def test_what_was_taken_down_on_purpose_is_spared_until_it_is_up_again(pool: Pool) -> None:
    struck = {"oss1"}
    with Consoles(only(pool), bed(), spared=lambda: struck) as consoles:
        pool.prints("oss1", "[ 9.9] Kernel panic - not syncing: sysrq triggered crash\n")
        assert consoles.findings() == ()
        pool.starts_anew("oss1", "[ 0.0] Linux version 6.12\n")
        struck.clear()
        assert consoles.findings() == ()
        pool.prints("oss1", LBUG)
        assert consoles.findings() == (f"oss1: {LBUG.strip()}",)


def test_a_console_that_began_anew_is_read_from_its_beginning(pool: Pool) -> None:
    with Consoles(only(pool), bed()) as consoles:
        pool.starts_anew("oss1", "x\n")
        assert consoles.findings() == ()
        pool.prints("oss1", OOPS)
        assert consoles.findings() == (f"oss1: {OOPS.strip()}",)


def test_it_fails_the_run_by_name(pool: Pool, tmp_path: Path) -> None:
    class Echo(Workload[Any]):
        name = "echo"

        def takes_part(self, _options: Any, _nodes: Any) -> tuple[str, ...]:
            return ("oss1",)

        def measurements(self, _options: Any, _nodes: Any) -> Any:
            task = Task(name="t", node="oss1", argv=("true",), deadline_s=20.0)
            return ((Measurement(name="one", labels={}, tasks=(task,)),),)

        def parse(self, *_: Any) -> tuple[()]:
            pool.prints("client1", OOPS)
            return ()

        def sanity(self, *_: Any) -> tuple[()]:
            return ()

    from vmlab.workloads._options import Point  # noqa: PLC0415
    from vmlab.workloads.failover import Options  # noqa: PLC0415

    with Consoles(only(pool), bed()) as consoles:
        record = run_workload(
            {"oss1": LocalGuest(f"VMLAB_TEST_{tmp_path.name}")},
            nodes("oss1"),
            Echo(),
            [Point({}, Options())],
            runs_dir=tmp_path / "runs",
            accel="tcg",
            bed="bed",
            deeds=None,
            progress=lambda _: None,
            noticed=consoles.findings,
        )
    error = verdict(record, tmp_path / "runs")
    assert isinstance(error, ReferenceMissed)
    assert error.message == f"client1: {OOPS.strip()}"


def test_what_kernels_say_since_a_beginning_is_told_by_node(pool: Pool) -> None:
    with Consoles(only(pool), bed()) as consoles:
        pool.prints("oss1", OOPS)
        consoles.begin()
        assert consoles.events() == {}
        pool.prints("client1", "[ 59.0] Lustre: DEBUG MARKER: == sanity test 4: x ==== 01:02:03 (1795222175)\n" + LBUG)
        ((node, (event,)),) = consoles.events().items()
        assert (node, event.kind, event.test) == ("client1", "LBUG", ("sanity", "test_4"))


def test_who_began_anew_is_waited_for_again_and_what_was_found_stays(pool: Pool) -> None:
    with Consoles(only(pool), bed()) as consoles:
        pool.prints("oss1", LBUG)
        (found,) = consoles.findings()
        with pytest.raises(GuestError):
            consoles.watch()
        consoles.forget()
        consoles.watch()
        assert consoles.findings() == (found,)
        pool.prints("oss1", LBUG)  # it dies of the same again
        assert consoles.findings() == (found,)
        with pytest.raises(GuestError):
            consoles.watch()


def test_a_qemu_that_is_gone_without_a_word_ends_what_waits(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What libvirt says of one that was killed is in tests/system/test_lustre_tests.py."""
    gone: set[str] = set()
    struck = {"oss1"}
    monkeypatch.setattr("vmlab.lab.measuring.consoles.vanished", lambda _host, names: gone & set(names))
    with Consoles(only(pool), bed(), spared=lambda: struck) as consoles:
        gone.update(("bed.oss1", "bed.oss2"))  # one is struck on purpose, one was off before
        assert consoles.findings() == ()
        pool.starts_anew("oss1")
        struck.clear()
        assert consoles.findings() == ("oss1: its QEMU is gone, and nobody here has ended it",)
        with pytest.raises(GuestError) as caught:
            consoles.watch()
        assert (caught.value.stage, caught.value.hint) == ("off", "vmlab power on bed oss1")
        gone.clear()
        consoles.forget()
        consoles.watch()
