"""A bed's LNet and file systems: its guests, what each says of its Lustre, and what each should be."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from vmlab.errors import GuestError, HostError, UsageError
from vmlab.guest.ssh import Guest
from vmlab.lab.filesystems.away import AwayNodes, away_nodes
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.doors import NONE_OPEN, advances, doors, open_door
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.lab.ground.stages import StageTime, drive
from vmlab.lustre.lnetconf import Lnet
from vmlab.lustre.survey import SURVEY, Survey, read_survey
from vmlab.lustre.target import Target
from vmlab.plan.filesystems import Stage, check_images, lnet, members, no_lustre, targets
from vmlab.plan.observed import ObservedBed
from vmlab.plan.serving import Evidence, forgotten, holders, mounted_on, refuse_unproven, serving, under_way
from vmlab.roles import Member
from vmlab.runtime.descriptors import STARTING, require
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology
from vmlab.values import identity
from vmlab.values.nodeset import fold
from vmlab.virt.observe import domain_state

_JOBS = 64
_SURVEY_S = 120.0
# No QEMU exists. One that "crashed" is kept for a look at it, and has its disks open.
OFF = ("shut off", "undefined")


@dataclass(frozen=True, slots=True)
class LustreBed:
    """`guests` and `surveys` are of the nodes that answer; `silent` says why the others do not.

    `left` is what nodes say that the topology no longer has and that still run, or why they say nothing. `away` are
    nodes whose host does not answer; those of the topology are silent.
    """

    hosts: Hosts
    topology: Topology
    found: ObservedBed
    guests: Mapping[str, Guest]
    silent: Mapping[str, str]
    surveys: Mapping[str, Survey]
    configs: Mapping[str, Lnet]
    left: Mapping[str, Survey | str] = field(default_factory=dict)
    away: AwayNodes = field(default_factory=AwayNodes)

    @property
    def targets(self) -> dict[str, Target]:
        """By label."""
        return targets(self.topology, self.configs)

    @property
    def members(self) -> dict[str, Member]:
        """What each node should be; one that does not answer is taken to carry what the others do.

        Raises HostError naming the images if Lustre is missing where it must be; see `carrying`.
        """
        versions = {name: survey.version for name, survey in self.surveys.items() if survey.version is not None}
        carrying = self.carrying()
        newest = max(versions.values())
        return members(self.topology, self.configs, {name: versions.get(name, newest) for name in carrying})

    def carrying(self) -> tuple[str, ...]:
        """The nodes that carry Lustre, or may carry it, as they do not answer.

        Raises UsageError if nobody answers, HostError naming the images if nobody who does carries it, or not all that
        serve or mount a file system.
        """
        if not self.surveys:
            name, told = self.topology.name, "; ".join(f"{node}: {why}" for node, why in self.silent.items())
            raise UsageError(f"no node of {name} answers ({told})", hint=f"vmlab status {name}")
        found = [node for node, survey in self.surveys.items() if survey.version is not None]
        check_images(self.topology, found, self.surveys)
        if not found:
            raise no_lustre(self.topology, self.surveys, f"{self.topology.name}: ")
        return tuple(node for node in self.topology.nodes if node in found or node in self.silent)

    def active(self) -> dict[str, str]:
        """The node that has each target that is mounted, when the bed was opened; see `serving`."""
        return serving(self.targets, self.surveys)

    def forgotten(self) -> dict[str, tuple[str, ...]]:
        """Targets in memory that were lost with it, by file system, when the bed was opened."""
        return forgotten(self.targets, self.surveys)

    @property
    def everybody(self) -> dict[str, Survey]:
        """What all say that answer, of nodes that the topology no longer has, too."""
        return {**self.surveys, **{node: said for node, said in self.left.items() if isinstance(said, Survey)}}

    @property
    def unheard(self) -> set[str]:
        """Those that run and do not answer."""
        said = {**dict.fromkeys(self.away.places, "away"), **self.silent, **self.left}
        return {node for node, why in said.items() if isinstance(why, str) and why != "off"}

    def holders(self) -> dict[str, tuple[str, ...]]:
        """The nodes that could have each target mounted, by label; on a host that is away, whoever was there last."""
        could = holders(self.topology, self.found)
        unknown = tuple(node for node in self.away.places if node not in self.topology.nodes)
        return {label: (*nodes, *unknown) for label, nodes in could.items()}

    def state(self, node: str) -> str:
        """The state of a node's domain now, in libvirt's words."""
        domain = self.found.nodes[node]
        return domain_state(self.hosts.of(domain), domain.facts.name)

    def evidence(self, label: str, node: str) -> Evidence:
        """Whether a node could have a target mounted now: libvirt, the node, its host's power are asked again."""
        if node in self.away.places:
            return "off" if self.away.proven_off else "away"
        if node not in self.found.nodes or self.state(node) in OFF:
            return "off"
        if node in self.guests:
            said = _said(self.guests[node])
        elif node in self.left:
            with doors(self.hosts, self.found)[node] as guest:
                said = _said(guest)
        else:
            return "silent"
        if not isinstance(said, Survey):
            return "silent"
        target = self.targets[label]
        busy = mounted_on(target, said) or under_way(target, said) in ("mounting", "unmounting")
        return "mounted" if busy else "free"

    def refuse_strangers(self, labels: Iterable[str]) -> None:
        """Raise HostError if a domain that is not the bed's runs with the disk of one of these targets."""
        own = {domain.facts.name for domain in self.found.nodes.values()}
        looks = self.hosts.look(whole=False)
        there = [domain for look in looks.values() for domain in look.domains.values() if domain.running]
        running = [domain for domain in there if domain.facts.name not in own]
        for label in labels:
            volume = identity.target_volume(self.topology.name, label)
            for domain in running:
                if any(disk.rpartition("/")[2] == volume for disk in domain.disks_in_use):
                    raise HostError(
                        f"the domain {domain.facts.name}, which is not of the bed {self.topology.name}, runs with the "
                        f"disk of {label}: nobody else mounts it",
                        hint=f"virsh destroy {domain.facts.name}",
                    )

    def refuse_left(self, labels: Iterable[str]) -> None:
        """Raise HostError if a node that the topology no longer has may have one of these targets mounted."""
        could = self.holders()
        for label in labels:
            left = [node for node in could.get(label, ()) if node not in self.topology.nodes]
            refuse_unproven(self.topology.name, label, left, self.evidence)

    def drive(
        self, stages: tuple[Stage, ...], progress: Progress, deadline: Deadline, *, patience_s: float = 0.0
    ) -> tuple[StageTime, ...]:
        """`lab.ground.stages.drive` over the guests that answer, watched for their death."""
        return drive(
            stages,
            self.guests,
            watch=lambda node: self.guests[node].watch,
            progress=progress,
            deadline=deadline,
            patience_s=patience_s,
            advances=advances(self.hosts, self.found),
        )

    def survey(self, node: str) -> Survey:
        """Ask a node again."""
        return _survey(self.guests[node])


