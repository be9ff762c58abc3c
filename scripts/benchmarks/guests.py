"""`up` with real guests, as its users run it: against QEMU started by hand, and eight nodes against one."""

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import others
from benchmarks.clock import VMLAB, environment, run, seconds
from benchmarks.floor import accelerator, machines, start_and_wait
from benchmarks.line import Line

from vmlab.errors import HostError, VmlabError
from vmlab.lab.beds.prepare import images_of
from vmlab.lab.ground.bed import DEFAULT_URI
from vmlab.lab.ground.hosts import only
from vmlab.runtime.shipped import shipped
from vmlab.runtime.wait import now
from vmlab.topology import Topology, load
from vmlab.virt.connection import Host, connected

if TYPE_CHECKING:
    import libvirt

_STAGE = re.compile(r"^\[ *([0-9.]+) s\] ([a-z0-9-]+): (?:waits for )?(?:its )?([a-z-]+)$", re.MULTILINE)
_SIZE = re.compile(r"^(Pss|Rss): +(\d+) kB$", re.MULTILINE)
_SHOWN = ("kernel", "ssh", "cloud-init", "roles", "ready")
_FLOOR, _OURS = "bench-floor", "bench-ours"
_GUESTS = "guests' CPU"  # unlike the time it hardly depends on what else the machine does
_OWN = "vmlab's CPU"
_STEPS = "longest steps"
_SHARED = "PSS : RSS"  # of all QEMUs: what they share counts once
_MEMORY_KIB = 512 << 10  # of a guest
_OF_MEMORY = re.compile(rf"^Size: +{_MEMORY_KIB} kB$.*?^Rss: +(\d+) kB$.*?^Pss: +(\d+) kB$", re.MULTILINE | re.DOTALL)
_ANSWERS = "roles"  # the stage that begins when ssh answers
_WARM = ("--warm", "only")
_FIVE = shipped("topologies") / "ha-topology.yaml"
_NODES = 8
_COLD = 5
_BEFORE = "VMLAB_BENCHMARK_IMAGE"  # an image of an earlier vmlab, for the slow side of `cold`


class Taken(NamedTuple):
    """How long one run took, and where the time went."""

    seconds: float
    details: dict[str, float]


class Together(NamedTuple):
    """The memory of all guests when what several of them have alike counts once, and if it did not."""

    pss_mib: float
    rss_mib: float
    seconds: float


def five_nodes(rounds: int) -> list[Line]:
    """`up` until all is ready, against the same QEMU processes until all of them can be logged in to."""
    if os.geteuid() != 0:
        raise HostError("the floor of `up` needs bridges and taps", hint="sudo scripts/benchmark beds")
    floor, ours = [], []
    with _bench() as host:
        topology = load(_FIVE, name=_FLOOR)
        accel = _warmed(host, topology)
        for _ in range(rounds or 2):
            floor.append(_floor(host, topology, accel))
            ours.append(_up(host, _FIVE))
    details = {**_middle(ours), **{f"floor's {what}": seconds for what, seconds in _middle(floor).items()}}
    return [Line("beds", "up 5 nodes : QEMU alone until ssh", _total(ours), _total(floor), 1.15, details)]


def eight_nodes(rounds: int) -> list[Line]:
    """Eight nodes may take eight times as long as one, where the CPUs are the limit; where they are not, less."""
    one, eight = [], []
    with _bench() as host, tempfile.TemporaryDirectory(prefix="vmlab-benchmark-") as folder:
        file = Path(folder) / "nodes.yaml"
        _write(file, 1)
        _warmed(host, load(file))
        for _ in range(rounds or 2):
            _write(file, 1)
            one.append(_up(host, file))
            _write(file, _NODES)
            eight.append(_up(host, file))
    return [Line("nodes", f"up {_NODES} nodes : {_NODES} x 1", _total(eight), _NODES * _total(one), 1, _middle(eight))]


def first_boots(rounds: int) -> list[Line]:
    """Five nodes without cloud-init against five with it, one after the other in each round; and the wait after ssh.

    Where VMLAB_BENCHMARK_IMAGE names an image, such as one that was built before, that is the other side's.
    """
    lean, cloud = [], []
    with _bench() as host, tempfile.TemporaryDirectory(prefix="vmlab-benchmark-") as folder:
        file = Path(folder) / "nodes.yaml"
        _write(file, _COLD)
        _warmed(host, load(file))
        before = os.environ.get(_BEFORE)
        image = () if before is None else ("--set", f"image={before}")
        for _ in range(rounds or 3):
            lean.append(_up(host, file, "--set", "first_boot=auto"))
            cloud.append(_up(host, file, "--set", "first_boot=cloud-init", *image))
    ours, theirs = _middle(lean), _middle(cloud)
    details = {**ours, **{f"cloud-init's {what}": seconds for what, seconds in theirs.items()}}
    return [
        Line("cold", f"{_GUESTS}, {_COLD} nodes : with cloud-init", ours[_GUESTS], theirs[_GUESTS], 0.5, details),
        Line("cold", f"up {_COLD} nodes : with cloud-init", _total(lean), _total(cloud), 0.7),
        Line("cold", "from a node's ssh until it is ready", ours[_STEPS], None, 1),
    ]


