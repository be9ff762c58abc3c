"""The consoles of a bed while something is measured on it: a kernel's Oops, LBUG or panic fails what was measured.

So does a QEMU that is gone without a word. Who was switched off, from here or from inside, is not looked for.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

from vmlab.errors import GuestError, VmlabError
from vmlab.guest.console import complaints, fatal
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.log import log
from vmlab.runtime.wait import now
from vmlab.suites.consoles import Event, read_console
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.console import console_end, console_lines
from vmlab.virt.pool import BEDS, pool_path
from vmlab.virt.running import vanished

_LOOK_EVERY_S = 1.0
_COSTLY = 10  # who may not read the files has them from libvirt, one by one
_LINES = 3  # of one node: the first tells what happened, the others what came of it
_KEPT = 4 << 20  # characters of one console
_GONE = "its QEMU is gone, and nobody here has ended it"


class Consoles:
    """Looks at the consoles of nodes that run from its beginning to its end.

    A node that is `spared` is not looked at, for as long as it is: somebody took it down on purpose.
    """

    def __init__(self, hosts: Hosts, bed: ObservedBed, *, spared: Callable[[], Collection[str]] = frozenset) -> None:
        self._hosts = hosts
        self._bed = bed
        self._spared = spared
        self._folders = {
            name: host.call(lambda connection: pool_path(connection, BEDS)) for name, host in hosts.items()
        }
        self._at = {name: self._end(name) for name, domain in bed.nodes.items() if domain.running}
        self._seen: dict[str, list[str]] = {}
        self._past: list[str] = []
        self._kept: dict[str, str] = {}
        self._gone: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="consoles", daemon=True)

    def __enter__(self) -> Self:
        if self._hosts.have_guests:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def findings(self) -> tuple[str, ...]:
        """What kernels complained of until now, each line with its node's name."""
        if self._hosts.have_guests:
            self._look()
        return tuple(dict.fromkeys((*self._past, *self._told())))

    def begin(self) -> None:
        """From now on counts what `events` tells."""
        if self._hosts.have_guests:
            self._look()
        with self._lock:
            self._kept.clear()

    def events(self) -> Mapping[str, tuple[Event, ...]]:
        """What the kernels said since `begin`, by node; nodes that said nothing are absent."""
        if self._hosts.have_guests:
            self._look()
        with self._lock:
            found = {node: read_console(text).events for node, text in self._kept.items()}
        return {node: events for node, events in found.items() if events}

    def forget(self) -> None:
        """The nodes began anew: who was dead is waited for again. What was found stays found."""
        with self._lock:
            self._past += self._told()
            self._seen.clear()
            self._gone = frozenset()

    def _told(self) -> list[str]:
        gone = [f"{node}: {_GONE}" for node in sorted(self._gone)]
        return [*(f"{node}: {line}" for node, lines in self._seen.items() for line in lines), *gone]

    def watch(self) -> None:
        """A `Watch`: raises GuestError when it makes no sense any more to wait for the bed."""
        for node, lines in list(self._seen.items()):
            if line := next(filter(fatal, lines), None):
                raise GuestError(
                    f"{node}: {line}",
                    node=node,
                    stage="panic",
                    console=lines,
                    hint=f"vmlab power cycle {self._bed.name} {node}",
                )
        for node in self._gone:
            hint = f"vmlab power on {self._bed.name} {node}"
            raise GuestError(f"{node}: {_GONE}", node=node, stage="off", hint=hint)

    def _watch(self) -> None:
        took_s = 0.0
        while not self._over.wait(max(_LOOK_EVERY_S, _COSTLY * took_s)):
            begin = now()
            self._look()
            took_s = now() - begin

    def _look(self) -> None:
        with self._lock:
            spared = self._spared()
            for node in self._at:
                if node in spared:
                    self._at[node] = 0  # its next start begins the console anew
                    continue
                news = self._news(node)
                self._kept[node] = (self._kept.get(node, "") + news)[-_KEPT:]
                self._note(node, complaints(news))
            self._gone |= self._vanished(spared)

    def _vanished(self, spared: Collection[str]) -> frozenset[str]:
        """By node, of those that ran when this began."""
        names = {self._bed.nodes[node].facts.name: node for node in self._at if node not in spared}
        try:
            found = [vanished(host, names) for host in self._hosts.values()]
        except VmlabError as error:
            log.debug("libvirt is not asked who is gone: %s", error)
            return frozenset()
        return frozenset(names[name] for some in found for name in some)

    def _note(self, node: str, lines: Sequence[str]) -> None:
        seen = self._seen.get(node, [])
        new = [line for line in dict.fromkeys(lines) if line not in seen][: _LINES - len(seen)]
        if new:
            self._seen[node] = [*seen, *new]

    def _news(self, node: str) -> str:
        try:
            text, self._at[node] = console_lines(*self._console(node), self._at[node])
        except VmlabError as error:
            log.debug("the console of %s is not read: %s", node, error)
            return ""
        return text

    def _end(self, node: str) -> int:
        return console_end(*self._console(node))

    def _console(self, node: str) -> tuple[Host, str, str]:
        host = self._hosts.of(self._bed.nodes[node])
        return host, self._folders[host.name], identity.console_volume(self._bed.name, node)
