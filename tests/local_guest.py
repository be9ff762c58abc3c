"""In place of a guest: this machine. Commands run for real; only the ssh to them is missing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import IO

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.guest import child
from vmlab.guest.ssh import no_line
from vmlab.lab.measuring.participants import InGuest
from vmlab.runtime import process
from vmlab.runtime.wait import Deadline


class LocalGuest:
    """Runs a guest's commands on this machine; the variable that marks them is the test's own."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline_s: float,
        as_root: bool = False,
        stdin: str | IO[bytes] = "",
        on_line: Callable[[str], None] = no_line,
    ) -> process.Result:
        assert as_root
        command = [word.replace("VMLAB_RUN", self.mark) for word in argv]
        done = child.stream(command, deadline=Deadline.after(deadline_s), stdin=stdin, on_line=on_line)
        # As the guest's shell tells it.
        return replace(done, status=128 - done.status) if done.status < 0 and not done.timed_out else done


def nodes(*names: str, role: str = "oss") -> dict[str, InGuest]:
    """Nodes of a bed as libvirt knows them, with a management address each."""
    mgmt = Address("mgmt", "management", "virtio", "mgmt", "52:54:00:00:00:01", IPv4Interface("10.0.0.1/24"))
    return {name: InGuest(NodeMetadata("bed", name, (role,), "demo", "root", "", (mgmt,))) for name in names}
