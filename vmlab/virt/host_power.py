"""The power of a host itself, which a fence agent switches: all that runs there is gone when it says off.

`-o off` and `-o status` are the words of ClusterLabs' fence-agents, and a status of 2 means off (lib/fencing.py.py).
"""

import shlex
from dataclasses import dataclass

from vmlab.errors import HostError
from vmlab.runtime.process import Result, run
from vmlab.runtime.wait import Deadline, until

_IS_OFF = 2
_STATUS_S = 60.0
_SWITCH_S = 180.0
_SAYS_OFF_S = 60.0  # fence_ipmilan may be done before the machine is
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class HostPower:
    """`agent` are the words of the command, without an action; empty where the host has none."""

    host: str
    agent: tuple[str, ...] = ()

    @property
    def says_off(self) -> bool:
        """It is off, says its agent; anything else that is said, or nothing, is no proof."""
        return bool(self.agent) and self._act("status", _STATUS_S).status == _IS_OFF

    def switch_off(self) -> None:
        """Until its agent says that it is off. Raises HostError."""
        done = self._act("off", _SWITCH_S)
        if not done.ok:
            cause = f"no end after {_SWITCH_S:.0f} s" if done.timed_out else done.last_line
            raise HostError(f"{self.host} is not switched off: {cause}", hint=self._try("off"))
        if not until(lambda: self.says_off, Deadline.after(_SAYS_OFF_S), every_s=_LOOK_EVERY_S):
            raise HostError(
                f"{self.host} was switched off, and its fence agent does not say that it is off",
                hint=self._try("status"),
            )

    def _act(self, action: str, deadline_s: float) -> Result:
        return run((*self.agent, "-o", action), deadline_s=deadline_s, env={"LC_ALL": "C"})

    def _try(self, action: str) -> str:
        return shlex.join((*self.agent, "-o", action))
