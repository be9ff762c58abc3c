"""Bring a bed up: look, plan, act in parallel, verify."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial

from vmlab.domainxml.read import DomainFacts, read_domain
from vmlab.errors import GuestError, HostError, VmlabError
from vmlab.guest.boot import DeadGuest, FailedStart
from vmlab.guest.console import panicked_early
from vmlab.guest.ssh import Guest
from vmlab.inventory.passable import stranded
from vmlab.lab.beds import channel
from vmlab.lab.beds.admission import admit, when_admitted
from vmlab.lab.beds.boot import Boot
from vmlab.lab.beds.clone import Source, begin_anew, clone, rotten, take_back
from vmlab.lab.beds.decide import Part, Prepared
from vmlab.lab.beds.go_on import go_on
from vmlab.lab.beds.prepare import Images, acceleration, at_once, images_of, lustre_in, prepare, remarks
from vmlab.lab.beds.same_disks import refuse_other_folders
from vmlab.lab.beds.settle import settle
from vmlab.lab.beds.shut_down import shut_down
from vmlab.lab.beds.standing import set_clocks
from vmlab.lab.beds.taken import refuse_taken
from vmlab.lab.beds.warm import refuse_cold, sources
from vmlab.lab.filesystems.bring_up import raise_filesystems, wanted
from vmlab.lab.ground.bed import leasing, locked
from vmlab.lab.ground.bed_folder import keep, make_for, register, roles_on, spread, spread_over
from vmlab.lab.ground.guests import guest_of
from vmlab.lab.ground.hard_end import UP_S, Going, limit_s, told
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.image_store import cloning
from vmlab.lab.ground.images_elsewhere import bring, cloning_elsewhere, elsewhere
from vmlab.lab.ground.lanes import node_lanes
from vmlab.lab.ground.progress import Progress
from vmlab.lab.ground.stages import StageTime
from vmlab.lustre.target import Recovery
from vmlab.plan.actions import Action, ReturnDevices, StartDomain, StopDomain, before_start, by_name
from vmlab.plan.desired import DesiredNode
from vmlab.runtime.descriptors import STARTING, require
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.runtime.wait import Deadline, now
from vmlab.topology import Topology
from vmlab.virt.connection import Host
from vmlab.virt.console import console_lines
from vmlab.virt.outside import no_way_out
from vmlab.virt.perform import perform, perform_lanes
from vmlab.virt.pool import BEDS, IMAGES, ensure_pool
from vmlab.virt.shared_folder import refresh_folders

_ASK_S = 60.0
_KINDS = {"kvm": "kvm", "tcg": "qemu"}
_UNDEFINED = "not all nodes could be defined"
_NOT_COLD = "the same again; or --warm auto, which lets it boot"


@dataclass(frozen=True, slots=True)
class Raised:
    """What `up` did. `stages` are those of LNet and the file systems, with what they took; `clones` did not boot.

    `reverted`: when the bed was as it is again (ISO 8601, UTC), if it went back to that.
    """

    prepared: Prepared
    actions: tuple[Action, ...]
    stages: tuple[StageTime, ...] = ()
    clones: frozenset[str] = frozenset()
    reverted: str = ""


def up(
    hosts: Hosts,
    topology: Topology,
    *,
    accel: str,
    restart: bool,
    timeout_s: float | None,
    jobs: int,
    wait: bool,
    progress: Progress,
    recovery: Recovery | None = None,
    held: bool = False,
    sweep: str | None = None,
    there: dict[str, Guest] | None = None,
) -> Raised:
    """Make the bed as the topology says: every guest ready, LNet and file systems up where the images carry Lustre.

    `jobs` nodes are worked on at once, 0: as many as the hosts have CPUs for. With `wait` False it returns when all
    guests are started. What is already so is left alone. `recovery` bounds the time that targets mounted now wait for
    their clients. `held`: the caller holds the bed. `sweep` is the one that it is brought up for, "" if somebody wants
    it; None leaves that as it is. `there` are doors, some of them open, which are closed at the end. Without
    `timeout_s` it ends after ten minutes, or with emulated guests when nothing advances. Raises one error for all nodes
    that failed, after all others are done.
    """
    begin = now()
    with nullcontext() if held else locked(hosts, topology.name):
        if sweep is not None:
            make_for(hosts.keeper, topology.name, sweep)
        _refuse_forgotten(hosts, topology)
        _tell_hosts(hosts, topology.name)
        hosts.each(partial(_ensure_pools, topology.name), failed="not all hosts could be made ready")
        settle(hosts, topology.name, progress)
        with cloning(), cloning_elsewhere(hosts):
            images = images_of(hosts, topology)
            bring(hosts, images, progress)
            accel = acceleration(hosts, accel, images, progress)
            seconds = limit_s(timeout_s, UP_S, emulated=accel != "kvm")
            overall, going = Deadline(begin + seconds), Going(progress)
            ending = partial(told, hosts, topology.name, overall, seconds, going, again="vmlab up")
            with ending():
                if restart:
                    # Before others wait for what we hold.
                    _shut_down(hosts, prepare(hosts, topology, accel=accel, restart=True, images=images), going)
                claim = partial(_claimed, hosts, topology, accel=accel, restart=restart, images=images, progress=going)
                prepared, made = when_admitted(claim, overall, going)
        at_a_time = at_once(hosts, accel)
        jobs = jobs or at_a_time
        with ending():
            clones = sources(hosts, prepared, images, going, jobs=min(jobs, at_a_time))

        cloned: set[str] = set()
        lustre = lustre_in(images)
        mounts = wait and hosts.have_guests and lustre is not False and wanted(topology)
        again = frozenset(prepared.nodes if mounts else prepared.from_memory if wait else ())
        require(len(again) + STARTING, f"connections to {len(again)} guests")
        there = {} if there is None else there

        def node(asked: DesiredNode) -> None:
            source = clones.get(asked.name)
            if _node(hosts, prepared, asked, going, overall, source=source, wait=wait, again=again, there=there):
                cloned.add(asked.name)

        with ending(), closed_after(there):
            with suppress(HostError):  # told when all are up
                channel.begin(hosts, topology.name, prepared.members.values())
            # Whoever waits for guests has many in hand; whoever does not has libvirt to wait for.
            jobs = jobs if wait else min(jobs, LIBVIRT_JOBS)
            each(node, prepared.nodes.values(), jobs=jobs, failed=f"{topology.name}: not all nodes came up")
            if wait:
                set_clocks(hosts, prepared.bed, prepared.from_memory, going, there)
            channel.ensure(hosts, topology.name, prepared.members.values(), going)
            stages: tuple[StageTime, ...] = ()
            if mounts:
                sure = lustre is not None
                stages = raise_filesystems(
                    hosts, topology, going, overall, recovery=recovery, alone=not held, sure=sure, there=there
                )
        return Raised(prepared, (*made, *prepared.plan.actions), stages, frozenset(cloned))


@contextmanager
def closed_after(there: Mapping[str, Guest]) -> Iterator[None]:
    """One log-in for all stages: it is what an emulated guest takes longest for."""
    try:
        yield
    finally:
        for guest in tuple(there.values()):
            guest.close()


def _ensure_pools(bed: str, host: Host) -> None:
    ensure_pool(host, BEDS)
    ensure_pool(host, IMAGES)
    refresh_folders(host, bed)


def _refuse_forgotten(hosts: Hosts, topology: Topology) -> None:
    """Raise HostError for a host of the bed that the file does not have any more: nobody would look there."""
    here = {host.uri for host in hosts.values()}
    if gone := {name: uri for uri, name in spread_over(hosts.keeper, topology.name).items() if uri not in here}:
        where = ", ".join(f"{name} ({uri})" for name, uri in gone.items())
        other = [name for name in gone if name in topology.hosts]
        again = f"give {', '.join(other)} that `uri` again" if other else "add it again, without nodes"
        raise HostError(
            f"{topology.name} is on {where}, too, which {topology.file} does not have under `hosts`",
            hint=f"{again}; or: vmlab down {topology.name}",
        )


def _tell_hosts(hosts: Hosts, bed: str, prepared: Prepared | None = None) -> None:
    """What `down` needs of a bed's hosts when it is told no more than the bed's name, or one of them is away."""
    if hosts.several or any(map(elsewhere, hosts.values())):
        parts = {} if prepared is None else prepared.parts
        nodes = {name: roles_on(hosts.keeper, bed, name) or {} for name in hosts}
        for name, part in parts.items():
            nodes[name] |= {node: found.roles for node, found in part.observed.bed(bed).metadata.items()}
            nodes[name] |= {node: wanted.metadata.roles for node, wanted in part.desired.nodes.items()}
        spread(hosts.keeper, bed, {name: host.way for name, host in hosts.items()}, nodes)


def _claimed(
    hosts: Hosts, topology: Topology, *, accel: str, restart: bool, images: Images, progress: Progress
) -> tuple[Prepared, tuple[Action, ...]]:
    """What is decided, when all that others could take is ours; and what was done to the hosts for it."""
    with leasing(hosts):
        prepared, made = _decided(hosts, topology, accel=accel, restart=restart, images=images)
        remarks(prepared, images, progress)
        if not hosts.simulated:
            refuse_cold(hosts, prepared, images)
        if any(host.local for host in hosts.values()) and (reason := no_way_out()):
            progress.say(f"{reason}: guests reach its own networks only")
        refuse_taken(hosts, prepared, progress)
        if not hosts.simulated:
            refuse_other_folders(hosts, prepared)
        _make_room(hosts, prepared, progress)
        placed = prepared.places.placement is not None
        if placed:
            # What is defined is a claim that other beds see: CPUs, memory and functions are ours from then on.
            _define(hosts, prepared, progress)
    if not placed:
        _define(hosts, prepared, progress)
    for name, part in prepared.parts.items():
        perform_lanes(hosts[name], by_name(part.plan.last), failed="not all old kernels could be removed")
    return prepared, made


def _shut_down(hosts: Hosts, prepared: Prepared, progress: Progress) -> None:
    """What is going to be stopped has its chance to write what it has not yet."""
    stopped = [a.node for a in prepared.plan.actions if isinstance(a, StopDomain) and a.node is not None]
    shut_down(hosts, prepared.bed, stopped, progress)


def _decided(
    hosts: Hosts, topology: Topology, *, accel: str, restart: bool, images: Images
) -> tuple[Prepared, tuple[Action, ...]]:
    """The plan, when what a killed start left is taken back and all virtual functions exist; and what that took.

    Raises TooLittleMemory before any function is made.
    """

    def decide() -> Prepared:
        return prepare(hosts, topology, accel=accel, restart=restart, images=images)

    prepared = decide()
    if _take_back(hosts, prepared):
        prepared = decide()
    admit(hosts, prepared)
    made = prepared.plan.host
    if made:
        for name, part in prepared.parts.items():
            perform_lanes(hosts[name], by_name(part.plan.host), failed="not all functions could be made ready")
        prepared = decide()  # with the addresses that the kernel gave them, and those that their drivers show
    return prepared, made


def _make_room(hosts: Hosts, prepared: Prepared, progress: Progress) -> None:
    """What is to be there before nodes are: keys, networks, shared disks; and what is to go."""
    register(hosts.keeper)
    _tell_hosts(hosts, prepared.topology.name, prepared)
    prepared.keys.write(tuple(prepared.members))
    keep(hosts.keeper, prepared.topology.name, prepared.topology.keep or "")
    for name, part in prepared.parts.items():
        _make_room_on(hosts[name], part, progress)


def _make_room_on(host: Host, part: Part, progress: Progress) -> None:
    plan = part.plan
    perform_lanes(host, by_name(plan.networks), failed="not all networks could be made")
    perform_lanes(host, by_name(plan.folders), failed="not all folders could be made")
    perform_lanes(host, by_name(plan.volumes), failed="not all shared disks could be made")
    removed = [lane for name, lane in plan.lanes.items() if name not in part.desired.nodes]
    node_lanes(host, removed, progress, failed="not all nodes could be removed", gone=True)


def _define(hosts: Hosts, prepared: Prepared, progress: Progress) -> None:
    """Each node's lane up to its definition: from then on its clone keeps its image from being removed."""

    def define(place: tuple[str, Part]) -> None:
        name, part = place
        lanes = [before_start(part.plan.lanes.get(node, ())) for node in part.desired.nodes]
        node_lanes(hosts[name], filter(None, lanes), progress, failed=_UNDEFINED)

    each(define, prepared.parts.items(), jobs=len(hosts), failed=_UNDEFINED)


