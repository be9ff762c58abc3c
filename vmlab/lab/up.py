"""Bring a bed up: look, plan, act in parallel, verify."""

from contextlib import nullcontext
from dataclasses import dataclass

from vmlab.domainxml.read import DomainFacts, read_domain
from vmlab.guest.boot import Deadlines, FailedStart, Vigil, wait_until_ready
from vmlab.guest.satisfy import satisfy
from vmlab.guest.seed import iso
from vmlab.guest.ssh import Guest
from vmlab.inventory.passable import stranded
from vmlab.lab.bed import guest_of, leasing, locked, steps_of
from vmlab.lab.bed_folder import register
from vmlab.lab.image import cloning
from vmlab.lab.mounting import raise_filesystems, wanted
from vmlab.lab.prepare import Images, Prepared, acceleration, admit, images_of, lustre_in, prepare, remarks
from vmlab.lab.progress import Progress
from vmlab.lab.stages import StageTime
from vmlab.lustre.target import Recovery
from vmlab.plan.actions import Action, ReturnDevices, StartDomain, StopDomain, before_start, by_name
from vmlab.plan.desired import DesiredNode
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.console import console_text
from vmlab.virt.observe import domain_state
from vmlab.virt.perform import perform
from vmlab.virt.pool import BEDS, IMAGES, ensure_pool


@dataclass(frozen=True, slots=True)
class Raised:
    """What `up` did. `stages` are those of LNet and the file systems, with what they took."""

    prepared: Prepared
    actions: tuple[Action, ...]
    stages: tuple[StageTime, ...] = ()


def up(
    host: Host,
    topology: Topology,
    *,
    accel: str,
    restart: bool,
    timeout_s: float,
    jobs: int,
    wait: bool,
    progress: Progress,
    recovery: Recovery | None = None,
    held: bool = False,
) -> Raised:
    """Make the bed as the topology says: every guest ready, LNet and file systems up where the images carry Lustre.

    With `wait` False it returns when all guests are started. What is already so is left alone. `recovery` bounds the
    time that targets mounted now wait for their clients. `held`: the caller holds the bed. Raises one error for all
    nodes that failed, after all others are done.
    """
    overall = Deadline.after(timeout_s)
    with nullcontext() if held else locked(host, topology.name):
        ensure_pool(host, BEDS)
        ensure_pool(host, IMAGES)
        with cloning():
            images = images_of(host, topology)
            accel = acceleration(host, accel, images, progress)
            with leasing(host):
                prepared, made = _decided(host, topology, accel=accel, restart=restart, images=images)
                remarks(prepared, images, progress)
                admit(host, prepared)
                _make_room(host, prepared, progress)
                placed = prepared.places.placement is not None
                if placed:
                    # What is defined is a claim that other beds see: CPUs, memory and functions are ours from then on.
                    _define(host, prepared, progress)
            if not placed:
                _define(host, prepared, progress)

        def node(asked: DesiredNode) -> None:
            _node(host, prepared, asked, progress, overall if wait else None)

        # Whoever waits for guests has many in hand; whoever does not has libvirt to wait for.
        jobs = jobs if wait else min(jobs, LIBVIRT_JOBS)
        each(node, prepared.desired.nodes.values(), jobs=jobs, failed=f"{topology.name}: not all nodes came up")
        stages: tuple[StageTime, ...] = ()
        lustre = lustre_in(images)
        if wait and not host.simulated and lustre is not False and wanted(topology):
            sure = lustre is not None
            stages = raise_filesystems(host, topology, progress, overall, recovery=recovery, sure=sure)
        return Raised(prepared, (*made, *prepared.plan.actions), stages)


def _decided(
    host: Host, topology: Topology, *, accel: str, restart: bool, images: Images
) -> tuple[Prepared, tuple[Action, ...]]:
    """The plan, when what a killed start left is taken back and all virtual functions exist; and what that took."""

    def decide() -> Prepared:
        return prepare(host, topology, accel=accel, restart=restart, images=images)

    prepared = decide()
    if _take_back(host, prepared):
        prepared = decide()
    made = prepared.plan.host
    if made:
        _each_by_name(host, made, "not all functions could be made ready")
        prepared = decide()  # with the addresses that the kernel gave them, and those that their drivers show
    return prepared, made