@contextlib.contextmanager
def opened(
    hosts: Hosts, topology: Topology, *, tolerant: bool = False, there: Mapping[str, Guest] = NONE_OPEN
) -> Iterator[LustreBed]:
    """A bed with connections to its guests, and what each of them says. `there` are doors of the caller's.

    Raises UsageError if there is no such bed or it has not all nodes, GuestError if one does not answer; `tolerant`
    goes on without those that are off or do not answer, or whose host does not.
    """
    found = existing(hosts, topology.name)
    away = away_nodes(hosts, topology, found)
    missing = topology.nodes.keys() - found.nodes.keys() - away.places.keys()
    if missing:
        raise UsageError(f"{topology.name} has no {fold(missing)} yet", hint="vmlab up FILE")
    here = [name for name in topology.nodes if name in found.nodes]
    running = [name for name in here if found.nodes[name].running]
    silent = {name: "off" for name in here if name not in running}
    silent |= {name: "its host is away" for name in topology.nodes if name in away.places}
    if silent and not tolerant:
        told = fold(silent)
        raise UsageError(f"{topology.name}: off: {told}", hint=f"vmlab power on {topology.name} '{told}'")
    require(len(set(running) - there.keys()) + STARTING, f"connections to {len(running)} guests")
    addresses = {name: metadata.addresses for name, metadata in found.metadata.items()}
    # Those of a node whose host is away are not known.
    configs = lnet(topology, {name: addresses.get(name, ()) for name in topology.nodes})
    with contextlib.ExitStack() as stack:
        known, on = doors(hosts, found, there), advances(hosts, found)
        guests = {name: known[name] for name in running}
        for name in guests.keys() - there.keys():
            stack.enter_context(guests[name])

        def ask(name: str) -> tuple[str, Survey | str]:
            try:
                open_door(guests[name], on[name])
                return name, _survey(guests[name])
            except GuestError as error:
                if not tolerant:
                    raise
                return name, error.message

        answers = each(ask, running, jobs=_JOBS, failed="not all nodes can be reached")
        surveys = {name: answer for name, answer in answers if isinstance(answer, Survey)}
        silent |= {name: answer for name, answer in answers if isinstance(answer, str)}
        left = {}
        for name in [name for name, domain in found.nodes.items() if name not in topology.nodes and domain.running]:
            left[name] = _said(known[name])
        answering = {name: guests[name] for name in surveys}
        yield LustreBed(hosts, topology, found, answering, silent, surveys, configs, left, away)


def _said(guest: Guest) -> Survey | str:
    """What a node says, or why it says nothing."""
    try:
        return _survey(guest)
    except GuestError as error:
        return error.message


def _survey(guest: Guest) -> Survey:
    """A survey that is not whole is none: what it does not say may be what matters, such as a mounted target."""
    result = guest.run(SURVEY, deadline_s=_SURVEY_S, as_root=True)
    if not result.ok:
        why = f"no end after {_SURVEY_S:.0f} s" if result.timed_out else result.last_line
        raise GuestError(
            f"{guest.node} does not say what Lustre does there: {why}",
            node=guest.node,
            stage="survey",
            hint=f"vmlab ssh {guest.bed} {guest.node}",
        )
    return read_survey(result.stdout)
