"""Power, as a management board would switch it: off is hard, and over when QEMU is gone."""

from collections.abc import Mapping

from vmlab.errors import HostError, UsageError
from vmlab.lab.beds.channel import ensure
from vmlab.lab.beds.switching import POWER, switch
from vmlab.lab.ground.bed import everybody, existing
from vmlab.lab.ground.choosing import Choice, choose
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import StopDomain
from vmlab.plan.observed import ObservedDomain
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.values.nodeset import fold
from vmlab.virt.evidence import inject_nmi
from vmlab.virt.observe import domain_state


def power(hosts: Hosts, bed: str, nodes: str | None, verb: str, progress: Progress) -> tuple[dict[str, str], Choice]:
    """Switch nodes ("on", "off", "cycle"), interrupt them ("nmi"), or only look ("status").

    Their states afterwards, and who was meant.

    Without `nodes` all are meant, but never to be switched off or interrupted. Does not take the bed's lock: whoever
    tests failover switches nodes while something else runs on the bed.
    """
    if nodes is None and (verb == "nmi" or StopDomain in POWER.get(verb, ())):
        raise UsageError(
            f"power {verb} of which nodes of {bed}?", hint=f"vmlab power {verb} {bed} NODES; all of them: '*'"
        )
    there = existing(hosts, bed)
    choice = choose(hosts, bed, "*" if nodes is None else nodes, everybody(there, None))
    found = {name: there.nodes[name] for name in choice.here}
    if verb == "nmi":
        return _interrupted(hosts, bed, found, progress), choice
    states = switch(hosts, bed, found, verb, progress)
    if verb in ("on", "cycle"):
        ensure(hosts, bed, there.metadata.values(), progress)
    return states, choice


def _interrupted(hosts: Hosts, bed: str, found: Mapping[str, ObservedDomain], progress: Progress) -> dict[str, str]:
    if off := [name for name, domain in found.items() if not domain.running]:
        raise HostError(f"{fold(off)} is off", hint=f"vmlab power on {bed} {fold(off)}")

    def interrupt(name: str) -> str:
        domain, host = found[name].facts.name, hosts.of(found[name])
        progress.stage(name, "nmi")
        inject_nmi(host, domain)
        return domain_state(host, domain)

    return dict(zip(found, each(interrupt, found, jobs=LIBVIRT_JOBS, failed="power nmi failed"), strict=True))
