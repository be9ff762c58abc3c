"""Power, as a management board would switch it: off is hard, and over when QEMU is gone."""

from vmlab.errors import HostError, UsageError
from vmlab.lab.ground.bed import chosen, existing
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import Action, StartDomain, StopDomain
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.values.nodeset import fold
from vmlab.virt.evidence import inject_nmi
from vmlab.virt.observe import domain_state
from vmlab.virt.perform import perform

_SEQUENCES: dict[str, tuple[type[Action], ...]] = {
    "on": (StartDomain,),
    "off": (StopDomain,),
    "cycle": (StopDomain, StartDomain),
}


def power(hosts: Hosts, bed: str, nodes: str | None, verb: str, progress: Progress) -> dict[str, str]:
    """Switch nodes ("on", "off", "cycle"), interrupt them ("nmi"), or only look ("status"): their states afterwards.

    Without `nodes` all are meant, but never to be switched off or interrupted. Does not take the bed's lock: whoever
    tests failover switches nodes while something else runs on the bed.
    """
    if nodes is None and (verb == "nmi" or StopDomain in _SEQUENCES.get(verb, ())):
        raise UsageError(
            f"power {verb} of which nodes of {bed}?", hint=f"vmlab power {verb} {bed} NODES; all of them: '*'"
        )
    nodes = "*" if nodes is None else nodes
    found = chosen(existing(hosts, bed), nodes)

    if verb == "nmi" and (off := [name for name, domain in found.items() if not domain.running]):
        raise HostError(f"{fold(off)} is off", hint=f"vmlab power on {bed} {fold(off)}")
    saved = [name for name, domain in found.items() if domain.saved == "file"]
    if saved and StartDomain in _SEQUENCES.get(verb, ()):
        raise HostError(
            f"the memory of {fold(saved)} was saved to a file (virsh save): a start makes that worthless",
            hint="virsh restore FILE; or lose it: vmlab up FILE --restart",
        )

    def switch(name: str) -> str:
        domain, host = found[name].facts.name, hosts.of(found[name])
        for kind in _SEQUENCES.get(verb, ()):
            progress.stage(name, kind.kind)
            perform(host, kind(domain, name, f"power {verb}"))
        if verb == "nmi":
            progress.stage(name, verb)
            inject_nmi(host, domain)
        return domain_state(host, domain)

    return dict(zip(found, each(switch, found, jobs=LIBVIRT_JOBS, failed=f"power {verb} failed"), strict=True))