def clones(rounds: int) -> list[Line]:
    """Nodes that go on from a template's memory against nodes that boot with cloud-init; and eight against five.

    And the shipped five-node bed as it was, against one that is made: of kept memory, and by a snapshot.
    """
    warm, cloud, more, kept, reverted, made, downs = [], [], [], [], [], [], []
    together: list[Together] = []
    theirs: dict[str, list[float]] = {"virt-install": [], "virt-clone": []}
    if lacking := others.missing():
        print(
            f"virt-install and virt-clone are not installed, and not measured: apt install {lacking}", file=sys.stderr
        )
    with _bench() as host, tempfile.TemporaryDirectory(prefix="vmlab-benchmark-") as folder:
        few, many = Path(folder) / "few.yaml", Path(folder) / "many.yaml"
        _write(few, _COLD)
        _write(many, _NODES)
        accel = _warmed(host, load(few))
        _up(host, few, *_WARM)  # makes the template
        for _ in range(rounds or 3):
            warm.append(_up(host, few, *_WARM, then=lambda: together.append(_together())))
            cloud.append(_up(host, few, "--set", "first_boot=cloud-init"))
            more.append(_up(host, many, *_WARM))
            with _standing():
                kept.append(_kept())
                reverted.append(_reverted())
                downs.append(_down())
                made.append(downs[-1].seconds + _made())
            if not lacking:
                same = load(few, name=_FLOOR, settings=("first_boot=cloud-init",))
                for tool, measure in (("virt-install", others.installed), ("virt-clone", others.cloned)):
                    theirs[tool] += _of_others(tool, partial(measure, host, same, accel))
    ours, boots_s, shared = _middle(warm), _middle(cloud), _middle(more)[_SHARED]
    details = {**ours, **{f"cloud-init's {what}": seconds for what, seconds in boots_s.items()}}
    boots = f"boots, {_COLD} nodes"
    return [
        Line("warm", f"clones until ssh : {boots}", ours[_ANSWERS], boots_s[_ANSWERS], 0.2, details),
        *(
            Line("warm", f"clones until ssh : {tool}, {_COLD} nodes", ours[_ANSWERS], median(took), 0.2)
            for tool, took in theirs.items()
            if took
        ),
        Line("warm", f"clones until ready : {boots}", _total(warm), _total(cloud), 0.25),
        Line("warm", f"{_GUESTS} : {boots}", ours[_GUESTS], boots_s[_GUESTS], 0.25),
        Line("warm", f"{_NODES} clones : {_COLD}", _total(more), _total(warm), _NODES / _COLD, {_SHARED: shared}),
        Line(
            "warm",
            f"memory of {_COLD} clones, when they share it : before",
            median(one.pss_mib for one in together),
            median(one.rss_mib for one in together),
            0.4,
            {"ksmd had": median(one.seconds for one in together)},
            unit="MiB",
        ),
        Line("warm", "up of a bed that was kept warm : down and up, nodes that boot", median(kept), median(made), 0.3),
        Line("warm", "revert : down and up, nodes that boot", median(reverted), median(made), 0.1),
        Line("warm", "vmlab's own time of a down", _middle(downs)[_OWN], None, 2, {"until it is gone": _total(downs)}),
    ]


