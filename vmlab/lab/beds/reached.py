"""How far the guests of a bed have come: all are asked together, and have one time to answer."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vmlab.domainxml.metadata import LEAN, NodeMetadata
from vmlab.domainxml.read import DomainFacts
from vmlab.errors import GuestError
from vmlab.guest.boot import DeadGuest
from vmlab.guest.hosts import NAMES
from vmlab.guest.lookout import BOOT, PANIC, PAUSED
from vmlab.guest.satisfy import satisfy
from vmlab.guest.ssh import Guest
from vmlab.lab.beds.status import NodeStatus
from vmlab.lab.ground.doors import doors
from vmlab.lab.ground.guests import steps_of
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline
from vmlab.virt.console import console_text
from vmlab.virt.observe import domain_state

_BECAME = "[ -e /run/vmlab/first-boot ] || [ -e /run/cloud-init/result.json ]"
_ANSWER_S = 30.0
_BANNER_S = 8.0  # a guest that is emulated on a busy host takes seconds to say who it is


def reached(
    hosts: Hosts, bed: ObservedBed, nodes: Sequence[NodeStatus], tell: Callable[[NodeStatus], None] = lambda _: None
) -> list[NodeStatus]:
    """The same nodes with the stages of those that run; `tell` hears of each as soon as it has answered, or has not."""
    running = [node for node in nodes if not node.stage]
    if not running:
        return list(nodes)
    question = _Question(hosts, bed, doors(hosts, bed), bed.metadata, Deadline.after(_ANSWER_S))

    def ask(node: NodeStatus) -> NodeStatus:
        answer = question.ask(node)
        tell(answer)
        return answer

    asked = each(ask, running, jobs=len(running), failed="not all nodes could be asked")
    told = {node.name: node for node in asked}
    return [told.get(node.name, node) for node in nodes]


@dataclass(frozen=True, slots=True)
class _Question:
    hosts: Hosts
    bed: ObservedBed
    guests: Mapping[str, Guest]
    metadata: Mapping[str, NodeMetadata]
    deadline: Deadline

    def ask(self, node: NodeStatus) -> NodeStatus:
        domain = self.bed.nodes[node.name]
        host, name = self.hosts.of(domain), domain.facts.name
        # One that only starts up is paused, too, and says so.
        if domain.state == "paused" and domain_state(host, name) == "paused":
            way = f"virsh -c {shlex.quote(host.uri)} resume {name}"
            return replace(node, stage="paused", problem=f"{node.name} is paused", hint=way)
        guest = self.guests[node.name]
        try:
            guest.watch()
            if guest.answers(min(_BANNER_S, self.deadline.left_s)):
                return replace(node, stage=self._stage(guest, domain.facts))
        except DeadGuest as error:
            stages = {PANIC: PANIC, PAUSED: PAUSED, BOOT: "kernel"}
            return replace(node, stage=stages.get(error.stage, "domain"), problem=error.message, hint=error.hint)
        console = Path(node.console)
        printed = console_text(host, str(console.parent), console.name).strip()
        return replace(node, stage="kernel" if printed else "domain")

    def _stage(self, guest: Guest, facts: DomainFacts) -> str:
        """The last stage of a guest that answers; raises DeadGuest."""
        try:
            with guest:
                guest.connect(self.deadline)
                done = guest.run(("sh", "-c", _BECAME), deadline_s=self.deadline.left_s)
                if not done.ok:
                    return "ssh"
                steps = steps_of(self.hosts, self.metadata[guest.node], facts, self.metadata)
                # Of nodes on a host that is away nobody knows the addresses now, and the guest rightly does.
                known = [replace(step, apply=()) for step in steps if self.hosts.whole or step.name != NAMES]
                satisfy(guest, known, deadline=self.deadline)
        except DeadGuest:
            raise
        except GuestError as error:
            became = "ssh" if self.metadata[guest.node].first_boot == LEAN else "cloud-init"
            return became if error.stage == "roles" else "kernel"
        return "ready"
