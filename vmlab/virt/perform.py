"""Do actions to libvirt: one, or the lanes of a plan, of which several go into one call."""

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import libvirt

from vmlab.errors import HostError, LibvirtError, VmlabError, together
from vmlab.plan.actions import Action, CreateVfs, StartDomain
from vmlab.runtime.log import log
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.runtime.wait import now
from vmlab.values.size import Bytes
from vmlab.virt.connection import CALL_S, Host, lost, refused
from vmlab.virt.deeds import Place, Places, act

_LONG_S = 900.0  # a start locks all memory of a guest with devices, page by page
# Actions of one call: enough that handing it to its thread costs little beside them, which takes more of those of a
# driver in this process; few enough that all of them are done before anybody takes the call for one that hangs.
_AT_ONCE, _AT_ONCE_HERE = 8, 64
_LONG = (StartDomain, CreateVfs)
# The log tells a call when it begins. Where an action ends is told of those that somebody may look for by the clock.
_WORTH_A_LINE_S = 0.5

Lane = Sequence[Action]
"""Actions in their order."""


def perform(host: Host, action: Action) -> None:
    """Do `action`.

    Raises LibvirtError naming the object, or HostError where the host lacks what it needs.
    """
    if errors := _Call(Places(host), [[action]]).made():
        raise errors[0]


def perform_lanes(
    host: Host,
    lanes: Iterable[Lane],
    *,
    failed: str,
    jobs: int = LIBVIRT_JOBS,
    begin: Callable[[Action], None] = lambda _: None,
    end: Callable[[Lane], None] = lambda _: None,
) -> None:
    """Do each lane's actions in their order, the lanes side by side; `begin` and `end` hear of each.

    What fails ends its own lane. Raises one error of the tree when all others are over, `failed` being the sum's
    message, as `each` does.
    """
    places = Places(host)

    def make(part: Sequence[Lane]) -> list[VmlabError]:
        return _Call(places, part, begin, end).made()

    # A driver in this process has no requests on their way: threads only take the interpreter from each other.
    threads, actions = (1, _AT_ONCE_HERE) if host.simulated else (jobs, _AT_ONCE)
    made = each(make, _parts(lanes, actions), jobs=threads, failed=failed)
    if errors := [error for part in made for error in part]:
        raise together(errors, failed)


def _parts(lanes: Iterable[Lane], actions: int) -> Iterator[list[Lane]]:
    part: list[Lane] = []
    for lane in lanes:
        part.append(lane)
        if sum(map(len, part)) >= actions:
            yield part
            part = []
    if part:
        yield part


class _Call:
    """Lanes that are done one after the other in one call of `Host.call`.

    If libvirtd goes away in the middle, the action at hand is done again, and then what follows it. If the call takes
    too long, nothing more of it is begun.
    """

    def __init__(
        self,
        places: Places,
        lanes: Iterable[Lane],
        begin: Callable[[Action], None] = lambda _: None,
        end: Callable[[Lane], None] = lambda _: None,
    ) -> None:
        self._places = places
        self._begin = begin
        self._end = end
        self._lanes = deque(lanes)
        self._done = 0  # actions of the first of them
        self._errors: list[VmlabError] = []
        self._given_up = threading.Event()

    def made(self) -> list[VmlabError]:
        """Do all; why lanes failed, if any did."""
        long = any(isinstance(action, _LONG) for lane in self._lanes for action in lane)
        try:
            self._places.host.call(self._make, deadline_s=_LONG_S if long else CALL_S)
        except LibvirtError as error:
            self._errors.append(self._explained(error))
        finally:
            self._given_up.set()
        return self._errors

    def _make(self, connection: "libvirt.virConnect") -> None:
        place = self._places.over(connection)
        left = (action for number, lane in enumerate(self._lanes) for action in lane[0 if number else self._done :])
        log.debug("%s", "; ".join(f"{action.kind} {action.name} ({action.reason})" for action in left))
        while self._lanes:
            try:
                self._lane(place)
            except libvirt.libvirtError as error:
                if lost(connection, error):
                    raise
                self._errors.append(self._explained(refused(error)))
            except LibvirtError as error:
                self._errors.append(self._explained(error))
            except VmlabError as error:
                self._errors.append(error)
            if self._given_up.is_set():
                return
            self._lanes.popleft()
            self._done = 0

    def _lane(self, place: Place) -> None:
        lane = self._lanes[0]
        while self._done < len(lane):
            if self._given_up.is_set():
                return
            action, began = lane[self._done], now()
            self._begin(action)
            act(action, place)
            self._done += 1
            if (lasted := now() - began) > _WORTH_A_LINE_S:
                log.debug("%s %s: done after %.1f s", action.kind, action.name, lasted)
        self._end(lane)

    def _explained(self, error: LibvirtError) -> VmlabError:
        """What failed is the action at hand."""
        return _explained(self._lanes[0][self._done], error)


_NO_PLACE = re.compile(r"hugetlbfs mount for (\d{1,12}) KiB")


def _explained(action: Action, error: LibvirtError) -> LibvirtError | HostError:
    message = f"{action.kind} {action.name}: {error.message.removeprefix('libvirt: ')}"
    if error.hint:
        return LibvirtError(message, hint=error.hint)
    if found := _NO_PLACE.search(error.message):
        size = Bytes(int(found[1]) << 10)
        place = f"/dev/hugepages-{size}"
        mount = f"mkdir -p {place} && mount -t hugetlbfs -o pagesize={size.kib}K hugetlbfs {place}"
        return HostError(message, hint=f"{mount} && systemctl restart libvirtd")
    if "No space left" in error.message:
        return HostError(message, hint="df -h; `vmlab gc` lists what belongs to no bed")
    if "Permission denied" in error.message and "virtio-9p" in error.message:
        hint = "by 9p QEMU opens a shared folder as the guests' user: let all go there and read, or install virtiofsd"
        return HostError(message, hint=hint)
    if "Permission denied" in error.message:
        return HostError(message, hint="vmlab host check")
    return LibvirtError(message)