def _make_room(host: Host, prepared: Prepared, progress: Progress) -> None:
    """What is to be there before nodes are: keys, networks, shared disks; and what is to go."""
    plan = prepared.plan
    register(host)
    prepared.keys.write(tuple(prepared.members))
    _each_by_name(host, plan.networks, "not all networks could be made")
    _each_by_name(host, plan.volumes, "not all shared disks could be made")

    def gone(name: str) -> None:
        for action in plan.lanes[name]:
            _do(host, action)
        progress.stage(name, "gone")

    removed = [name for name in plan.lanes if name not in prepared.desired.nodes]
    each(gone, removed, jobs=LIBVIRT_JOBS, failed="not all nodes could be removed")


def _define(host: Host, prepared: Prepared, progress: Progress) -> None:
    """Each node's lane up to its definition: from then on its clone keeps its image from being removed."""

    def define(name: str) -> None:
        for action in before_start(prepared.plan.lanes.get(name, ())):
            progress.stage(name, action.kind)
            _do(host, action)

    each(define, prepared.desired.nodes, jobs=LIBVIRT_JOBS, failed="not all nodes could be defined")


def _each_by_name(host: Host, actions: tuple[Action, ...], failed: str) -> None:
    def act(lane: tuple[Action, ...]) -> None:
        for action in lane:
            _do(host, action)

    each(act, by_name(actions), jobs=LIBVIRT_JOBS, failed=failed)


def _do(host: Host, action: Action) -> None:
    perform(host, action, lambda seed: iso(seed.documents))


def _node(host: Host, prepared: Prepared, node: DesiredNode, progress: Progress, overall: Deadline | None) -> None:
    """The rest of one node's lane, then, with a deadline, its boot and its steps."""
    lane = prepared.plan.lanes.get(node.name, ())
    for action in lane[len(before_start(lane)) :]:
        progress.stage(node.name, action.kind)
        _do(host, action)
    if overall is None or host.simulated:
        progress.stage(node.name, "started")
        return
    # A node whose change is pending runs as it was defined then: at its old address, with its old disks.
    observed = prepared.observed.bed(prepared.topology.name).nodes.get(node.name)
    held = any(action.node == node.name for action in prepared.plan.pending)
    facts = observed.facts if held and observed is not None else read_domain(node.xml)
    _follow(host, prepared, node, facts, progress=progress, overall=overall)
    progress.stage(node.name, "ready")


def _follow(
    host: Host, prepared: Prepared, node: DesiredNode, facts: DomainFacts, *, progress: Progress, overall: Deadline
) -> None:
    """See a started node through its boot and its steps."""
    metadata = facts.metadata or node.metadata
    deadlines = Deadlines.of("kvm" if prepared.accel == "kvm" else "tcg")
    log = identity.console_volume(prepared.topology.name, node.name)

    def state() -> str:
        return domain_state(host, node.domain)

    def console() -> str:
        return console_text(host, prepared.observed.pool_path, log)

    def booted(guest: Guest) -> tuple[str, ...]:
        return wait_until_ready(
            guest,
            console=console,
            domain_state=state,
            on_stage=lambda stage: progress.stage(node.name, stage),
            deadlines=deadlines,
            overall=overall,
        )

    with guest_of(host, metadata) as guest:
        try:
            complaints = booted(guest)
        except FailedStart as error:
            if prepared.accel != "tcg":
                raise
            # QEMU's emulation lets a kernel down at its start now and then, when the host is busy: it panics, or hangs.
            progress.warn(f"{error.message}; under emulation that happens, so it is started once more")
            for kind in (StopDomain, StartDomain):
                _do(host, kind(node.domain, node.name, "it failed at its start"))
            complaints = booted(guest)
        for complaint in complaints:
            progress.warn(f"{node.name}: cloud-init: {complaint}")
        progress.stage(node.name, "roles")
        satisfy(
            guest,
            steps_of(host, metadata, facts.serials, prepared.members),
            deadline=overall.capped(deadlines.roles_s),
            watch=Vigil(guest, console, state, "roles"),
        )


def _take_back(host: Host, prepared: Prepared) -> bool:
    """Give functions that a killed start of the bed left on vfio-pci back to their drivers; whether there were any."""
    bed, left = prepared.topology.name, False
    for inventory in prepared.places.hosts.values():
        for function in stranded(inventory):
            owner = inventory.owner(function.address)
            if owner is not None and owner.bed == bed:
                left = True
                _do(host, ReturnDevices(owner.domain, owner.node, "left on vfio-pci", (function.address,)))
    return left
