"""A look after a guest that was up already: whoever waits for it hears within seconds that it is dead."""

from collections.abc import Callable, Sequence

from vmlab.errors import VmlabError
from vmlab.guest.boot import DeadGuest, dead
from vmlab.guest.console import death, lines_around
from vmlab.guest.ssh import Guest
from vmlab.runtime.log import log
from vmlab.runtime.wait import Deadline, now

PANIC, BOOT, OFF, PAUSED = "panic", "boot", "off", "paused"

_LOOK_EVERY_S = 1.0
_COSTLY = 10  # a look is not taken again before so many times its own length: consoles may have to come over libvirt
_REACHED_S = 1.5


class Lookout:
    """A `Watch` that raises DeadGuest, of one of the stages above, when there is nobody left to wait for.

    What a console shows is believed when the guest does not answer either: it may have come up again, and said nothing.
    Where libvirt or the console cannot be asked, the wait goes on.
    """

    def __init__(self, guest: Guest, *, console: Callable[[], str], domain_state: Callable[[], str]) -> None:
        self._guest = guest
        self._console = console
        self._domain_state = domain_state
        self._next = Deadline.after(0)

    def __call__(self) -> None:
        """Look if it is time to."""
        if not self._next.passed:
            return
        begin = now()
        self.look()
        self._next = Deadline.after(max(_LOOK_EVERY_S, _COSTLY * (now() - begin)))

    def look(self) -> None:
        """Look now."""
        try:
            self._judge(self._domain_state())
        except DeadGuest:
            raise
        except VmlabError as error:
            log.debug("%s cannot be looked after: %s", self._guest.node, error)

    def _judge(self, state: str) -> None:
        guest = self._guest
        if state in ("shut off", "undefined"):
            raise self._dead(OFF, f"its domain is {state}", f"vmlab power on {guest.bed} {guest.node}")
        if "I/O error" in state:
            why = f"its domain is {state}: is the host's disk full, or what exports its disk gone?"
            raise self._dead(PAUSED, why, "df -h; vmlab gc; vmlab up FILE exports again")
        text = self._console()
        line = death(text)
        cycle = f"vmlab power cycle {guest.bed} {guest.node}"
        if state == "crashed":
            raise self._dead(PANIC, dead(line), cycle, lines_around(text, line or ""))
        if line is not None and not guest.reached(_REACHED_S):
            stage = PANIC if "Kernel panic" in line else BOOT
            raise self._dead(stage, dead(line), cycle, lines_around(text, line))

    def _dead(self, stage: str, message: str, hint: str, console: Sequence[str] = ()) -> DeadGuest:
        node = self._guest.node
        return DeadGuest(f"{node}, stage {stage}: {message}", node=node, stage=stage, console=console, hint=hint)