def _node(
    hosts: Hosts,
    prepared: Prepared,
    node: DesiredNode,
    progress: Progress,
    overall: Deadline,
    *,
    source: Source | None,
    wait: bool,
    again: Collection[str],
    there: dict[str, Guest],
) -> bool:
    """The rest of one node's lane, then, if that is to be waited for, its boot and its steps; whether it is a clone.

    The connection to who is needed `again` stays open, `there`.
    """
    if overall.passed:
        progress.stage(node.name, "waiting for its turn")
        raise GuestError(f"{node.name} was not begun", node=node.name, stage="waiting")
    on, part = prepared.place(node.name)
    host = hosts[on]
    lane = part.plan.lanes.get(node.name, ())
    cloned = False
    for action in lane[len(before_start(lane)) :]:
        if source is not None and isinstance(action, StartDomain):
            cloned = _cloned(host, prepared, node, source, progress)
            if cloned:
                continue
        progress.stage(node.name, action.kind)
        perform(host, action)
    if not wait or not host.has_guests:
        progress.stage(node.name, "started")
        return cloned
    # A node whose change is pending runs as it was defined then: at its old address, with its old disks.
    observed = prepared.bed.nodes.get(node.name)
    held = any(action.node == node.name for action in part.plan.pending)
    facts = observed.facts if held and observed is not None else read_domain(node.xml)
    go_on(host, node.domain, facts.disks, node.name, progress)
    with ExitStack() as stack:
        guest = there.get(node.name) or guest_of(hosts, host, facts.metadata or node.metadata)
        stack.enter_context(guest)
        _follow(hosts, prepared, node, facts, guest, cloned=cloned, progress=progress, overall=overall)
        if node.name in again:
            there[node.name] = guest
            stack.pop_all()
    progress.stage(node.name, "ready")
    return cloned


