"""How busy this machine is."""

import os

_FAR_ABOVE = 2.0


def load_per_cpu() -> float:
    """Threads that want to run, for each CPU that we may use, over the last minute."""
    return os.getloadavg()[0] / len(os.sched_getaffinity(0))


def overloaded() -> bool:
    """Far more wants to run than can: what takes a minute otherwise takes several."""
    return load_per_cpu() > _FAR_ABOVE


def fair_share() -> float:
    """The part of a CPU that one thread more can have."""
    return min(1.0, 1.0 / max(load_per_cpu(), 1e-3))
