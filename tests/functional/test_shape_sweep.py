"""A sweep of the bed's shape on libvirt's test driver: beds that come and go, measured by processes of this machine."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from local_guest import LocalGuest, nodes

from vmlab.errors import BusyError, GuestError, UsageError, VmlabError
from vmlab.lab.beds.down import down
from vmlab.lab.beds.up import up
from vmlab.lab.ground.bed_folder import slug
from vmlab.lab.ground.hosts import Hosts, only
from vmlab.lab.ground.progress import Progress, Silent
from vmlab.lab.measuring import shapes
from vmlab.lab.measuring.shapes import Part, measure_shapes
from vmlab.lab.measuring.turns import ONCE, Often
from vmlab.lab.measuring.workload import run_workload
from vmlab.records.run import RunRecord
from vmlab.runtime import lock
from vmlab.runtime.files import state_dir
from vmlab.store.runs import incomplete, runs_dir
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe
from vmlab.workloads._options import points
from vmlab.workloads.command import Command

COMMAND = Command()
BED = """
name: s
sweep: {bed: {nodes.c1.cpus: [1, 2, 3]}}
fabrics: {ib0: {kind: infiniband, attach: virtio}}
nodes: {c1: {role: client, memory: 256MiB, fabrics: [ib0], pin: shared, numa: none}}
"""
TODO = ((COMMAND, points(COMMAND, {"run": "echo x=$RANDOM", "nodes": "c1"})),)


class Killed(BaseException):
    """The process is gone: nobody cleans up."""


@dataclass
class Watching:
    """Measures here, and sees what is up meanwhile."""

    host: Host
    kill_at: int = 0
    cpus: list[int] = field(default_factory=list)
    records: list[RunRecord] = field(default_factory=list)
    unmeasured: list[RunRecord] = field(default_factory=list)

    def measured(self, hosts: Hosts, topology: Topology, part: Part) -> None:
        assert hosts.home is self.host
        [domain] = observe(self.host).domains.values()
        assert domain.running
        self.cpus.append(topology.nodes["c1"].cpus)

        def progress(_: str) -> None:
            if len(self.cpus) == self.kill_at:
                raise Killed

        record = run_workload(
            {"c1": LocalGuest("VMLAB_TEST_SHAPES")},
            nodes("c1"),
            part.workload,
            part.points,
            bed=topology.name,
            runs_dir=runs_dir(),
            accel="kvm",
            deeds=None,
            progress=progress,
            resume=part.resume,
        )
        self.records.append(record)

    def not_measured(self, record: RunRecord) -> None:
        self.unmeasured.append(record)


@contextlib.contextmanager
def shown(_: Sequence[str]) -> Iterator[Progress]:
    yield Silent()


def sweep(by: Watching, text: str = BED, *, resume: bool = False, often: Often = ONCE) -> tuple[VmlabError, ...]:
    bed = loads(text, "s.yaml")
    return measure_shapes(only(by.host), bed, TODO, often, accel="auto", resume=resume, shown=shown, by=by)


def bring_up(host: Host) -> None:
    """As `vmlab up` does."""
    bed = loads(BED, "s.yaml")
    up(only(host), bed, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent(), sweep="")


def assert_nothing_left(host: Host) -> None:
    observed = observe(host)
    assert (dict(observed.domains), dict(observed.networks), dict(observed.volumes)) == ({}, {}, {})
    assert not list(state_dir().glob("hosts/*/beds/*"))


def killed(by: Watching, monkeypatch: pytest.MonkeyPatch, **more: Often) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(shapes, "down", nothing)
        sweep(by, **more)


def test_each_bed_is_up_while_it_is_measured_and_gone_afterwards(host: Host) -> None:
    by = Watching(host)
    assert sweep(by) == ()
    assert by.cpus == [1, 2, 3]
    samples = [sample for record in by.records for sample in record.samples]
    assert [sample.labels["nodes.c1.cpus"] for sample in samples] == ["1", "2", "3"]
    assert [record.shape for record in by.records] == [{"nodes.c1.cpus": str(n)} for n in (1, 2, 3)]
    assert len({record.series for record in by.records}) == 1
    assert_nothing_left(host)


def test_a_bed_that_the_host_cannot_have_is_not_measured_and_says_why(host: Host) -> None:
    by = Watching(host)
    assert sweep(by, BED.replace("nodes.c1.cpus: [1, 2, 3]", "fabrics.ib0.attach: [vf, virtio]")) == ()
    assert len(by.cpus) == 1
    [record] = by.unmeasured
    assert (record.samples, record.measured) == ((), ())
    assert record.skipped == (
        "fabrics.ib0.attach=vf: the fabric ib0 wants `attach: vf`, and this host has no devices to pass",
    )
    assert record.series == by.records[0].series
    assert_nothing_left(host)


@pytest.mark.parametrize("kill_at", [1, 2])
def test_what_was_killed_goes_on_and_the_half_bed_goes(
    host: Host, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    by = Watching(host, kill_at)
    killed(by, monkeypatch)
    assert [domain.running for domain in observe(host).domains.values()] == [True]
    with pytest.raises(BusyError, match="a sweep that was cut off"):
        sweep(Watching(host))
    again = Watching(host)
    assert sweep(again, resume=True) == ()
    assert again.cpus == list(range(kill_at, 4))
    assert len({record.series for record in (*by.records, *again.records)}) == 1
    assert_nothing_left(host)
    with pytest.raises(UsageError, match="no sweep of s with these options and shapes was cut off"):
        sweep(Watching(host), resume=True)


def test_one_that_was_killed_before_its_first_run_goes_on_though_an_older_one_is_over(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Watching(host)
    assert sweep(older) == ()
    killed(Watching(host, 1), monkeypatch)
    again = Watching(host)
    assert sweep(again, resume=True) == ()
    assert again.cpus == [1, 2, 3]
    assert {record.series for record in again.records}.isdisjoint({record.series for record in older.records})
    assert_nothing_left(host)


def test_a_half_bed_that_somebody_brings_up_is_theirs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(Watching(host, 2), monkeypatch)
    bring_up(host)
    with pytest.raises(BusyError, match="s is up, or its disks are kept: a sweep"):
        sweep(Watching(host), resume=True)
    assert [domain.running for domain in observe(host).domains.values()] == [True]
    down(only(host), "s", keep_disks=False, progress=Silent())
    again = Watching(host)
    assert sweep(again, resume=True) == ()
    assert again.cpus == [2, 3]
    assert_nothing_left(host)


def test_another_request_is_another_sweep(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(Watching(host, 2), monkeypatch)
    down(only(host), "s", keep_disks=False, progress=Silent())
    with pytest.raises(UsageError, match="was cut off"):
        sweep(Watching(host), resume=True, often=Often(trials=2))
    again = Watching(host)
    assert sweep(again) == ()
    assert again.cpus == [1, 2, 3]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_a_bed_of_the_users_is_left_alone(
    host: Host, monkeypatch: pytest.MonkeyPatch, *, resume: bool, keep: bool
) -> None:
    killed(Watching(host, 2), monkeypatch)
    down(only(host), "s", keep_disks=False, progress=Silent())
    bring_up(host)
    if keep:
        down(only(host), "s", keep_disks=True, progress=Silent())
    before = observe(host)
    with pytest.raises(BusyError, match="s is up, or its disks are kept: ") as caught:
        sweep(Watching(host), resume=resume)
    assert caught.value.hint == "vmlab run s measures it as it is; vmlab down s"
    assert observe(host).volumes.keys() == before.volumes.keys()


def test_two_sweeps_of_a_bed_do_not_meet(host: Host) -> None:
    with lock.held(f"{slug(host)}.s.sweep", what="x"), pytest.raises(BusyError, match="the sweep of the bed s"):
        sweep(Watching(host))


def test_a_bed_that_does_not_come_up_is_told_and_the_rest_goes_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shapes.up

    def second_fails(hosts: Hosts, topology: Topology, **how: object) -> object:
        raised = real(hosts, topology, **how)  # type: ignore[arg-type]
        if topology.nodes["c1"].cpus == 2:
            one = GuestError("c1 did not come up", node="c1", stage="kernel")
            raise GuestError("not all nodes came up", node="c1", stage="kernel", causes=[one])
        return raised

    monkeypatch.setattr(shapes, "up", second_fails)
    by = Watching(host)
    [error] = sweep(by)
    assert [one.message for one in error.causes] == ["nodes.c1.cpus=2: c1 did not come up"]
    assert by.cpus == [1, 3]
    assert_nothing_left(host)
    monkeypatch.undo()


def test_a_run_that_was_cut_off_in_a_bed_goes_on_under_its_id(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"run": "echo {n}", "nodes": "c1", "runs": [{"n": 1}, {"n": 2}]}
    monkeypatch.setattr(f"{__name__}.TODO", ((COMMAND, points(COMMAND, table)),))
    by = Watching(host)

    def stop(topology: Topology, part: Part) -> None:
        def progress(said: str) -> None:
            if said.startswith("2/2") and topology.nodes["c1"].cpus == 2:
                raise KeyboardInterrupt

        run_workload(
            {"c1": LocalGuest("VMLAB_TEST_SHAPES")},
            nodes("c1"),
            part.workload,
            part.points,
            bed="s",
            runs_dir=runs_dir(),
            accel="kvm",
            deeds=None,
            progress=progress,
        )

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Watching, "measured", lambda _, __, topology, part: stop(topology, part))
        sweep(by)
    assert_nothing_left(host)
    assert incomplete(runs_dir()) == ()
    assert sweep(by, resume=True) == ()
    assert by.cpus == [2, 3]
    assert [len(record.measured) for record in by.records] == [2, 2]
    assert [[dict(s.labels)["n"] for s in record.samples] for record in by.records] == [["1", "2"], ["1", "2"]]