def _cloned(host: Host, prepared: Prepared, node: DesiredNode, source: Source, progress: Progress) -> bool:
    """Whether it goes on from the template's memory; if not, it is as it was before, and may boot.

    Raises HostError where nobody is to boot: the next `up` finds it new.
    """
    progress.stage(node.name, "clone")
    try:
        clone(host, source, prepared.topology.name, node)
    except VmlabError as error:
        only = prepared.topology.warm == "only"
        if not only:
            progress.warn(f"{node.name}: {error.message}; it boots")
        (take_back if only else begin_anew)(host, node)
        if rotten(source):
            progress.warn(f"the template {source.key} is not what it was, and is removed: the next `up` makes it anew")
        if only:
            raise HostError(
                f"{node.name} is no template's clone, and is not to boot (--warm only): {error.message}",
                hint=error.hint or _NOT_COLD,
            ) from error
        return False
    return True


def _follow(
    hosts: Hosts,
    prepared: Prepared,
    node: DesiredNode,
    facts: DomainFacts,
    guest: Guest,
    *,
    progress: Progress,
    overall: Deadline,
    cloned: bool = False,
) -> None:
    """See a started node through its boot and its steps."""
    on, part = prepared.place(node.name)
    host = hosts[on]
    boot = Boot(
        hosts,
        host,
        node.domain,
        _KINDS.get(prepared.accel, ""),
        part.observed.pool_path,
        facts.metadata or node.metadata,
        facts,
        prepared.members,
        progress,
        overall,
    )

    def whole_console() -> str:
        return console_lines(host, boot.folder, boot.log, 0)[0]

    try:
        complaints = boot.ready(guest, clone=cloned)
    except DeadGuest as error:
        # QEMU's emulation lets a kernel down at its start now and then, when the host is busy: it panics, or hangs.
        # It may have done so before we came, when another `up` had started it and was killed.
        boots = not (cloned and prepared.topology.warm == "only")
        failed = isinstance(error, FailedStart) or panicked_early(whole_console())
        if prepared.accel != "tcg" or not (boots and failed):
            raise
        progress.warn(f"{error.message}; under emulation that happens, so it is started once more")
        for kind in (StopDomain, StartDomain):
            perform(host, kind(node.domain, node.name, "it failed at its start"))
        complaints = boot.ready(guest)
    for complaint in complaints:
        progress.warn(f"{node.name}: cloud-init: {complaint}")
    boot.take_steps(guest)
    if facts.details.paths and not guest.run(("sh", "-c", "command -v multipathd"), deadline_s=_ASK_S).ok:
        progress.warn(f"{node.name}: the image has no multipathd: each path to a disk is a disk of its own")


def _take_back(hosts: Hosts, prepared: Prepared) -> bool:
    """Give functions that a killed start of the bed left on vfio-pci back to their drivers; whether there were any."""
    bed, left = prepared.topology.name, False
    for host, inventory in prepared.places.hosts.items():
        for function in stranded(inventory):
            owner = inventory.owner(function.address)
            if owner is not None and owner.bed == bed:
                left = True
                perform(hosts[host], ReturnDevices(owner.domain, owner.node, "left on vfio-pci", (function.address,)))
    return left
