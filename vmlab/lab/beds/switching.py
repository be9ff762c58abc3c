"""Nodes switched on and off, for whoever asks: `vmlab power`, and guests that may."""

from collections.abc import Mapping

from vmlab.errors import HostError
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.kept import reverting
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import Action, StartDomain, StopDomain
from vmlab.plan.observed import CRASHED, ObservedDomain
from vmlab.plan.snapshots import half_way
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.values.nodeset import fold
from vmlab.virt.observe import domain_state
from vmlab.virt.perform import perform

POWER: Mapping[str, tuple[type[Action], ...]] = {
    "on": (StartDomain,),
    "off": (StopDomain,),
    "cycle": (StopDomain, StartDomain),
}
"""What each verb does; any other only looks."""


def switch(
    hosts: Hosts, bed: str, found: Mapping[str, ObservedDomain], verb: str, progress: Progress
) -> dict[str, str]:
    """The nodes' states afterwards. Raises HostError, before anything is done, for what a start would lose."""
    sequence = POWER.get(verb, ())
    if StartDomain in sequence and (mark := reverting(hosts, bed)) is not None:
        raise half_way(bed, mark)
    saved = [name for name, domain in found.items() if domain.saved == "file"]
    if saved and StartDomain in sequence:
        raise HostError(
            f"the memory of {fold(saved)} was saved to a file (virsh save): a start makes that worthless",
            hint="virsh restore FILE; or lose it: vmlab up FILE --restart",
        )
    crashed = [name for name, domain in found.items() if domain.state == CRASHED]
    if crashed and verb == "on":
        raise HostError(
            f"the kernel of {fold(crashed)} crashed, and its memory is kept until it is switched off",
            hint=f"vmlab power cycle {bed} {fold(crashed)}; evidence first: vmlab collect {bed}",
        )

    def each_one(name: str) -> str:
        domain, host = found[name].facts.name, hosts.of(found[name])
        for kind in sequence:
            progress.stage(name, kind.kind)
            perform(host, kind(domain, name, f"power {verb}"))
        return domain_state(host, domain)

    return dict(zip(found, each(each_one, found, jobs=LIBVIRT_JOBS, failed=f"power {verb} failed"), strict=True))
