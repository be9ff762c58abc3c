"""What workloads have vmlab do to a bed that is held: take a server down, bring it up again, move its targets back."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from types import MappingProxyType

from vmlab.errors import GuestError, VmlabError
from vmlab.guest.patience import Advance
from vmlab.guest.ssh import Guest
from vmlab.lab.beds.revive import revive
from vmlab.lab.beds.up import up
from vmlab.lab.filesystems.failover import failback, failover
from vmlab.lab.filesystems.mount import unmount
from vmlab.lab.ground.doors import open_door
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.serving import first_with_partner
from vmlab.runtime.parallel import each
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology
from vmlab.workloads import Deed

_JOBS = 32


class Deeds:
    """Does deeds to the bed of `topology`, which the caller holds, and whose guests run as `accel` says.

    The doors to `guests` that take part are opened again when their power was switched.
    """

    def __init__(
        self,
        hosts: Hosts,
        topology: Topology,
        accel: str,
        progress: Progress,
        *,
        guests: Mapping[str, Guest] = MappingProxyType({}),
        advances: Mapping[str, Advance] = MappingProxyType({}),
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        """`forget` is called when all nodes began anew: what they died of before is past."""
        self._hosts = hosts
        self._guests = guests
        self._advances = advances
        self._forget = forget
        self._topology = topology
        self._accel = accel
        self._progress = progress
        self.struck: set[str] = set()
        """Nodes that were taken down on purpose and have not been brought up since."""

    def __call__(self, deed: Deed) -> Result:
        """Do it. What a guest did not do is a status, 6, with the reason as the last line of standard error.

        Standard output is `Failover` of `lab.filesystems.failover` as JSON, `null` where nothing had to move. Raises
        UsageError and HostError if it could not begin.
        """
        try:
            return Result(deed.argv, 0, f"{json.dumps(self._do(deed), indent=1)}\n", "")
        except GuestError as error:
            return Result(deed.argv, error.status, "", "".join(f"{line}\n" for line in _told(error)))

    def _do(self, deed: Deed) -> object:
        deadline = Deadline.after(deed.deadline_s)
        progress = self._progress
        if deed.verb == "up":
            up(
                self._hosts,
                self._topology,
                accel=self._accel,
                restart=False,
                timeout_s=deed.deadline_s,
                jobs=_JOBS,
                wait=True,
                progress=progress,
                held=True,
            )
            self.struck.clear()
            return None
        if deed.verb == "failback":
            moved = failback(self._hosts, self._topology, None, recovery=None, progress=progress, deadline=deadline)
            return None if moved is None else asdict(moved)
        if deed.verb == "umount":
            unmount(self._hosts, self._topology, progress, deadline, held=True)
            return None
        if deed.verb == "revive":
            self._revive(deadline)
            return None
        what = deed.target or first_with_partner(self._topology)
        return asdict(
            failover(
                self._hosts,
                self._topology,
                what,
                how=deed.how,
                recovery=None,
                progress=progress,
                deadline=deadline,
                on_blow=self.struck.add,
            )
        )

    def _revive(self, deadline: Deadline) -> None:
        for guest in self._guests.values():
            guest.close()
        self.struck.update(self._topology.nodes)
        revive(self._hosts, self._topology.name, self._progress, deadline)
        self.struck.clear()
        self._forget()
        each(
            lambda name: open_door(self._guests[name], self._advances[name]),
            self._guests,
            jobs=_JOBS,
            failed="not all nodes can be reached",
        )


def _told(error: VmlabError) -> Iterator[str]:
    """The consoles' last lines first, what went wrong in the last one."""
    for one in error.causes or (error,):
        yield from one.console if isinstance(one, GuestError) else ()
    yield "; ".join([error.message, *(cause.message for cause in error.causes)])
