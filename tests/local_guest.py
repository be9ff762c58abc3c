"""In place of a guest: this machine. Commands run for real; only the ssh to them is missing."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Interface

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.runtime import process


class LocalGuest:
    """Runs a guest's commands on this machine; the variable that marks them is the test's own."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def run(self, argv: Sequence[str], *, deadline_s: float, as_root: bool = False) -> process.Result:
        assert as_root
        done = process.run([word.replace("VMLAB_RUN", self.mark) for word in argv], deadline_s=deadline_s)
        # As the guest's shell tells it.
        return replace(done, status=128 - done.status) if done.status < 0 and not done.timed_out else done


def nodes(*names: str, role: str = "oss") -> dict[str, NodeMetadata]:
    """Nodes of a bed as libvirt knows them, with a management address each."""
    mgmt = Address("mgmt", "management", "virtio", "mgmt", "52:54:00:00:00:01", IPv4Interface("10.0.0.1/24"))
    return {name: NodeMetadata("bed", name, (role,), "demo", "root", "", (mgmt,)) for name in names}
