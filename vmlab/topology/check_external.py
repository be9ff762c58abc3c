"""Rules of machines that are no guests: which fabrics they are on, and with which addresses."""

from ipaddress import IPv4Address

from vmlab.topology.bed import MANAGEMENT
from vmlab.topology.parse import Problems
from vmlab.topology.read import Draft, ExternalDraft, reduced
from vmlab.topology.wording import expected, quote


def check(draft: Draft, problems: Problems) -> None:
    """All of them, each by itself and against the others."""
    first: dict[IPv4Address, tuple[str, str, int]] = {}
    for machine in draft.externals.values():
        for fabric, use in machine.entry.value.fabrics.items():
            _fabric(fabric, machine, draft, problems)
            if machine.place >= len(use.address):
                continue
            address = use.address[machine.place]
            _address(address, fabric, machine, draft, problems)
            mark = machine.entry.at("fabrics", fabric, "address")
            *other, line = first.setdefault(address, (machine.name, fabric, mark.line))
            if other != [machine.name, fabric]:
                told = f"first to `{other[0]}` at line {line}; expected each once"
                problems.add(mark, f"{address} is given twice ({told})")


def _fabric(fabric: str, machine: ExternalDraft, draft: Draft, problems: Problems) -> None:
    mark = machine.entry.at("fabrics", fabric)
    if fabric == MANAGEMENT:
        problems.add(mark, "`mgmt` is of the guests alone (expected only other fabrics)")
    elif fabric not in draft.fabrics and "fabrics" not in draft.blurred and reduced(fabric) not in draft.misspelt:
        problems.add(mark, f"unknown fabric {quote(fabric)} ({expected(fabric, draft.fabrics)})")


def _address(address: IPv4Address, fabric: str, machine: ExternalDraft, draft: Draft, problems: Problems) -> None:
    on = draft.fabrics.get(fabric)
    subnet = on.value.network if on is not None and on.sound("subnet", "addresses") else None
    if subnet is None:
        return
    mark = machine.entry.at("fabrics", fabric, "address")
    if address not in subnet:
        problems.add(mark, f"{address} is not in {subnet} of fabric `{fabric}` (expected an address of it)")
    elif address in (subnet.network_address, subnet.broadcast_address):
        problems.add(mark, f"{address} is no machine's in {subnet} (expected an address between its ends)")
