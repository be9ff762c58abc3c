"""A node that was started, seen through its boot and its steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from vmlab.domainxml.metadata import LEAN, NodeMetadata
from vmlab.domainxml.read import DomainFacts
from vmlab.guest.boot import WAITS, Deadlines, Vigil, wait_until_ready
from vmlab.guest.patience import Advance, Patience
from vmlab.guest.satisfy import satisfy
from vmlab.guest.ssh import Guest
from vmlab.lab.ground.doors import advance
from vmlab.lab.ground.guests import steps_of
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.runtime.wait import Deadline
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.console import console_text
from vmlab.virt.observe import domain_state


@dataclass(frozen=True)
class Boot:
    """Of one node. `facts` are those that it runs with, `kind` is libvirt's ("kvm", "qemu"), `folder` the beds' pool.

    `members` are all nodes of the bed, which the steps name.
    """

    hosts: Hosts
    host: Host
    domain: str
    kind: str
    folder: str
    metadata: NodeMetadata
    facts: DomainFacts
    members: Mapping[str, NodeMetadata]
    progress: Progress
    overall: Deadline

    @property
    def log(self) -> str:
        """The file of its console, in the pool."""
        return identity.console_volume(self.metadata.bed, self.metadata.node)

    def ready(self, guest: Guest, *, clone: bool = False) -> tuple[str, ...]:
        """Until it answers; what cloud-init complained of. Raises GuestError."""
        return wait_until_ready(
            guest,
            console=self._console,
            domain_state=self._state,
            on_stage=lambda stage: self.progress.stage(self.metadata.node, WAITS[stage]),
            deadlines=self._deadlines,
            overall=self.overall,
            advances=self._advances,
            lean=self.metadata.first_boot == LEAN,
            clone=clone,
        )

    def take_steps(self, guest: Guest) -> None:
        """What its roles need. Raises GuestError."""
        self.progress.stage(self.metadata.node, "roles")
        satisfy(
            guest,
            steps_of(self.hosts, self.metadata, self.facts, self.members),
            deadline=Patience.of(self._deadlines.roles_s, self.overall, self._advances),
            watch=Vigil(guest, self._console, self._state, "roles"),
            advances=self._advances,
        )

    @property
    def _deadlines(self) -> Deadlines:
        return Deadlines.of("kvm" if self.kind == "kvm" else "tcg")

    @cached_property
    def _advances(self) -> Advance:
        return advance(self.host, self.domain, self.kind, self._console)

    def _state(self) -> str:
        return domain_state(self.host, self.domain)

    def _console(self) -> str:
        return console_text(self.host, self.folder, self.log)
