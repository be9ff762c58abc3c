"""The hosts of a bed: whoever looks, waits, writes or deletes for a node does it through that node's host."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from vmlab.plan.observed import Observed, ObservedDomain
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline
from vmlab.virt.connection import Away, Host
from vmlab.virt.observe import Answers, answers, followed, read

T = TypeVar("T")

_JOBS = 32


@dataclass(frozen=True, slots=True)
class Hosts(Mapping[str, Host]):
    """By the names that the topology gives them, in its order. Raises no KeyError that a user could cause.

    `away` are those that do not answer, where that is no reason to do nothing. `first` is the name of the first of all.
    """

    by_name: Mapping[str, Host]
    away: Mapping[str, Away] = field(default_factory=dict)
    first: str = ""

    def __getitem__(self, name: str) -> Host:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    @property
    def home(self) -> Host:
        """The first: it stands for the bed where something is the whole bed's. Raises HostError if it is away."""
        if self.first in self.away:
            raise self.away[self.first].why
        return next(iter(self.by_name.values()))

    @property
    def keeper(self) -> Host | Away:
        """The first, which may be away: the bed's secret lies here under its name."""
        return self.away.get(self.first) or self.home

    @property
    def whole(self) -> bool:
        """All answer."""
        return not self.away

    @property
    def several(self) -> bool:
        """The bed is on more than one, whether or not they answer."""
        return len(self) + len(self.away) > 1

    @property
    def routed(self) -> bool:
        """The bed's networks are this machine's, too; else what leads to a guest is its host."""
        return any(host.local for host in self.values()) or any(away.local for away in self.away.values())

    @property
    def simulated(self) -> bool:
        """libvirt's test driver; see `Host.simulated`."""
        return any(host.simulated for host in self.values())

    @property
    def have_guests(self) -> bool:
        """Somebody answers behind the domains that run."""
        return all(host.has_guests for host in self.values())

    def of(self, node: ObservedDomain) -> Host:
        """The host that a node is on."""
        return self[node.host]

    def look(self, *, whole: bool = True, leaving: str = "") -> dict[str, Observed]:
        """What is on each of them now, by name; as `observe`."""

        def ask(host: Host) -> Answers:
            return answers(host, whole=whole, leaving=leaving, links=self.several)

        failed = "not all hosts could be looked at"
        told = self.each(ask, failed=failed)
        seen = {name: read(self[name], answer, whole=whole, leaving=leaving) for name, answer in told.items()}
        if not whole:
            return seen
        return self.each(lambda host: followed(host, seen[host.name], leaving=leaving), failed=failed)

    def each(self, ask: Callable[[Host], T], *, failed: str) -> dict[str, T]:
        """What `ask` says of each host that answers, by name, all at once. Raises as `parallel.each`."""
        if len(self) == 1:  # no thread for that
            return {name: ask(host) for name, host in self.items()}
        return dict(zip(self, each(ask, self.values(), jobs=_JOBS, failed=failed), strict=True))

    @contextlib.contextmanager
    def until(self, hard_end: Deadline) -> Iterator[None]:
        """No call of libvirt's takes much longer than to `hard_end` for the `with` block."""
        with contextlib.ExitStack() as stack:
            for host in self.values():
                stack.enter_context(host.until(hard_end))
            yield


def only(host: Host) -> Hosts:
    """A bed that is on one host."""
    return Hosts({host.name: host})