@contextmanager
def _standing() -> Iterator[None]:
    """The shipped bed with a snapshot, gone afterwards."""
    try:
        run(*VMLAB, "up", str(_FIVE), "--name", _OURS, *_WARM)
        run(*VMLAB, "snapshot", "create", _OURS, "one")
        yield
    finally:
        subprocess.run((*VMLAB, "down", _OURS, "--yes"), stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _kept() -> float:
    run(*VMLAB, "down", _OURS, "--keep-warm")
    return seconds(lambda: run(*VMLAB, "up", str(_FIVE), "--name", _OURS))


def _reverted() -> float:
    return seconds(lambda: run(*VMLAB, "snapshot", "revert", _OURS, "one", "--yes"))


def _of_others(tool: str, measure: Callable[[], float]) -> list[float]:
    """Where others fail, what is ours is worth telling all the same."""
    try:
        return [measure()]
    except (VmlabError, subprocess.CalledProcessError) as error:
        print(f"{tool} was not measured: {error}\n{getattr(error, 'stderr', '') or ''}", file=sys.stderr)
        return []


def _down() -> Taken:
    """All of a bed with a snapshot."""
    begin, spent = now(), _processor_s()
    run(*VMLAB, "down", _OURS, "--yes")
    return Taken(now() - begin, {_OWN: _processor_s() - spent})


def _made() -> float:
    return seconds(lambda: run(*VMLAB, "up", str(_FIVE), "--name", _OURS, "--warm", "never"))


@contextmanager
def _bench() -> Iterator[Host]:
    """The system's libvirt, and a state folder of our own for the commands."""
    with (
        tempfile.TemporaryDirectory(prefix="vmlab-benchmark-") as state,
        environment(VMLAB_STATE_DIR=state, LIBVIRT_DEFAULT_URI=DEFAULT_URI),
        connected(DEFAULT_URI) as host,
    ):
        yield host


def _warmed(host: Host, topology: Topology) -> str:
    """Read the image, and find out whether KVM works, before any clock runs; returns what guests run on."""
    for manifest, folder in images_of(only(host), topology).values():
        for name in manifest.files.model_dump(exclude_none=True).values():
            (folder / name).read_bytes()
    return accelerator(host, topology)


def _write(file: Path, nodes: int) -> None:
    file.write_text(f'name: {_OURS}\nnodes: {{"node[1-{nodes}]": {{role: client, memory: 512MiB}}}}\n')


def _floor(host: Host, topology: Topology, accel: str) -> Taken:
    with machines(host, topology, accel) as prepared:
        spent = _processor_s()
        answered = start_and_wait(prepared)
        return Taken(max(answered.values()), {_GUESTS: _processor_s() - spent})


def _up(host: Host, file: Path, *options: str, then: Callable[[], None] = lambda: None) -> Taken:
    """The whole command; when the last node began each stage by the command's own lines, and the CPU time.

    Nodes boot, unless the options say otherwise. `then` is done before the bed goes.
    """
    begin, spent = now(), _processor_s()
    try:
        told = run(*VMLAB, "up", str(file), "--name", _OURS, "--timeout", "30m", "--warm", "never", *options).stderr
        took, spent = now() - begin, _processor_s() - spent
        guests = host.call(lambda connection: sum(domain.info()[4] for domain in _domains(connection)))
        shared = _shared()
        then()
    finally:
        subprocess.run((*VMLAB, "down", _OURS, "--yes"), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    reached: dict[str, dict[str, float]] = {}
    for at, node, stage in _STAGE.findall(told):
        reached.setdefault(stage, {})[node] = float(at)
    stages = {stage: max(reached[stage].values()) for stage in _SHOWN if stage in reached}
    steps = max(reached["ready"][node] - began for node, began in reached["roles"].items())
    return Taken(took, {**stages, _STEPS: steps, _OWN: spent, _GUESTS: guests / 1e9, _SHARED: shared})


def _domains(connection: "libvirt.virConnect") -> "list[libvirt.virDomain]":
    return [domain for domain in connection.listAllDomains() if domain.name().startswith(f"{_OURS}.")]


def _shared() -> float:
    """PSS to RSS of the QEMUs of our bed."""
    sizes = {"Pss": 0, "Rss": 0}
    for told in _maps("smaps_rollup"):
        for name, size in _SIZE.findall(told):
            sizes[name] += int(size)
    return sizes["Pss"] / max(1, sizes["Rss"])


def _together() -> Together:
    """Have the guests share what they have alike."""
    took = seconds(lambda: run(*VMLAB, "host", "share-memory"))
    found = [sizes for told in _maps("smaps") for sizes in _OF_MEMORY.findall(told)]
    rss, pss = (sum(map(int, column)) / 1024 for column in zip(*found, strict=True))
    return Together(pss, rss, took)


def _maps(name: str) -> Iterator[str]:
    """What the kernel says of the memory of our bed's QEMUs, which are known by their command lines."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"guest={_OURS}." in (place / "cmdline").read_text(errors="replace"):
                yield (place / name).read_text()


def _processor_s() -> float:
    """CPU time that our children took which are over: the floor's QEMU processes, but not those of libvirtd."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _total(taken: list[Taken]) -> float:
    return median(one.seconds for one in taken)


def _middle(taken: list[Taken]) -> dict[str, float]:
    return {what: median(one.details[what] for one in taken) for what in taken[0].details}
