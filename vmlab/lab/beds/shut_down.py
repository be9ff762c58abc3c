"""Let guests go off by themselves: what is killed loses what it has not written yet: a file just made is empty."""

import contextlib
from collections.abc import Iterable

from vmlab.errors import GuestError
from vmlab.guest.boot import DeadGuest
from vmlab.lab.ground.doors import doors
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline, until
from vmlab.virt.observe import domain_state
from vmlab.virt.power_button import press

GRACE_S = {"kvm": 90.0, "qemu": 300.0}
"""Seconds that a guest has, by what it runs on; systemd gives a service 90."""

_ASK_S = 30.0
_LOOK_EVERY_S = 0.5
_JOBS = 32


def shut_down(hosts: Hosts, bed: ObservedBed, names: Iterable[str], progress: Progress) -> None:
    """Return when those of the nodes that run are off, or are not in time, or dead: the caller kills what is left."""
    guests = doors(hosts, bed)

    def end(name: str) -> None:
        domain, guest = bed.nodes[name], guests[name]
        host = hosts.of(domain)
        grace = Deadline.after(GRACE_S.get(domain.facts.kind, GRACE_S["qemu"]))

        def off() -> bool:
            if domain_state(host, domain.facts.name) in ("shut off", "undefined"):
                return True
            guest.look()
            return False

        progress.stage(name, "shuts down")
        # By ssh, since not every image has something that hears the power button; pressed besides, if ssh fails.
        asked = False
        with contextlib.suppress(DeadGuest):
            with contextlib.suppress(GuestError):
                command = ("sh", "-c", "systemctl --no-block poweroff || poweroff")
                asked = guest.run(command, deadline_s=_ASK_S, as_root=True).ok
            if not asked:
                press(host, domain.facts.name)
            if not until(off, grace, every_s=_LOOK_EVERY_S):
                progress.warn(f"{name} has not gone off by itself in time, and is killed")

    running = [name for name in names if name in bed.nodes and bed.nodes[name].state == "running"]
    if not hosts.simulated:
        each(end, running, jobs=_JOBS, failed="not all nodes could be shut down")
